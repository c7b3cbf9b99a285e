"""The database goes back to a backup, or to an older schema, while work runs on, as docs/operations.md says."""

import asyncio
from contextlib import aclosing

import pytest

from stoker.errors import NotFound
from tests.compose.containers import RunningContainers
from tests.over_http.address import StackAddress
from tests.over_http.place import Place
from tests.over_http.work import (
    END_SECONDS,
    ONCE_EACH,
    events_to_the_end,
    some_have_ended,
    starts,
    submit_long,
    submit_tracing,
    succeeds,
)

pytestmark = pytest.mark.anyio
SERVICES = ("registry", "executor", "poller")
DATABASES = ("registry", "executor")
# Positions of events that were given out since the backup must not be given again.
BEYOND_THE_OLD = "UPDATE stream SET last_position = last_position + 1000000000"


async def test_a_restored_backup_has_what_it_had_and_work_that_ran_on_meanwhile_ends_rightly(
    address: StackAddress, containers: RunningContainers, all_places: list[Place], cluster_places: list[Place]
) -> None:
    async with address.registry() as registry, address.executor() as executor:
        resources = [resource async for resource in registry.resources()]
        ended = [await submit_tracing(executor, place, units=4, seconds=0) for place in all_places]
        before = [await events_to_the_end(executor, job.id) for job in ended]
        running = [await submit_long(executor, place) for place in cluster_places]
        await asyncio.gather(*(some_have_ended(executor, job.id) for job in running))
        for database in DATABASES:
            dump = f"pg_dump --username postgres --format custom --file /tmp/{database}.dump {database}"
            await containers.inside("postgres", dump)
        forgotten = await submit_tracing(executor, all_places[0], units=4, seconds=0)
        newest = (await events_to_the_end(executor, forgotten.id))[-1].position
        await asyncio.gather(*(succeeds(executor, job) for job in running))

        await containers.call("stop", *SERVICES)
        for database in DATABASES:
            restore = f"pg_restore --username postgres --clean --if-exists --dbname {database} /tmp/{database}.dump"
            await containers.inside("postgres", restore)
        await containers.inside(
            "postgres", f"psql --username postgres --dbname executor --command '{BEYOND_THE_OLD}'"
        )
        await containers.call("start", *SERVICES)
        await address.ready()

        assert [resource async for resource in registry.resources()] == resources
        assert [await events_to_the_end(executor, job.id) for job in ended] == before
        with pytest.raises(NotFound):
            await executor.job(forgotten.id)
        for job in running:
            await succeeds(executor, job)
            assert await starts(executor, job.id) == ONCE_EACH
        # Who has read further than the backup hears of all that comes.
        new = await submit_tracing(executor, all_places[0], units=4, seconds=0)
        async with asyncio.timeout(END_SECONDS), aclosing(executor.events(after=newest)) as events:
            async for event in events:
                if event.job_id == new.id and event.state == "succeeded":
                    break


async def test_an_executor_that_is_rolled_back_and_upgraded_again_loses_no_running_work(
    address: StackAddress, containers: RunningContainers, cluster_places: list[Place]
) -> None:
    async with address.executor() as executor:
        running = [await submit_long(executor, place) for place in cluster_places]
        await asyncio.gather(*(some_have_ended(executor, job.id) for job in running))
        await containers.call("stop", "executor")
        for way in ("--back-to 0002", ""):
            change = f"STOKER_DATABASE_URL=$EXECUTOR_DATABASE_URL python -P -m services.executor migrate {way}"
            await containers.call("run", "--rm", "-T", "--entrypoint", f"sh -c '{change}'", "init")
        await containers.call("start", "executor")
        for job in running:
            await succeeds(executor, job)
            assert await starts(executor, job.id) == ONCE_EACH
    await address.ready()
