"""The OpenAPI document of an application."""

import msgspec
from litestar import Litestar


def openapi_document(app: Litestar) -> bytes:
    """Return the document as JSON."""
    return msgspec.json.encode(app.openapi_schema.to_schema())
