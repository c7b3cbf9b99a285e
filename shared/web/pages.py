"""`/metrics`, and the OpenAPI document with a page that shows it, all from this machine.

No address outside is named: many clusters have no way to the internet.
"""

from collections.abc import Callable
from functools import cache
from importlib.resources import files

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from shared.errors import NotFound
from shared.web.metrics import CONTENT_TYPE, Metrics

_ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Stoker {service}</title>
<link rel="icon" href="schema/assets/favicon-32x32.png">
<link rel="stylesheet" href="schema/assets/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="schema/assets/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({{url: "schema/openapi.json", dom_id: "#page", validatorUrl: null, deepLinking: true}});
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
        return Response(_PAGE.format(service=service).encode(), media_type="text/html; charset=utf-8")

    @get("/schema/openapi.json", include_in_schema=False)
    async def show_document() -> Response[bytes]:
        return Response(describe(), media_type="application/json")

    @get("/schema/assets/{name:str}", include_in_schema=False)
    async def show_asset(name: FromPath[str]) -> Response[bytes]:
        if name not in _ASSETS:
            raise NotFound("there is no such file")
        # The package installs its data next to the module, under one of two folders, depending on its version.
        content = (files("swagger_ui_bundle") / "vendor" / _asset_folder() / name).read_bytes()
        return Response(content, media_type=_ASSETS[name], headers={"Cache-Control": "private, max-age=86400"})

    return [show_metrics, show_page, show_document, show_asset]


def _asset_folder() -> str:
    folders = [entry.name for entry in (files("swagger_ui_bundle") / "vendor").iterdir() if entry.is_dir()]
    return folders[0]
