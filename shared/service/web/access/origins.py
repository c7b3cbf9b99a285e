"""Requests that another site makes a browser send.

With Basic credentials, which browsers add by themselves, they would be taken for the user's own.
What a browser says of a request cannot be set by the site that causes it; other programs say nothing of this.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = frozenset({b"same-origin", b"none"})


def why_foreign(method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Say why this request is refused, or None for one of a program, of our own pages or of the user."""
    said = dict(headers)
    site = said.get(b"sec-fetch-site")
    if site in _OWN:
        return None
    if site == b"cross-site":
        # A link to our pages, that somebody follows, shows them to that person alone.
        followed = said.get(b"sec-fetch-mode") == b"navigate" and method == "GET" and path.startswith("/schema")
        return None if followed else "the browser says that another site caused this request"
    origin = said.get(b"origin")
    if origin is None or method in _SAFE_METHODS:
        return None
    if _host(origin) != said.get(b"host", b"").decode("latin-1").lower():
        return "the browser says that this request comes from another origin"
    return None


def _host(origin: bytes) -> str:
    try:
        return urlsplit(origin.decode("ascii")).netloc.lower()
    except ValueError:
        return ""
