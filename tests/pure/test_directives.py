"""Options of `#SBATCH` lines, read as sbatch reads them."""

import pytest

from shared.slurm.requests.directives import FIELD_OPTIONS, OWN_OPTIONS, directive_options
from shared.slurm.requests.getopt import LONG, SHORT, Option, read_options


def names(line: str) -> list[tuple[str, str | None]]:
    found = list(directive_options(line))
    assert all(isinstance(one, Option) for one in found), found
    return [(one.name, one.value) for one in found if isinstance(one, Option)]


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("#SBATCH --gres=gpu:v100:1", [("gres", "gpu:v100:1")]),
        ("#SBATCH --job-name x -o out.txt", [("job-name", "x"), ("output", "out.txt")]),
        ("#SBATCH -Jname", [("job-name", "name")]),
        ("#SBATCH -Qn4", [("quiet", None), ("ntasks", "4")]),
        ("#SBATCH -Qe/elsewhere", [("quiet", None), ("error", "/elsewhere")]),
        ("#SBATCH -QHn 4", [("quiet", None), ("hold", None), ("ntasks", "4")]),
        ("#SBATCH -p=main", [("partition", "=main")]),
        ("#SBATCH -koff -k", [("no-kill", "off"), ("no-kill", None)]),
        ("#SBATCH --j=x", [("job-name", "x")]),
        ("#SBATCH --lic matlab:1", [("licenses", "matlab:1")]),
        ("#SBATCH --qos os", [("qos", "os")]),
        ("#SBATCH --qos --nice", [("qos", "--nice")]),
        ("#SBATCH --mem 3 --mem-b=x", [("mem", "3"), ("mem-bind", "x")]),
        ("#SBATCH --nice --exclusive=user --exclusi", [("nice", None), ("exclusive", "user"), ("exclusive", None)]),
        ("#SBATCH --of-a-later-version=x --another y", [("of-a-later-version", "x"), ("another", "y")]),
        ('#SBATCH --comment="a --output b" --nice # --error=x', [("comment", "a --output b"), ("nice", None)]),
        ("export OMP_NUM_THREADS=1 --output=x", []),
        ("# SBATCH --output=x", []),
        ("#SBATCH", []),
    ],
)
def test_the_options_of_a_line_are_found(line: str, options: list[tuple[str, str | None]]) -> None:
    assert names(line) == options


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("#SBATCH --qos", "--qos needs a value"),
        ("#SBATCH -Qn", "-n needs a value"),
        ("#SBATCH --ex=1", "can be --"),
        ("#SBATCH --n=1", "write the whole name"),
        ("#SBATCH --hold=1", "--hold takes no value"),
        ("#SBATCH --exclusive user", "user is not an option"),
        ("#SBATCH -Qy4", "-y is no option of sbatch"),
        ("#SBATCH --", "-- is not an option"),
        ("#SBATCH -", "- is not an option"),
    ],
)
def test_what_sbatch_would_not_understand_is_said(line: str, words: str) -> None:
    said = [one for one in directive_options(line) if isinstance(one, str)]
    assert said
    assert words in said[0]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (["--qos", "os"], [("--qos", "os")]),
        (["--qos=os"], [("--qos=os",)]),
        (["--licens", "a"], [("--licenses=a",)]),
        (["-Hqhigh"], [("-H",), ("-qhigh",)]),
        (["-H", "-q", "high"], [("-H",), ("-q", "high")]),
    ],
)
def test_an_option_is_passed_on_so_that_it_is_read_as_the_same(written: list[str], words: list[tuple[str]]) -> None:
    found = [one for one in read_options(written) if isinstance(one, Option)]
    assert [one.words for one in found] == words
    for one in found:
        (again,) = read_options(one.words)
        assert isinstance(again, Option)
        assert (again.name, again.value) == (one.name, one.value)


def test_the_tables_fit_together() -> None:
    assert set(SHORT.values()) <= LONG.keys()
    assert LONG.keys() >= OWN_OPTIONS | FIELD_OPTIONS
    assert not OWN_OPTIONS & FIELD_OPTIONS
