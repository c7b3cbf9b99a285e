"""`/v1/resources`, and the profiles of one."""

from typing import Any

from litestar import Controller, Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, RawBody, SkipValidation

from services.registry.controllers.answers import PROFILE_FORM, RESOURCE_FORM, Patch, tagged
from services.registry.stores.profiles import ProfileStore
from services.registry.stores.resources import ResourceStore
from shared.service.web.access.callers import admins_only
from shared.service.web.bodies.content_types import accepts
from shared.service.web.cursors import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page
from shared.service.web.etags import IfMatch, expected_versions
from stoker.contracts.keys import Caller
from stoker.contracts.pages import Page
from stoker.contracts.profiles import Profile, ProfileSpec
from stoker.contracts.resources import Resource, ResourceSpec, ResourceType

Resources = NamedDependency[SkipValidation[ResourceStore]]
Profiles = NamedDependency[SkipValidation[ProfileStore]]
Who = NamedDependency[SkipValidation[Caller]]


class ResourceController(Controller):
    """Users see the resources of the profiles granted to them; only administrators change any."""

    path = "/v1/resources"
    tags = ["resources"]

    @post("/", guards=[admins_only], opt=accepts(ResourceSpec), summary="Add a resource")
    async def create(self, body: RawBody, resources: Resources) -> Response[Resource]:
        spec, warnings = await RESOURCE_FORM.read(body)
        return tagged(await resources.create(spec), status_code=201, warnings=warnings)

    @get("/", summary="List resources")
    async def index(
        self,
        resources: Resources,
        caller: Who,
        type: FromQuery[ResourceType | None] = None,  # noqa: A002 - the parameter's name in HTTP
        name: FromQuery[str | None] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[Resource]:
        after = decode_cursor(cursor, str)
        return page(*await resources.page(caller, kind=type, name=name, after=after, limit=limit))

    @get("/{resource_id:str}", summary="Read a resource")
    async def show(self, resource_id: FromPath[str], resources: Resources, caller: Who) -> Response[Resource]:
        return tagged(await resources.get(resource_id, caller))

    @put("/{resource_id:str}", guards=[admins_only], opt=accepts(ResourceSpec), summary="Replace a resource")
    async def replace(
        self, resource_id: FromPath[str], body: RawBody, resources: Resources, if_match: IfMatch = None
    ) -> Response[Resource]:
        spec, warnings = await RESOURCE_FORM.read(body)
        changed = await resources.change(resource_id, lambda _: spec, expected_versions(if_match))
        return tagged(changed, warnings=warnings)

    @patch(
        "/{resource_id:str}",
        guards=[admins_only],
        opt=accepts(dict[str, Any]),
        summary="Change some keys of a resource (RFC 7396: null removes one)",
    )
    async def change(
        self, resource_id: FromPath[str], body: RawBody, resources: Resources, if_match: IfMatch = None
    ) -> Response[Resource]:
        patched = Patch(RESOURCE_FORM, body)
        changed = await resources.change(resource_id, patched, expected_versions(if_match))
        return tagged(changed, warnings=patched.warnings)

    @delete("/{resource_id:str}", guards=[admins_only], summary="Remove a resource that nothing uses")
    async def remove(self, resource_id: FromPath[str], resources: Resources, if_match: IfMatch = None) -> None:
        await resources.delete(resource_id, expected_versions(if_match))

    @post("/{resource_id:str}/profiles", guards=[admins_only], opt=accepts(ProfileSpec), summary="Add a profile")
    async def create_profile(
        self, resource_id: FromPath[str], body: RawBody, profiles: Profiles
    ) -> Response[Profile]:
        spec, warnings = await PROFILE_FORM.read(body)
        return tagged(await profiles.create(resource_id, spec), status_code=201, warnings=warnings)

    @get("/{resource_id:str}/profiles", summary="List the profiles of a resource")
    async def index_profiles(
        self,
        resource_id: FromPath[str],
        resources: Resources,
        profiles: Profiles,
        caller: Who,
        name: FromQuery[str | None] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[Profile]:
        after = decode_cursor(cursor, str)
        await resources.get(resource_id, caller)
        return page(*await profiles.page(caller, resource_id=resource_id, name=name, after=after, limit=limit))
