"""The errors of this project, one small tree; adapters translate foreign errors into it at the border.

StokerError
├── Invalid       the request can never succeed as it is: do not repeat it
├── NotFound      what was named is not there (or not visible to the caller)
├── Conflict      it contradicts the present state
├── Unauthorized  the access key is missing, unknown or expired
├── Forbidden     the access key is known, and may not do this
└── Unavailable   something did not answer: it may be repeated, and may have taken effect
"""

from collections.abc import Sequence

from stoker.contracts.problems import FieldError


class StokerError(Exception):
    """Base of all errors that this project raises on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(StokerError):  # noqa: N818 - reads as what it says about the request
    """The request can never succeed as it is; `errors` names each wrong field."""

    def __init__(self, message: str, errors: Sequence[FieldError] = (), *, slug: str = "invalid-request") -> None:
        super().__init__(message)
        self.errors = list(errors)
        self.slug = slug


class NotFound(StokerError):  # noqa: N818
    """What was named is not there, or not visible to the caller."""


class Conflict(StokerError):  # noqa: N818
    """The request contradicts the present state; `slug` is the problem type (`conflict`, `in-use`, …)."""

    def __init__(self, message: str, *, slug: str = "conflict", errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.slug = slug
        self.errors = list(errors)


class Unauthorized(StokerError):  # noqa: N818
    """The access key is missing, unknown or expired."""


class Forbidden(StokerError):  # noqa: N818
    """The access key is known, and may not do this."""


class Unavailable(StokerError):  # noqa: N818
    """Something did not answer. The call may be repeated; it may also have taken effect, if it was `sent`."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None, sent: bool = True) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.sent = sent
