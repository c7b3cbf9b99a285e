"""What the command line prints: results on standard output, everything else on standard error."""

import sys
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Without a terminal, lines are for programs and files: never cut at 80 columns.
_WIDTH_WITHOUT_TERMINAL = 200

STATE_STYLES = {
    "succeeded": "green",
    "failed": "red",
    "lost": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "collecting": "cyan",
}


def stdout() -> Console:
    """Return the console of results."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL, highlight=False)


def stderr() -> Console:
    """Return the console of messages and progress."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _WIDTH_WITHOUT_TERMINAL, highlight=False)


def print_json(value: object) -> None:
    """Print one JSON value, indented."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_json_line(value: object) -> None:
    """Print one JSON value on a line of its own."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def print_warnings(warnings: Iterable[str]) -> None:
    """Print what somebody should know who asked for something else."""
    for warning in warnings:
        stderr().print(Text("warning: ", style="yellow") + Text(plain(warning)))


def plain(text: str) -> str:
    """The text without what a terminal would obey (escape sequences and other control characters)."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def table(*columns: str, title: str | None = None) -> Table:
    """Make a table whose columns named with a trailing `>` are right-aligned."""
    made = Table(title=title, header_style="bold", box=None, pad_edge=False, title_justify="left")
    for column in columns:
        made.add_column(column.removesuffix(">"), justify="right" if column.endswith(">") else "left")
    return made


def state_text(state: str) -> Text:
    """Return a state in its colour."""
    return Text(state, style=STATE_STYLES.get(state, "default"))


def cells(*values: object) -> Iterable[Text]:
    """Turn values into cells; text is never taken for markup."""
    for value in values:
        yield value if isinstance(value, Text) else Text(plain(_text(value)))


def size(count: int | None) -> str:
    """Bytes as people write them (decimal units)."""
    if count is None:
        return ""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:  # noqa: PLR2004 - decimal units
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def seconds(count: float | None) -> str:
    """A duration as people write it."""
    if count is None:
        return ""
    whole = int(count)
    if whole < 60:  # noqa: PLR2004
        return f"{count:.1f} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def moment(value: datetime) -> str:
    """A point in time, in UTC."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return moment(value)
        case _:
            return str(value)
