"""Optimistic concurrency: `ETag: "3"` on answers, `If-Match: "3"` on changes."""

from typing import Annotated

from litestar.params import HeaderParameter

IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", description="the ETag that was read; 412 when it was changed since"),
]


def etag(version: int) -> str:
    """Return the header's value."""
    return f'"{version}"'


def expected_versions(if_match: str | None) -> frozenset[str] | None:
    """Return the versions that If-Match accepts (as text), or None when any will do.

    Weak tags never match, as RFC 9110 has it for this header; what is no tag matches nothing either.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    tags = (tag.strip() for tag in if_match.split(","))
    return frozenset(tag[1:-1] for tag in tags if len(tag) > 1 and tag[0] == tag[-1] == '"')
