"""`/v1/watch-list`, `/v1/checks`, `/v1/usage`: what keeps the whole going."""

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import RawBody

from services.executor.controllers.answers import CallerRequest, answer
from services.executor.controllers.services import Services
from services.executor.running.watch_list import watch_list
from shared.service.web.access.callers import services_only
from shared.service.web.bodies.content_types import accepts
from shared.service.web.bodies.decoding import read_body
from stoker.contracts.checks import CheckReport, CheckRequest
from stoker.contracts.usage import Usage
from stoker.contracts.watches import WatchList


@get("/v1/watch-list", guards=[services_only], tags=["operations"], summary="Read what the poller is to watch")
async def read_watch_list(services: NamedDependency[Services]) -> Response[WatchList]:
    """Every batch that was launched and has not ended."""
    return answer(await watch_list(services.database))


@post(
    "/v1/checks",
    status_code=200,
    opt=accepts(CheckRequest) | {"more_problems": (404,)},
    tags=["operations"],
    summary="Check a profile",
)
async def check(request: CallerRequest, services: NamedDependency[Services], body: RawBody) -> Response[CheckReport]:
    """Is this resource and profile usable? Each finding that is not good comes with the line that mends it."""
    return answer(await services.profile_check.check(request.user, await read_body(body, CheckRequest)))


@get("/v1/usage", tags=["operations"], summary="Read the disk use per resource")
async def read_usage(request: CallerRequest, services: NamedDependency[Services]) -> Response[Usage]:
    """Of the caller's jobs; an administrator's of all."""
    return answer(await services.usage.of(request.user))
