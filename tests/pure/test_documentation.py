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
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_LINK = re.compile(r"\]\(([^)#:]+)(#[^)]*)?\)")
_TEST = re.compile(r"`(?:(tests/[\w/]+\.py))?::(test_\w+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, _ in _LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


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
