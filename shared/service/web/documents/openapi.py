"""The OpenAPI document of an application.

Litestar describes paths and parameters. Bodies and answers are described by msgspec, which decodes and encodes them
and therefore knows their bounds and tags; problems come from one table, by the shape of the operation.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, get_args, get_origin

import msgspec
from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from shared.service.web.access.callers import admins_only, services_only
from shared.service.web.bodies.content_types import REQUEST_BODY
from shared.service.web.problems import MEDIA_TYPE
from stoker.contracts.problems import Problem

_REFS = "#/components/schemas/{name}"
_ALWAYS = (401, 422, 500, 503)
_OF_BODY = (400, 409, 413, 415)
_OF_CHANGE = (409, 412)


def openapi_document(app: Litestar) -> bytes:
    """Return the document as JSON."""
    document: dict[str, Any] = msgspec.to_builtins(app.openapi_schema.to_schema())
    handlers = list(_handlers(app, document))
    types = [Problem, *(kind for handler, _ in handlers for kind in _types(handler))]
    # Each struct is described once; what uses it refers to it.
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFS)
    schema_of = {_key(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    for handler, operation in handlers:
        _describe(handler, operation, schema_of)
    described = document.setdefault("components", {})
    described["schemas"] = _referenced(described.get("schemas", {}) | components, document["paths"])
    described["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "an access key"},
        "basic": {"type": "http", "scheme": "basic", "description": "any name, and an access key as password"},
    }
    document["security"] = [{"bearer": []}, {"basic": []}]
    return msgspec.json.encode(document)


def _handlers(app: Litestar, document: dict[str, Any]) -> Iterator[tuple[HTTPRouteHandler, dict[str, Any]]]:
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            for method in handler.http_methods:
                operation = document["paths"].get(route.path_format, {}).get(method.lower())
                if operation is not None:
                    yield handler, operation


def _types(handler: HTTPRouteHandler) -> Iterator[Any]:
    if REQUEST_BODY in handler.opt:
        yield handler.opt[REQUEST_BODY]
    if "unready" in handler.opt:
        yield handler.opt["unready"]
    returned = _returned(handler)
    if returned is not None:
        yield returned


def _returned(handler: HTTPRouteHandler) -> Any:
    """Return the msgspec type of the answer, or None for answers of other kinds (bytes, streams, nothing)."""
    kind = handler.parsed_fn_signature.return_type.annotation
    origin = get_origin(kind)
    if isinstance(origin, type) and issubclass(origin, Response):
        kind = get_args(kind)[0]
    plain = get_origin(kind) or kind
    return kind if isinstance(plain, type) and issubclass(plain, msgspec.Struct) else None


def _referenced(schemas: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    """Leave out what Litestar described and nothing refers to (any more)."""
    kept: dict[str, Any] = {}
    text = msgspec.json.encode(paths).decode()
    while new := {name: schemas[name] for name in schemas.keys() - kept.keys() if f'schemas/{name}"' in text}:
        kept |= new
        text = msgspec.json.encode(new).decode()
    return dict(sorted(kept.items()))


def _key(kind: Any) -> str:
    return repr(kind)


def _describe(handler: HTTPRouteHandler, operation: dict[str, Any], schema_of: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("400", None)
    for response in responses.values():
        if response["description"] in {"Request fulfilled, document follows", "Document created, URL follows"}:
            response["description"] = "The answer"
    returned = _returned(handler)
    if returned is not None:
        responses[str(handler.status_code)]["content"] = {"application/json": {"schema": schema_of[_key(returned)]}}
    if REQUEST_BODY in handler.opt:
        content = {"application/json": {"schema": schema_of[_key(handler.opt[REQUEST_BODY])]}}
        operation["requestBody"] = {"required": True, "content": content}
    if "unready" in handler.opt:
        content = {"application/json": {"schema": schema_of[_key(handler.opt["unready"])]}}
        responses["503"] = {"description": HTTPStatus(503).phrase, "content": content}
    if "problems" in handler.opt:
        operation["security"] = []
    for status in _problem_statuses(handler, operation):
        schema = {"$ref": _REFS.format(name="Problem")}
        description = HTTPStatus(status).phrase
        responses[str(status)] = {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


def _problem_statuses(handler: HTTPRouteHandler, operation: dict[str, Any]) -> list[int]:
    if "problems" in handler.opt:
        return list(handler.opt["problems"])
    found = set(_ALWAYS)
    parameters = operation.get("parameters", [])
    if any(parameter["in"] == "path" for parameter in parameters):
        found.add(404)
    if any(parameter["name"].lower() == "if-match" for parameter in parameters):
        found.update(_OF_CHANGE)
    if REQUEST_BODY in handler.opt:
        found.update(_OF_BODY)
    if any(guard in {admins_only, services_only} for guard in _guards(handler)):
        found.add(403)
    if handler.http_methods & {"DELETE"}:
        found.add(409)
    found.update(handler.opt.get("more_problems", ()))
    return sorted(found)


def _guards(handler: HTTPRouteHandler) -> list[Any]:
    return list(handler.resolve_guards())
