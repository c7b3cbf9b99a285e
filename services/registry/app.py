"""Where the registry's objects are made."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar

from services.registry.controllers.access_keys import AccessKeyController
from services.registry.controllers.holds import ConnectionController, HoldController
from services.registry.controllers.profiles import ProfileController
from services.registry.controllers.resources import ResourceController
from services.registry.key_uses import KeyUses
from services.registry.settings import RegistrySettings
from services.registry.stores.access_keys import AccessKeyStore
from services.registry.stores.holds import HoldStore
from services.registry.stores.profiles import ProfileStore
from services.registry.stores.resources import ResourceStore
from services.registry.stores.visibility import Visibility
from shared.service.database.transactions import Database
from shared.service.web.access.key_cache import KeyCache
from shared.service.web.application import build_application


def build_app(settings: RegistrySettings) -> Litestar:
    """Return the registry's application; its database must be at the newest revision."""
    database = Database(settings.database_url.reveal())
    visibility = Visibility(settings.resource_types)
    keys = AccessKeyStore(database, visibility)
    uses = KeyUses(keys, interval_seconds=settings.last_use_interval_seconds)
    own_keys = KeyCache(uses.caller, seconds=settings.own_key_cache_seconds, unavailable_seconds=0)

    @asynccontextmanager
    async def running(_: Litestar) -> AsyncIterator[None]:
        try:
            async with uses.running():
                yield
        finally:
            await database.close()

    return build_application(
        service="registry",
        settings=settings,
        route_handlers=[
            ResourceController,
            ProfileController,
            AccessKeyController,
            HoldController,
            ConnectionController,
        ],
        verifier=own_keys,
        readiness={"database": database.ping},
        lifespan=[running],
        dependencies={
            "resources": ResourceStore(database, visibility),
            "profiles": ProfileStore(database, visibility),
            "keys": keys,
            "own_keys": own_keys,
            "uses": uses,
            "holds": HoldStore(database, visibility),
        },
    )
