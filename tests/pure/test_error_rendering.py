import io

import msgspec
import pytest
from rich.console import Console

from stoker.cli.failures import ExitCode, exit_code, show_error
from stoker.cli.output import plain, size
from stoker.clients.answers import raise_for_problem
from stoker.contracts.problems import FieldError, Problem
from stoker.errors import Conflict, Forbidden, Invalid, NotFound, StokerError, Unauthorized, Unavailable


def rendered(error: StokerError) -> str:
    file = io.StringIO()
    console = Console(file=file, width=100)
    show_error(error, console)
    return file.getvalue()


def test_each_wrong_field_has_a_line_with_its_valid_form() -> None:
    shown = rendered(
        Invalid(
            "the resource is not valid", [FieldError("name", "must not be empty"), FieldError("units[3].mem", "3G")]
        )
    )
    assert shown.splitlines() == [
        "error: the resource is not valid",
        "  name          must not be empty",
        "  units[3].mem  3G",
    ]


def test_a_message_is_never_taken_for_markup_or_terminal_commands() -> None:
    shown = rendered(Invalid("[red]x[/] \x1b[2J\x07"))
    assert shown == "error: [red]x[/] \N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}\n"


def test_an_unavailable_service_comes_with_the_way_to_start_it() -> None:
    assert "stoker up" in rendered(Unavailable("the executor at http://x does not answer: refused"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Invalid("x"), ExitCode.REFUSED),
        (Conflict("x"), ExitCode.REFUSED),
        (NotFound("x"), ExitCode.REFUSED),
        (Forbidden("x"), ExitCode.REFUSED),
        (Unauthorized("x"), ExitCode.REFUSED),
        (Unavailable("x"), ExitCode.UNAVAILABLE),
    ],
)
def test_the_exit_code_says_whether_asking_again_may_help(error: StokerError, code: ExitCode) -> None:
    assert exit_code(error) is code


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (307, Invalid),
        (400, Invalid),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (412, Conflict),
        (413, Invalid),
        (415, Invalid),
        (422, Invalid),
        (429, Unavailable),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
    ],
)
def test_a_problem_becomes_the_error_that_its_status_means(status: int, kind: type[StokerError]) -> None:
    problem = Problem(type="urn:stoker:problem:in-use", title="In use", status=status, detail="it is in use")
    with pytest.raises(kind) as caught:
        raise_for_problem("registry", status, {"location": "/elsewhere"}, msgspec.json.encode(problem))
    assert status == 307 or "it is in use" in caught.value.message


def test_a_conflict_keeps_its_kind_and_an_invalid_request_its_fields() -> None:
    errors = [FieldError("name", "is taken")]
    problem = Problem(type="urn:stoker:problem:duplicate-name", title="t", status=409, errors=errors)
    with pytest.raises(Conflict) as caught:
        raise_for_problem("registry", 409, {}, msgspec.json.encode(problem))
    assert caught.value.slug == "duplicate-name"
    assert caught.value.errors == errors


def test_an_answer_without_problem_details_is_told_by_its_status() -> None:
    with pytest.raises(Unavailable, match="Bad Gateway") as caught:
        raise_for_problem("executor", 502, {"retry-after": "7"}, b"<html>nginx</html>")
    assert caught.value.retry_after_seconds == 7


def test_a_failure_of_the_service_names_the_request_id() -> None:
    with pytest.raises(Unavailable, match="abc123"):
        raise_for_problem("executor", 500, {"X-Request-ID": "abc123"}, b"")


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert plain("a\x1b[31mb\tc\nd\x9b") == "a\N{REPLACEMENT CHARACTER}[31mb\tc\nd\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_500_000_000, "2.5 GB")])
def test_sizes_are_written_in_decimal_units(count: int, text: str) -> None:
    assert size(count) == text
