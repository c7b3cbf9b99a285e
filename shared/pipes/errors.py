"""Errors of this layer, in the project's tree.

Invalid
├── Refused       the resource said no: disk full, permission denied, a link where a folder should be …
└── TooMuch       what was asked for does not fit into one answer
Unavailable
├── PipeLost      the pipe ended, or what came through it was not the protocol
├── NoAnswer      the agent has not answered in time
├── CannotConnect a pipe cannot be opened; says what mends it
├── WrongVersion  an installed agent and this service have no protocol in common
└── Unreachable   no pipe can be opened now; says since when
"""

from stoker.errors import Invalid, Unavailable


class Refused(Invalid):
    """The resource said no, in the operating system's words; `code` is the errno's name (`ENOSPC`) or empty."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message, slug="refused-by-resource")
        self.code = code


class TooMuch(Invalid):
    """The answer would be too large: less has to be asked for at once."""


class PipeLost(Unavailable):
    """The pipe is gone. What was in flight may have taken effect; every verb is safe to repeat."""


class NoAnswer(Unavailable):
    """The agent has not answered in time. Where nothing at all is heard of it, the pipe is what is broken."""


class WrongVersion(Unavailable):
    """The agent is older or newer than this service can speak to; it has to be installed anew."""


class Unreachable(Unavailable):
    """No pipe could be opened; nothing was asked, so nothing took effect. `since` is epoch seconds."""

    def __init__(self, message: str, *, since: float, retry_after_seconds: float) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.since = since


class CannotConnect(Unavailable):
    """A pipe cannot be opened. It may be mended without touching a job, so jobs wait meanwhile; `mend` says how."""

    def __init__(self, problem: str, mend: str = "") -> None:
        super().__init__(f"{problem}; {mend}" if mend else problem)
        self.problem = problem
        self.mend = mend
