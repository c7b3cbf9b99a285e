"""`/v1/access-keys`."""

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, RawBody, SkipValidation

from services.registry.key_uses import KeyUses
from services.registry.rules.access_keys import ACCESS_KEY_RULES
from services.registry.stores.access_keys import AccessKeyStore
from shared.service.web.access.callers import admins_only, services_only
from shared.service.web.access.key_cache import KeyCache
from shared.service.web.bodies.content_types import accepts
from shared.service.web.bodies.decoding import read_body
from shared.service.web.cursors import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page
from stoker.contracts.keys import AccessKey, AccessKeyCreate, AccessKeyPatch, Caller, NewAccessKey, VerifyRequest
from stoker.contracts.pages import Page
from stoker.errors import NotFound

Keys = NamedDependency[SkipValidation[AccessKeyStore]]
OwnKeys = NamedDependency[SkipValidation[KeyCache]]
Uses = NamedDependency[SkipValidation[KeyUses]]


class AccessKeyController(Controller):
    """Administrators make and revoke keys; services ask whose a key is."""

    path = "/v1/access-keys"
    tags = ["access keys"]

    @post("/", guards=[admins_only], opt=accepts(AccessKeyCreate), summary="Make a key; only this answer shows it")
    async def create(self, body: RawBody, keys: Keys) -> Response[NewAccessKey]:
        new = await keys.create(await read_body(body, AccessKeyCreate, ACCESS_KEY_RULES))
        return Response(new, status_code=201, headers={"Cache-Control": "no-store"})

    @get("/", guards=[admins_only], summary="List keys, without their secrets")
    async def index(self, keys: Keys, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT) -> Page[AccessKey]:
        return page(*await keys.page(after=decode_cursor(cursor, str), limit=limit))

    @get("/{key_id:str}", guards=[admins_only], summary="Read a key, without its secret")
    async def show(self, key_id: FromPath[str], keys: Keys) -> AccessKey:
        return await keys.get(key_id)

    @patch(
        "/{key_id:str}",
        guards=[admins_only],
        opt=accepts(AccessKeyPatch),
        summary="Change what a key is granted, or when it expires",
    )
    async def change(self, key_id: FromPath[str], body: RawBody, keys: Keys, own_keys: OwnKeys) -> AccessKey:
        changed = await keys.change(key_id, await read_body(body, AccessKeyPatch))
        own_keys.forget()
        return changed

    @delete("/{key_id:str}", guards=[admins_only], summary="Revoke a key")
    async def remove(self, key_id: FromPath[str], keys: Keys, own_keys: OwnKeys) -> None:
        await keys.delete(key_id)
        own_keys.forget()

    @post(
        "/verify",
        guards=[services_only],
        opt=accepts(VerifyRequest) | {"more_problems": (404,)},
        status_code=200,
        summary="Say whose key has this SHA-256 (services)",
    )
    async def verify(self, body: RawBody, uses: Uses) -> Caller:
        wanted = await read_body(body, VerifyRequest)
        found = await uses.caller(wanted.key_sha256)
        if found is None:
            raise NotFound("there is no such key, or it has expired")
        return found
