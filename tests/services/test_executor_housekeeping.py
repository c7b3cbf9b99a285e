"""Retention, disk use and holds: kept for its time and not longer, and safe wherever the process dies."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.housekeeping.retention import Retention
from services.executor.jobs.admission import Admission
from services.executor.jobs.removal import Removal
from services.executor.model.requests import Request
from services.executor.repositories import holds as hold_rows
from services.executor.repositories.tables import jobs
from services.executor.resources.holds import HOLDER, Holds
from services.executor.resources.profiles import Profiles
from shared.service.connections import Connections
from shared.service.database.notifying import NotifyingDatabase
from shared.service.database.transactions import Database
from stoker.clients.executor import ExecutorClient
from stoker.clients.registry import RegistryClient
from stoker.contracts.keys import Caller
from stoker.errors import NotFound, Unavailable
from tests.waiting import until
from tests.workshop.serving import World, ended

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def opened(world: World) -> AsyncIterator[Database]:
    database = NotifyingDatabase(world.executor_database_url)
    try:
        yield database
    finally:
        await database.close()


class InterruptedDatabase(NotifyingDatabase):
    """Of an executor that is so slow that something else happens between looking and its next transaction."""

    def __init__(self, url: str, interruption: Callable[[], Awaitable[None]]) -> None:
        super().__init__(url)
        self._interruption = interruption
        self.interruptions = 0

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        if self.interruptions == 0:
            self.interruptions += 1
            await self._interruption()
        async with super().write() as connection:
            yield connection


@contextlib.asynccontextmanager
async def interrupted(
    world: World, interruption: Callable[[], Awaitable[None]]
) -> AsyncIterator[InterruptedDatabase]:
    database = InterruptedDatabase(world.executor_database_url, interruption)
    try:
        yield database
    finally:
        await database.close()


async def held(world: World) -> list[tuple[str, str]]:
    async with opened(world) as database, database.read() as connection:
        return [(row.token, row.state) for row in await hold_rows.all_holds(connection)]


async def tokens(registry: RegistryClient) -> set[str]:
    return {hold.token async for hold in registry.holds(holder=HOLDER)}


async def let_it_be_old(world: World, job_id: str, days: float) -> None:
    async with opened(world) as database, database.write() as connection:
        then = (await connection.execute(select(jobs.c.ended_at).where(jobs.c.id == job_id))).scalar_one()
        await connection.execute(update(jobs).where(jobs.c.id == job_id).values(ended_at=then - days * 86400))


async def gone(client: ExecutorClient, job_id: str) -> bool:
    try:
        await client.job(job_id)
    except NotFound:
        return True
    return False


@pytest.mark.both_databases
async def test_ended_jobs_go_after_their_time_and_never_sooner(world: World) -> None:
    gate = world.folder / "gate"
    async with world.executor(STOKER_RETENTION_DAYS="10") as client, world.poller():
        old, young = [await client.submit(world.submission("true")) for _ in range(2)]
        waits = 'while [ ! -e "$0" ]; do sleep 0.02; done'
        runs = await client.submit(world.submission("sh", "-c", waits, str(gate)))
        for job in (old, young):
            await ended(client, job.id)
        await let_it_be_old(world, old.id, 10.1)
        await let_it_be_old(world, young.id, 9.9)
        # Whatever is committed has it looked at again.
        await client.submit(world.submission("true"))
        await until(lambda: gone(client, old.id))
        assert not (world.jobs_dir / old.folder).exists()
        assert (await client.job(young.id)).state == "succeeded"
        assert (world.jobs_dir / young.folder).is_dir()
        assert (await client.job(runs.id)).state in {"queued", "running"}
        gate.touch()
        await ended(client, runs.id)


async def test_nothing_goes_when_retention_is_off(world: World) -> None:
    async with world.executor(STOKER_RETENTION_DAYS="0") as client, world.poller():
        job = await client.submit(world.submission("true"))
        await ended(client, job.id)
        await let_it_be_old(world, job.id, 10_000)
        other = await client.submit(world.submission("true"))
        await ended(client, other.id)

        async def measured() -> bool:
            return (await client.job(other.id)).disk_bytes is not None

        await until(measured)
        assert (await client.job(job.id)).state == "succeeded"


async def test_disk_use_is_measured_live_and_at_the_end(world: World, working: ExecutorClient) -> None:
    gate = world.folder / "gate"
    script = 'head -c 1000000 /dev/urandom > big; while [ ! -e "$0" ]; do sleep 0.02; done'
    job = await working.submit(world.submission("sh", "-c", script, str(gate)))

    async def seen() -> bool:
        usage = await working.usage()
        return [(entry.jobs, entry.disk_bytes >= 1_000_000) for entry in usage.resources] == [(1, True)]

    await until(seen)
    gate.touch()
    await ended(working, job.id)

    async def measured() -> bool:
        return ((await working.job(job.id)).disk_bytes or 0) >= 1_000_000

    await until(measured)
    assert await seen()


class GoneAgents:
    """Agents of resources of which somebody says that they are not there."""

    async def of(self, job: Any) -> Any:
        raise NotFound(f"there is no profile {job.profile_id}")


async def test_a_job_is_not_forgotten_because_somebody_says_that_its_profile_is_gone(
    world: World, working: ExecutorClient
) -> None:
    job = await working.submit(world.submission("true"))
    await ended(working, job.id)

    async def measured() -> bool:
        return (await working.job(job.id)).disk_bytes is not None

    await until(measured)
    agents: Any = GoneAgents()
    for kind, held in (("work", True), ("work", False), ("activity", True)):
        async with opened(world) as database:
            holds: Any = SimpleHolds(held=held)
            removal = Removal(database, None, agents)  # type: ignore[arg-type]
            keeper = Retention(database=database, agents=agents, removal=removal, holds=holds, retention_days=0)
            async with database.write() as connection:
                await connection.execute(update(jobs).where(jobs.c.id == job.id).values(disk_bytes=None, kind=kind))
            await keeper.keep_house()
            async with database.read() as connection:
                found = await connection.execute(select(jobs.c.id).where(jobs.c.id == job.id))
                assert found.one_or_none() is not None, (kind, held)


class SimpleHolds:
    """Holds of which there is one, or none."""

    def __init__(self, *, held: bool) -> None:
        self._held = held

    async def held(self, profile_id: str) -> bool:
        del profile_id
        return self._held

    async def release_unused(self) -> None:
        """Nothing is to be released."""

    async def reconcile(self) -> None:
        """All is in order."""


async def test_the_last_job_releases_the_profile_and_the_next_holds_it_again(
    world: World, working: ExecutorClient
) -> None:
    job = await working.submit(world.submission("true"))
    await ended(working, job.id)
    first = await tokens(world.registry_client)
    assert len(first) == 1
    await working.delete_job(job.id)

    async def released() -> bool:
        return not await tokens(world.registry_client) and not await held(world)

    await until(released)
    await working.submit(world.submission("true"))
    again = await tokens(world.registry_client)
    assert len(again) == 1
    assert again.isdisjoint(first)


class Gone(Exception):  # noqa: N818
    """The process dies here."""


class DyingRegistry:
    """The real registry, until a call after (or before) which the process would be dead."""

    def __init__(self, real: RegistryClient, *, dies: str) -> None:
        self._real = real
        self._dies = dies

    async def put_hold(self, token: str, holder: str, profile_id: str) -> Any:
        found = await self._real.put_hold(token, holder, profile_id)
        if self._dies == "after put":
            raise Gone
        return found

    async def delete_hold(self, token: str) -> None:
        if self._dies == "before delete":
            raise Gone
        await self._real.delete_hold(token)
        if self._dies == "after delete":
            raise Gone

    def holds(self, *, holder: str | None = None) -> Any:
        return self._real.holds(holder=holder)


@pytest.mark.parametrize("dies", ["before delete", "after delete"])
async def test_a_release_is_finished_by_whoever_comes_next(world: World, dies: str) -> None:
    registry = RegistryClient(world.registry_url, world.service_key)
    async with registry, opened(world) as database:
        async with world.executor():
            pass
        async with database.write() as connection:
            await registry.put_hold("t1", HOLDER, world.profile.id)
            await hold_rows.take(connection, world.profile.id, world.resource.id, "t1")
        with pytest.raises(Gone):
            await Holds(database, DyingRegistry(registry, dies=dies)).release_unused()  # type: ignore[arg-type]
        assert await held(world) == [("t1", "releasing")]
        # A job that comes now takes a hold of its own, which finishing the old release leaves alone.
        finishing = Holds(database, registry)
        async with interrupted(world, finishing.release_unused) as interrupted_database:
            async with Holds(interrupted_database, registry).storing(await registry.connection(world.profile.id)):
                pass
            assert interrupted_database.interruptions == 1
        [(token, state)] = await held(world)
        assert (state, token == "t1") == ("held", False)
        assert await tokens(registry) == {token}
        await finishing.reconcile()
        assert await tokens(registry) == {token}


@pytest.mark.both_databases
async def test_a_hold_is_not_released_while_a_job_is_being_stored(world: World) -> None:
    """Both orders of an accepting and a releasing transaction leave the job's profile held."""
    async with world.executor() as client:
        for _ in range(10):
            submitted = asyncio.create_task(client.submit(world.submission("true")))
            async with (
                RegistryClient(world.registry_url, world.service_key) as registry,
                opened(world) as database,
            ):
                releasing = Holds(database, registry)
                while not submitted.done():
                    await releasing.release_unused()
                job = await submitted
                await releasing.release_unused()
                [(token, state)] = await held(world)
                assert state == "held"
                assert token in await tokens(world.registry_client)
                await until(partial(_rows_gone, database, job.id), "the job's rows are gone")
                await releasing.release_unused()
                assert await held(world) == []


async def _rows_gone(database: Database, job_id: str) -> bool:
    """As removing the job would do it; but this one has not ended, and its launch may lock rows in another order."""
    try:
        async with database.write() as connection:
            await connection.execute(jobs.delete().where(jobs.c.id == job_id))
    except Unavailable:
        return False
    return True


async def test_a_hold_that_is_released_before_the_job_is_stored_is_taken_anew(world: World) -> None:
    async with world.executor():
        pass
    admin = Caller(key_id="k", role="admin", owner="root")
    async with RegistryClient(world.registry_url, world.service_key) as registry, opened(world) as database:
        async with database.write() as connection:
            await registry.put_hold("t1", HOLDER, world.profile.id)
            await hold_rows.take(connection, world.profile.id, world.resource.id, "t1")
        profiles = Profiles(Connections(registry), frozenset({"local"}))
        async with interrupted(world, Holds(database, registry).release_unused) as slow:
            admission = Admission(
                database=slow, profiles=profiles, holds=Holds(slow, registry), cpu_count=2, wake=lambda: None
            )
            await admission.submit(Request(caller=admin, body_sha256=""), world.submission("true"))
            assert slow.interruptions == 1
        [(token, state)] = await held(world)
        assert (state, token == "t1") == ("held", False)
        assert await tokens(registry) == {token}


async def test_holds_that_the_registry_lost_are_put_again(world: World, executor: ExecutorClient) -> None:
    await executor.submit(world.submission("true"))
    [(token, _)] = await held(world)
    async with RegistryClient(world.registry_url, world.service_key) as registry, opened(world) as database:
        await registry.delete_hold(token)
        await registry.put_hold("orphan", HOLDER, world.profile.id)
        await Holds(database, registry).reconcile()
        # An orphan is left alone until it is certain that nobody is about to use it.
        assert await tokens(registry) == {token, "orphan"}


async def test_without_the_registry_releases_wait(world: World) -> None:
    async with world.executor():
        pass
    async with opened(world) as database:
        async with database.write() as connection:
            await hold_rows.take(connection, world.profile.id, world.resource.id, "t1")
        async with RegistryClient("http://127.0.0.1:9", world.service_key, attempts=1) as nobody:
            with pytest.raises(Unavailable):
                await Holds(database, nobody).release_unused()
        assert await held(world) == [("t1", "releasing")]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("point", ["holds.put", "admission.storing", "admission.stored"])
async def test_a_submit_call_that_kills_the_service_is_repeated_and_makes_one_job(
    world: World, point: str, tmp_path: Path
) -> None:
    async with world.executor():
        pass
    environment = os.environ | {
        "STOKER_DATABASE_URL": world.executor_database_url,
        "STOKER_REDIS_URL": world.redis_url,
        "STOKER_REGISTRY_URL": world.registry_url,
        "STOKER_SERVICE_KEY": world.service_key,
        "STOKER_RESOURCE_TYPES": "local",
        "STOKER_LISTEN_PORT": "0",
        "STOKER_FAILPOINTS": str(tmp_path),
    }
    (tmp_path / point).touch()
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.executor", env=environment, stdout=log, stderr=log
        )
    try:

        def listening() -> bool:
            return b'"listening"' in (tmp_path / "log").read_bytes()

        await until(listening)
        line = next(line for line in (tmp_path / "log").read_text().splitlines() if '"listening"' in line)
        url = line.partition('"url":"')[2].partition('"')[0]
        async with ExecutorClient(url, world.admin_key, attempts=1) as client:
            with pytest.raises(Unavailable):
                await client.submit(world.submission("true", units=[{}] * 10), idempotency_key="k")
        assert await process.wait() == -signal.SIGKILL
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    async with world.executor() as client:
        job = await client.submit(world.submission("true", units=[{}] * 10), idempotency_key="k")
        assert [found.id for found in (await client.jobs()).items] == [job.id]
        assert len([unit async for unit in client.units(job.id)]) == 10
    [(token, state)] = await held(world)
    assert state == "held"
    assert token in await tokens(world.registry_client)
