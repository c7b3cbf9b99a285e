"""The documentation says what is so: links lead somewhere, named tests exist, tables are those of the code."""

import re
from pathlib import Path

import pytest

from services.executor.settings import ExecutorSettings
from services.poller.settings import PollerSettings
from services.registry.settings import RegistrySettings
from shared.service.settings import ServiceSettings, settings_table
from shared.service.web.problems import PROBLEMS
from stoker.cli.failures import ExitCode

ROOT = Path(__file__).parents[2]
_AT_THE_TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in _AT_THE_TOP), *sorted((ROOT / "docs").rglob("*.md"))]

_LINK = re.compile(r"\]\(([^)#:]+)(#[^)]*)?\)")
_TEST = re.compile(r"`(?:(tests/[\w/]+\.py))?::(test_\w+)`")
_BLOCK = re.compile(r"```.*?```", re.DOTALL)
_INLINE = re.compile(r"`[^`]+`")
_TREES = "services|shared|stoker|tests|docs|bench|containers|wheels|requirements"
_PATH = re.compile(rf"(?<![\w/.<>{{}}~-])(?:{_TREES})/[\w./*-]*[\w/*]")
_MODULE = re.compile(r"(?<![\w/.-])(?:services|shared|stoker)(?:\.[a-z]\w*)+(?![\w.(/])")
_FILE = re.compile(r"(?<![\w/.*-])\w[\w/]*\.py(?![\w:])")
# What the code makes at run time, and the files of users in examples.
_MADE = {"agent.py", "builder.py", "runner.py", "words.py"}


def _code(page: Path) -> str:
    """What a page writes as code, in lines or in blocks."""
    return "\n".join([*_BLOCK.findall(page.read_text()), _inline_code(page)])


def _inline_code(page: Path) -> str:
    return "\n".join(_INLINE.findall(_BLOCK.sub("", page.read_text())))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, _ in _LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_folders_that_a_page_names_exist(page: Path) -> None:
    assert not [path for path in _PATH.findall(_code(page)) if not any(ROOT.glob(path.rstrip("/")))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_a_page_names_exist(page: Path) -> None:
    for module in _MODULE.findall(_code(page)):
        path = ROOT / module.replace(".", "/")
        assert any(one.exists() for one in (path, path.with_suffix(".py"), _exported(path))), module


def _exported(path: Path) -> Path:
    """Where `package.Name` comes from."""
    package = path.parent / "__init__.py" if path.parent.is_dir() else path.parent.with_suffix(".py")
    named = package.exists() and re.search(rf"\b{path.name}\b", package.read_text())
    return package if named else path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_by_their_ends_are_in_the_project(page: Path) -> None:
    there = [f"/{file.relative_to(ROOT)}" for tree in _TREES.split("|") for file in (ROOT / tree).rglob("*.py")]
    named = set(_FILE.findall(_inline_code(page))) - _MADE
    assert not {name for name in named if not any(file.endswith(f"/{name}") for file in there)}


def test_the_executors_rooms_are_shown_from_top_to_bottom() -> None:
    said = (ROOT / "docs/architecture.md").read_text()
    shown = re.findall(
        r"^  (\w+)(?:/|\.py) ", said.split("services/executor/\n", 1)[1].split("```", 1)[0], re.MULTILINE
    )
    layers = (
        (ROOT / ".importlinter").read_text().split("contract:rooms-of-the-executor]", 1)[1].split("[importlinter")[0]
    )
    rooms = re.findall(r"\w+", layers.split("layers =", 1)[1])
    assert [room for room in shown if room in rooms] == rooms


def test_the_path_of_one_unit_is_short_and_counted() -> None:
    section = (ROOT / "docs/architecture.md").read_text().split("### The path of one unit", 1)[1].split("\n## ", 1)[0]
    files = re.findall(r"^   ((?:services|shared|stoker)/\S+\.py) ", section, re.MULTILINE)
    assert len(files) == len(set(files)) < 75
    assert f"These are the {len(files)} files" in section
    of_executor = sum(file.startswith("services/executor/") for file in files)
    assert f"{of_executor} of them are the executor's" in " ".join(section.split())


def test_every_test_that_holds_an_invariant_exists() -> None:
    file, named = "", 0
    for path, test in _TEST.findall((ROOT / "docs/architecture.md").read_text()):
        file = path or file
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"
        named += 1
    assert named > 10


@pytest.mark.parametrize("kind", [RegistrySettings, ExecutorSettings, PollerSettings])
def test_the_settings_tables_are_those_of_the_code(kind: type[ServiceSettings]) -> None:
    assert settings_table(kind) in (ROOT / "docs/operations.md").read_text()


def test_every_problem_type_is_listed_with_its_status() -> None:
    rows = [row for row in (ROOT / "docs/api.md").read_text().splitlines() if row.startswith("| ")]
    for slug, (status, _) in PROBLEMS.items():
        assert any(f"`{slug}`" in row and str(status) in row.split("|")[1] for row in rows), slug


def test_every_exit_code_is_listed() -> None:
    readme = (ROOT / "README.md").read_text()
    for code in ExitCode:
        assert f"| {int(code)} |" in readme, code.name
