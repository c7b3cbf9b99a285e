"""`/v1/holds` and `/v1/connections`, for services."""

from litestar import Controller, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, RawBody, SkipValidation

from services.registry.stores.holds import HoldStore
from shared.service.web.access.callers import services_only
from shared.service.web.bodies.content_types import accepts
from shared.service.web.bodies.decoding import read_body
from shared.service.web.cursors import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page
from stoker.contracts.holds import Connection, Hold, HoldCreate
from stoker.contracts.pages import Page

Holds = NamedDependency[SkipValidation[HoldStore]]


class HoldController(Controller):
    """What is held cannot be deleted."""

    path = "/v1/holds"
    tags = ["services"]
    guards = [services_only]

    @put("/{token:str}", opt=accepts(HoldCreate), summary="Take a hold; repeating it is safe")
    async def take(self, token: FromPath[str], body: RawBody, holds: Holds) -> Hold:
        wanted = await read_body(body, HoldCreate)
        return await holds.put(token, wanted.holder, wanted.profile_id)

    @get("/{token:str}", summary="Read a hold")
    async def show(self, token: FromPath[str], holds: Holds) -> Hold:
        return await holds.get(token)

    @get("/", summary="List holds")
    async def index(
        self,
        holds: Holds,
        holder: FromQuery[str | None] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[Hold]:
        return page(*await holds.page(holder=holder, after=decode_cursor(cursor, str), limit=limit))

    @delete("/{token:str}", summary="Release a hold")
    async def release(self, token: FromPath[str], holds: Holds) -> None:
        await holds.delete(token)


class ConnectionController(Controller):
    """Profile and resource together."""

    path = "/v1/connections"
    tags = ["services"]
    guards = [services_only]

    @get(
        "/{profile_id:str}",
        opt={"more_problems": (409,)},
        summary="Read what is needed to reach a profile's resource",
    )
    async def show(self, profile_id: FromPath[str], holds: Holds) -> Connection:
        return await holds.connection(profile_id)
