"""`OPTIONS`: the methods of a path.

Litestar's own answer knows only those of one of the handlers that share a path.
"""

import re
from collections.abc import Iterable

from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import Send

_PARAMETER = re.compile(r"\\\{[^}]*\\\}")


class AllowedMethods:
    """Which methods each path answers."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        methods: dict[str, set[str]] = {}
        for route in routes:
            if isinstance(route, HTTPRoute):
                methods.setdefault(route.path_format, set()).update(route.methods)
        self._patterns = [
            (re.compile(_PARAMETER.sub("[^/]+", re.escape(path)) + r"/?\Z"), ", ".join(sorted(names)))
            # Where a fixed path also fits a parameter, the fixed one is meant.
            for path, names in sorted(methods.items(), key=lambda item: item[0].count("{"))
        ]

    def of(self, path: str) -> str | None:
        """Return the value of the Allow header, or None for a path that is not there."""
        return next((names for pattern, names in self._patterns if pattern.match(path)), None)


async def send_allowed(send: Send, allowed: str) -> None:
    """Answer 204 with the Allow header."""
    await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", allowed.encode())]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
