"""`/metrics`, and the OpenAPI document with a page that shows it, all from this machine.

No address outside is named: many clusters have no way to the internet.
"""

from collections.abc import Callable
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from shared.service.web.metrics import CONTENT_TYPE, Metrics
from stoker.errors import NotFound

_ASSETS = {"swagger_style.css": "text/css", "swagger_bundle.js": "text/javascript"}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Stoker {service}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="schema/assets/swagger_style.css">
</head>
<body>
<div id="page"></div>
<script src="schema/assets/swagger_bundle.js"></script>
<script>
// Without the user and the key that the page's own address may hold: browsers refuse to fetch such addresses.
const description = new URL("schema/openapi.json", location.origin + location.pathname);
SwaggerUIBundle({{url: description.href, dom_id: "#page", validatorUrl: null, deepLinking: true}});
</script>
</body>
</html>
"""


def page_handlers(service: str, metrics: Metrics, describe: Callable[[], bytes]) -> list[HTTPRouteHandler]:
    """Return the handlers; all need a key, and none is in the document, which `describe` makes when first asked."""
    describe = cache(describe)

    @get("/metrics", include_in_schema=False)
    async def show_metrics() -> Response[bytes]:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    @get("/schema", include_in_schema=False)
    async def show_page() -> Response[bytes]:
        return Response(_PAGE.format(service=service).encode(), media_type="text/html")

    @get("/schema/openapi.json", include_in_schema=False)
    async def show_document() -> Response[bytes]:
        return Response(describe(), media_type="application/json")

    @get("/schema/assets/{name:str}", include_in_schema=False)
    async def show_asset(name: FromPath[str]) -> Response[bytes]:
        if name not in _ASSETS:
            raise NotFound("there is no such file")
        return Response(_asset(name), media_type=_ASSETS[name], headers={"Cache-Control": "private, max-age=86400"})

    return [show_metrics, show_page, show_document, show_asset]


def _asset(name: str) -> bytes:
    # Not by importing the package: it would hold all of its nine megabytes in memory for ever.
    return Path(str(distribution("offapi").locate_file(f"offapi/{name}"))).read_bytes()
