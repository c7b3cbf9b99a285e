"""SLURM's ways to write a time limit, a duration and a moment."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from stoker.contracts.problems import FieldError
from stoker.errors import Invalid

UNLIMITED = math.inf

LIMIT_FORMS = (
    'must be a time as SLURM writes it: "30" (minutes), "30:00" (minutes:seconds), '
    '"12:00:00" (hours:minutes:seconds), "2-12" (days-hours), "2-12:00", "2-12:00:00" or "UNLIMITED"'
)

_DAYS = re.compile(r"(?P<d>\d{1,6})-(?P<h>\d{1,6})(?::(?P<m>\d{1,6})(?::(?P<s>\d{1,6}))?)?", re.ASCII)
_HOURS = re.compile(r"(?P<d>)(?P<h>\d{1,6}):(?P<m>\d{1,6}):(?P<s>\d{1,6})", re.ASCII)
_MINUTES = re.compile(r"(?P<d>)(?P<h>)(?P<m>\d{1,9})(?::(?P<s>\d{1,6}))?", re.ASCII)
_DURATION = re.compile(r"(?:(\d{1,6})-)?(?:(\d{1,6}):)?(\d{1,6}):(\d{1,6}(?:\.\d{1,6})?)", re.ASCII)
_EPOCH = re.compile(r"\d{1,12}", re.ASCII)
_DAY_SECONDS, _HOUR_SECONDS, _MINUTE_SECONDS = 86400, 3600, 60


def parse_limit(text: str, path: str = "time") -> float:
    """Return seconds, UNLIMITED (infinity) for "UNLIMITED" or a zero limit; Invalid, naming `path`, otherwise."""
    seconds = read_limit(text)
    if seconds is None:
        raise Invalid(f"{text!r} is not a time limit", [FieldError(path, LIMIT_FORMS)])
    return seconds


def unit_time_errors(text: str | None) -> Iterator[FieldError]:
    """Yield what is wrong with the `unit_time` of a request."""
    try:
        endless = text is not None and parse_limit(text, "unit_time") == UNLIMITED
    except Invalid as error:
        yield from error.errors
        return
    if endless:
        yield FieldError("unit_time", "must be a time above zero; leave it out for units without a limit")


def format_limit(seconds: float) -> str:
    """Return the limit in the one form that cannot be misread ("D-HH:MM:SS"); seconds are rounded up."""
    if math.isinf(seconds):
        return "UNLIMITED"
    days, rest = divmod(math.ceil(seconds), _DAY_SECONDS)
    hours, rest = divmod(rest, _HOUR_SECONDS)
    minutes, left = divmod(rest, _MINUTE_SECONDS)
    return f"{days}-{hours:02d}:{minutes:02d}:{left:02d}"


def read_limit(text: str) -> float | None:
    """Return the seconds of a limit in an answer; None where there is none ("NOT_SET") or nonsense."""
    if text.upper() in ("UNLIMITED", "INFINITE"):
        return UNLIMITED
    found = _DAYS.fullmatch(text) or _HOURS.fullmatch(text) or _MINUTES.fullmatch(text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(found[name] or 0) for name in "dhms")
    total = days * _DAY_SECONDS + hours * _HOUR_SECONDS + minutes * _MINUTE_SECONDS + seconds
    return float(total) or UNLIMITED


def read_duration(text: str) -> float | None:
    """Return the seconds of a time used, "[DD-[HH:]]MM:SS[.mmm]"; None for anything else."""
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    days, hours, minutes = (int(part or 0) for part in found.groups()[:3])
    return days * _DAY_SECONDS + hours * _HOUR_SECONDS + minutes * _MINUTE_SECONDS + float(found[4])


def read_moment(text: str) -> float | None:
    """Return epoch seconds of a moment (written as such, or in ISO form and UTC); None for "N/A" and the like.

    Queries are made with SLURM_TIME_FORMAT=%s and TZ=UTC; sites that set the former aside answer in the other form.
    """
    if _EPOCH.fullmatch(text):
        return float(text)
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
