"""Holds: what keeps the registry from deleting a profile that jobs still need.

A profile is held once, whatever the number of its jobs: a row of `profile_holds`, and a hold in the registry under
the row's token. Two systems cannot change in one transaction, so every order of steps and every end between two of
them has to be safe. The one thing that must never be is a job whose profile the registry would delete; a hold that
nobody needs any more is only untidy, and is found and released later.

Accepting a job
    1. The row says `held`: the registry's hold is older than the row and is deleted only after the row has left
       `held`, so it is there. Nothing to do.
       Otherwise (no row, or `releasing`): PUT a hold under a new token. A token is never used again, so a release
       that is under way, of the row's old token, cannot take the new hold away.
    2. The transaction that stores the job begins with looking at the row again, under its lock. With a new token: the
       row becomes `held` with it (or stays `held` with somebody else's, who did the same at the same time). Without:
       if it is not `held` any more, the transaction ends at once, and all of it begins again with a new token.

Releasing
    1. In one transaction, under the row's lock: no job names the profile (activities that have ended do not count:
       only their logs are left) → the row becomes `releasing`. An accepting
       transaction holds the same lock until it has stored its job, so one of the two sees what the other did.
    2. DELETE the hold at the registry, by the row's token.
    3. Remove the row, if it is still `releasing` under that token.
    Killed after 1 or 2: rows that are `releasing` are finished at the next start and every now and then; deleting
    again is safe.

Tokens that no row knows (a process died between PUT and its transaction, or two put one at once) are released once
they are an hour old; accepting gives up long before that. Held rows whose hold the registry has lost are put again.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.missing import no_such_profile
from services.executor.repositories import holds as rows
from services.executor.repositories.rows import HoldRow
from shared.service.database.transactions import Database
from shared.service.failpoints import failpoint
from shared.service.ids import new_id
from shared.service.logs import get_logger
from stoker.clients.registry import RegistryClient
from stoker.contracts.holds import Connection
from stoker.errors import Conflict, Invalid, NotFound, Unavailable

HOLDER = "executor"
_TRIES = 5
_ORPHAN_AGE = timedelta(hours=1)
_PUT_IS_FRESH_SECONDS = 300.0

log = get_logger()


class _NewHold:
    """A hold that was put for one call, not yet the row's."""

    def __init__(self, token: str) -> None:
        self.token = token
        self._put_at = time.monotonic()

    @property
    def fresh(self) -> bool:
        """Whether it is certain that nobody took it for an orphan."""
        return time.monotonic() - self._put_at < _PUT_IS_FRESH_SECONDS


class Holds:
    """Takes and releases the holds of this executor."""

    def __init__(self, database: Database, registry: RegistryClient) -> None:
        self._database = database
        self._registry = registry

    @asynccontextmanager
    async def storing(self, used: Connection) -> AsyncIterator[AsyncConnection]:
        """A transaction that stores what needs a profile, which is held from its beginning and stays so.

        Raises NotFound (the profile is gone), Unavailable, and what is raised within.
        """
        profile_id = used.profile.id
        for _ in range(_TRIES):
            hold = await self._prepare(profile_id)
            try:
                async with self._database.write() as connection:
                    if not await _is_kept(connection, used, hold):
                        continue
                    yield connection
            except (Invalid, Conflict, NotFound):
                await self._discard(hold, profile_id)
                raise
            failpoint("admission.stored")
            await self._discard(hold, profile_id)
            return
        raise Unavailable("The profile is being released; try again", retry_after_seconds=1)

    async def held(self, profile_id: str) -> bool:
        """Whether the profile is held: then the registry has it, whatever else is said."""
        async with self._database.read() as connection:
            return await rows.is_held(connection, profile_id)

    async def _prepare(self, profile_id: str) -> _NewHold | None:
        """Put a hold if the profile is not held. Raises NotFound (the profile is gone), Unavailable."""
        async with self._database.read() as connection:
            if await rows.is_held(connection, profile_id):
                return None
        token = new_id()
        try:
            await self._registry.put_hold(token, HOLDER, profile_id)
        except NotFound:
            raise no_such_profile(profile_id) from None
        failpoint("holds.put")
        return _NewHold(token)

    async def _discard(self, hold: _NewHold | None, profile_id: str) -> None:
        """Release a hold that was put for nothing. Not being able to is no harm: it is released as an orphan."""
        if hold is None:
            return
        async with self._database.read() as connection:
            if any(row.token == hold.token for row in await rows.all_holds(connection)):
                return
        try:
            await self._registry.delete_hold(hold.token)
        except Unavailable as error:
            log.info("hold left behind", profile_id=profile_id, reason=error.message)

    async def release_unused(self) -> None:
        """Release the holds of profiles that no job names. Raises Unavailable; safe to repeat."""
        async with self._database.read() as connection:
            candidates = await rows.unused(connection)
        for profile_id in candidates:
            async with self._database.write() as connection:
                await rows.start_releasing(connection, profile_id)
            failpoint("holds.releasing")
        await self._finish_releases()

    async def _finish_releases(self) -> None:
        async with self._database.read() as connection:
            releasing = [row for row in await rows.all_holds(connection) if row.state == rows.RELEASING]
        for row in releasing:
            await self._registry.delete_hold(row.token)
            failpoint("holds.deleted")
            async with self._database.write() as connection:
                await rows.forget(connection, row.profile_id, row.token)
            log.info("profile released", profile_id=row.profile_id)

    async def reconcile(self) -> None:
        """Bring the registry's holds and the rows together. Raises Unavailable; safe to repeat."""
        async with self._database.read() as connection:
            known = {row.token: row for row in await rows.all_holds(connection)}
        there = [hold async for hold in self._registry.holds(holder=HOLDER)]
        for hold in there:
            if hold.token not in known and datetime.now(UTC) - hold.created_at > _ORPHAN_AGE:
                await self._registry.delete_hold(hold.token)
                log.info("orphaned hold released", profile_id=hold.profile_id)
        await self._put_again([row for token, row in known.items() if token not in {hold.token for hold in there}])

    async def _put_again(self, missing: Sequence[HoldRow]) -> None:
        for row in missing:
            if row.state != rows.HELD:
                continue
            try:
                await self._registry.put_hold(row.token, HOLDER, row.profile_id)
            except NotFound:
                log.warning("held profile is gone", profile_id=row.profile_id)
            else:
                log.warning("lost hold put again", profile_id=row.profile_id)


async def _is_kept(connection: AsyncConnection, used: Connection, hold: _NewHold | None) -> bool:
    """Whether the profile is held until this transaction ends."""
    if hold is None:
        return await rows.is_held(connection, used.profile.id, keep=True)
    if not hold.fresh:
        return False
    await rows.take(connection, used.profile.id, used.resource.id, hold.token)
    return True
