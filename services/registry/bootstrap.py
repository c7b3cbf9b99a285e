"""The first keys, made by who can reach the database: nobody could ask for them over HTTP."""

from services.registry.settings import RegistrySettings
from services.registry.stores.access_keys import AccessKeyStore
from services.registry.stores.visibility import Visibility
from shared.service.database.transactions import Database
from stoker.contracts.keys import AccessKeyCreate, NewAccessKey, Role
from stoker.errors import Conflict


async def bootstrap(settings: RegistrySettings, *, role: Role, name: str) -> NewAccessKey:
    """Make a key. Raises Conflict for a second admin key: administrators make those over HTTP."""
    database = Database(settings.database_url.reveal())
    try:
        keys = AccessKeyStore(database, Visibility(settings.resource_types))
        if role == "admin" and await keys.exists("admin"):
            raise Conflict("there is an admin key already; with it, POST /v1/access-keys makes more")
        return await keys.create(AccessKeyCreate(name=name, role=role))
    finally:
        await database.close()
