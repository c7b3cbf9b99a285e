"""`/v1/profiles`."""

from typing import Any

from litestar import Controller, Response, delete, get, patch, put
from litestar.params import FromPath, FromQuery, RawBody

from services.registry.controllers.answers import PROFILE_FORM, Patch, tagged
from services.registry.controllers.resources import Profiles, Who
from shared.service.web.access.callers import admins_only
from shared.service.web.bodies.content_types import accepts
from shared.service.web.cursors import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page
from shared.service.web.etags import IfMatch, expected_versions
from stoker.contracts.pages import Page
from stoker.contracts.profiles import Profile, ProfileSpec


class ProfileController(Controller):
    """Users see the profiles granted to them; only administrators change any."""

    path = "/v1/profiles"
    tags = ["profiles"]

    @get("/", summary="List profiles")
    async def index(
        self,
        profiles: Profiles,
        caller: Who,
        resource_id: FromQuery[str | None] = None,
        name: FromQuery[str | None] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[Profile]:
        after = decode_cursor(cursor, str)
        return page(*await profiles.page(caller, resource_id=resource_id, name=name, after=after, limit=limit))

    @get("/{profile_id:str}", summary="Read a profile")
    async def show(self, profile_id: FromPath[str], profiles: Profiles, caller: Who) -> Response[Profile]:
        return tagged(await profiles.get(profile_id, caller))

    @put("/{profile_id:str}", guards=[admins_only], opt=accepts(ProfileSpec), summary="Replace a profile")
    async def replace(
        self, profile_id: FromPath[str], body: RawBody, profiles: Profiles, if_match: IfMatch = None
    ) -> Response[Profile]:
        spec, warnings = await PROFILE_FORM.read(body)
        changed = await profiles.change(profile_id, lambda _: spec, expected_versions(if_match))
        return tagged(changed, warnings=warnings)

    @patch(
        "/{profile_id:str}",
        guards=[admins_only],
        opt=accepts(dict[str, Any]),
        summary="Change some keys of a profile (RFC 7396: null removes one)",
    )
    async def change(
        self, profile_id: FromPath[str], body: RawBody, profiles: Profiles, if_match: IfMatch = None
    ) -> Response[Profile]:
        patched = Patch(PROFILE_FORM, body)
        changed = await profiles.change(profile_id, patched, expected_versions(if_match))
        return tagged(changed, warnings=patched.warnings)

    @delete("/{profile_id:str}", guards=[admins_only], summary="Remove a profile that nothing uses")
    async def remove(self, profile_id: FromPath[str], profiles: Profiles, if_match: IfMatch = None) -> None:
        await profiles.delete(profile_id, expected_versions(if_match))
