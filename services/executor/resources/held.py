"""Storing what needs a profile: under a hold that keeps the registry from deleting the profile."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.repositories import holds as hold_rows
from services.executor.resources.holds import Holds, NewHold
from shared.service.database.transactions import Database
from shared.service.failpoints import failpoint
from stoker.contracts.holds import Connection
from stoker.errors import Conflict, Invalid, NotFound, Unavailable

T = TypeVar("T")
Keep = Callable[[], Awaitable[None]]
Store = Callable[[AsyncConnection, Keep], Awaitable[T]]

_TRIES = 5


class _HoldLostError(Exception):
    """The profile's hold was released between looking at it and storing."""


class _Keeper:
    """Makes sure in a transaction that a profile is held until it ends."""

    def __init__(self, connection: AsyncConnection, used: Connection, hold: NewHold | None) -> None:
        self._connection = connection
        self._used = used
        self._hold = hold

    async def keep(self) -> None:
        """Raise if it is not held."""
        profile_id = self._used.profile.id
        if self._hold is None:
            if not await hold_rows.is_held(self._connection, profile_id, keep=True):
                raise _HoldLostError
        elif self._hold.fresh:
            await hold_rows.take(self._connection, profile_id, self._used.resource.id, self._hold.token)
        else:
            raise _HoldLostError


async def under_hold(database: Database, holds: Holds, used: Connection, store: Store[T]) -> T:
    """What `store` returns: it runs in one transaction, and calls what it is given once it uses the profile.

    Raises NotFound (the profile is gone), Unavailable, and what `store` raises.
    """
    profile_id = used.profile.id
    for _ in range(_TRIES):
        try:
            hold = await holds.prepare(profile_id)
        except NotFound:
            raise no_such_profile(profile_id) from None
        try:
            async with database.write() as connection:
                stored = await store(connection, _Keeper(connection, used, hold).keep)
        except _HoldLostError:
            continue
        except (Invalid, Conflict, NotFound):
            await holds.discard(hold, profile_id)
            raise
        failpoint("admission.stored")
        await holds.discard(hold, profile_id)
        return stored
    raise Unavailable("The profile is being released; try again", retry_after_seconds=1)


def no_such_profile(profile_id: str) -> NotFound:
    """The same words whether it is not there or not granted."""
    return NotFound(f"There is no profile {profile_id}")
