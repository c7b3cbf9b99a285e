"""Putting one service's HTTP application together: the same gate, problems, health, metrics and page for all."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.types import ControllerRouterHandler
from prometheus_client import CollectorRegistry

from shared.service.settings import ServiceSettings
from shared.service.web.access.callers import KeyVerifier, provide_caller
from shared.service.web.bodies.content_types import json_bodies
from shared.service.web.bodies.receiving import BodyRoom
from shared.service.web.documents.openapi import openapi_document
from shared.service.web.documents.pages import page_handlers
from shared.service.web.doors import limits_of
from shared.service.web.gate import Gate
from shared.service.web.health import health_handlers
from shared.service.web.metrics import Metrics
from shared.service.web.options import AllowedMethods
from shared.service.web.problems import answer_problem

API_VERSION = "1"
DEFAULT_MAX_BODY_BYTES = 1024 * 1024


def build_application(
    *,
    service: str,
    settings: ServiceSettings,
    route_handlers: Sequence[ControllerRouterHandler],
    verifier: KeyVerifier,
    readiness: Mapping[str, Callable[[], Awaitable[None]]],
    lifespan: Sequence[Callable[[Litestar], AbstractAsyncContextManager[None]]] = (),
    dependencies: Mapping[str, Any] | None = None,
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
    metrics_registry: CollectorRegistry | None = None,
) -> Litestar:
    """Return the application.

    Handlers can ask for the dependencies `caller` (Caller), `stopping` (an asyncio.Event, set when the server is told
    to stop: endless answers end then) and those in `dependencies`, whose values are objects, or `Provide` for what is
    made per request. Two dependencies cost 60 µs more than one; `request.user` is the caller, too. `readiness` maps a
    name to a check that raises when the thing does not answer.
    """
    metrics = Metrics(metrics_registry)
    stopping = asyncio.Event()
    own = [*route_handlers, *health_handlers(service, readiness)]
    provided = {
        "caller": Provide(provide_caller, sync_to_thread=False),
        "stopping": _provided(stopping),
        **{name: _provided(value) for name, value in (dependencies or {}).items()},
    }

    def describe() -> bytes:
        # From a second application that is never served: Litestar adds pages of its own to one that it describes, and
        # those name addresses outside.
        about = OpenAPIConfig(title=f"Stoker {service}", version=API_VERSION)
        return openapi_document(Litestar(own, dependencies=provided, openapi_config=about, logging_config=None))

    app = Litestar(
        route_handlers=[*own, *page_handlers(service, metrics, describe)],
        dependencies=provided,
        exception_handlers={Exception: answer_problem},
        guards=[json_bodies],
        lifespan=list(lifespan),
        logging_config=None,
        openapi_config=None,
        request_max_body_size=max_body_bytes,
        state=State({"stopping": stopping, "metrics": metrics, "limits": limits_of(settings)}),
    )
    # One body has room in any case.
    body_room = BodyRoom(max(settings.max_bodies_bytes, max_body_bytes))
    app.asgi_handler = Gate(app.asgi_handler, verifier, metrics, AllowedMethods(app.routes), body_room)
    return app


def _provided(value: object) -> Provide:
    if isinstance(value, Provide):
        return value

    def provide() -> Any:
        return value

    return Provide(provide, sync_to_thread=False)
