"""What a verb may fail with; the kind travels in the error frame."""

from __future__ import annotations

import errno
import os


class RequestError(Exception):
    """`kind` is one of invalid, refused, not_found, unavailable, aborted, internal.

    `code` an errno's name or empty.
    """

    def __init__(self, kind: str, message: str, *, code: str = "", field: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.code = code
        self.field = field

    def record(self) -> dict[str, str]:
        """Content of the error frame."""
        return {"kind": self.kind, "message": self.message, "code": self.code, "field": self.field}


def invalid(message: str, field: str = "") -> RequestError:
    """The request makes no sense and never will."""
    return RequestError("invalid", message, field=field)


def aborted() -> RequestError:
    """The other side wants no answer any more, or is gone."""
    return RequestError("aborted", "the request was given up")


def from_os(error: OSError, place: str) -> RequestError:
    """The operating system said no: its words, and where."""
    words = error.strerror or str(error)
    detail = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, (str, bytes)) else ""
    code = errno.errorcode.get(error.errno or 0, "")
    # Somebody holds a lease on the file, which is being broken.
    passing = error.errno == errno.EAGAIN
    kind = "not_found" if isinstance(error, FileNotFoundError) else "unavailable" if passing else "refused"
    return RequestError(kind, f"{words}: {place}{detail}", code=code)
