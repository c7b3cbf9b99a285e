"""Problem details (RFC 9457), the one form of every error answer."""

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One wrong field: its path (`units[3].path`, `$` for the whole body) and what a valid value looks like."""

    path: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`type` is stable and meant for programs, `title` is constant per type, `detail` is about this case."""

    type: str
    title: str
    status: int
    detail: str = ""
    instance: str = ""
    errors: list[FieldError] = []
    request_id: str = ""
