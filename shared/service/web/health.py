"""`/health/live`: the process answers. `/health/ready`: what it needs answers too. Neither needs a key."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from shared.service.logs import get_logger
from stoker.errors import StokerError

CHECK_TIMEOUT_SECONDS = 3.0
Check = Callable[[], Awaitable[None]]
log = get_logger()


class Health(msgspec.Struct, frozen=True):
    """`checks` says `ok`, or in words what is wrong, for each thing that is needed."""

    status: str
    service: str
    checks: dict[str, str]


def health_handlers(service: str, readiness: Mapping[str, Check]) -> list[HTTPRouteHandler]:
    """Return the two handlers."""

    @get("/health/live", tags=["health"], summary="Does the process answer?", opt={"problems": ()})
    async def live() -> Health:
        return Health("alive", service, {})

    @get(
        "/health/ready",
        tags=["health"],
        summary="Does everything answer that it needs?",
        opt={"problems": (), "unready": Health},
    )
    async def ready() -> Response[Health]:
        words = await asyncio.gather(*(_asked(name, check) for name, check in readiness.items()))
        checks = dict(zip(readiness, words, strict=True))
        if all(word == "ok" for word in words):
            return Response(Health("ready", service, checks))
        return Response(Health("not ready", service, checks), status_code=503)

    return [live, ready]


async def _asked(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT_SECONDS:g} s"
    except StokerError as error:
        return error.message
    except Exception:
        log.exception("a readiness check failed", check=name)
        return "failed; see the log"
    return "ok"
