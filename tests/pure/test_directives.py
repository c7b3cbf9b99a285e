import pytest

from shared.slurm.requests.directives import directive_options, field_option, own_option


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("#SBATCH --gres=gpu:v100:1", ["gres"]),
        ("#SBATCH --job-name x -o out.txt", ["job-name", "o"]),
        ("#SBATCH -Jname", ["J"]),
        ('#SBATCH --comment="a --output b" --nice # --error=x', ["comment", "nice"]),
        ('#SBATCH --comment="unfinished', ["comment"]),
        ("export OMP_NUM_THREADS=1 --output=x", []),
        ("# SBATCH --output=x", []),
        ("#SBATCH", []),
    ],
)
def test_the_options_of_a_line_are_found(line: str, options: list[str]) -> None:
    assert list(directive_options(line)) == options


@pytest.mark.parametrize(
    "name", ["job-name", "J", "output", "o", "outp", "cpus-per-task", "c", "mem", "requeue", "D"]
)
def test_options_that_stoker_sets_are_known_by_any_spelling(name: str) -> None:
    assert own_option(name) is not None


@pytest.mark.parametrize("name", ["gres", "partition", "p", "qos", "exclusive", "mem-bind", "gpus-per-node", "nice"])
def test_other_options_are_the_users(name: str) -> None:
    assert own_option(name) is None


def test_an_option_that_a_field_sets_is_known() -> None:
    assert [field_option(name) for name in ("gres", "p", "parti", "qos")] == ["gres", "partition", "partition", None]
