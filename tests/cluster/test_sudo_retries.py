"""Trying again: only units that failed, only for the named reasons, with more where there was too little."""

import pytest

from tests.workshop.sudo_site import SudoSite

pytestmark = pytest.mark.anyio


async def test_a_reason_that_was_not_named_ends_the_unit(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    job = await sudo_site.run(ada, ["false"], retries={"count": 3, "on": ["out_of_memory"]})
    (unit,) = await sudo_site.units(job.id)
    assert (job.state, unit.attempt) == ("failed", 1)


async def test_a_unit_that_ran_out_of_memory_gets_more_up_to_the_maximum(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    # Seen by SLURM: it ends the batch. The second attempt has room.
    eats = "exec python3 -c 'x = bytearray(180_000_000); import time; time.sleep(4)'"
    retries = {"count": 2, "on": ["out_of_memory"], "memory_factor": 4}
    job = await sudo_site.run(ada, ["sh", "-c", eats], retries=retries)
    assert job.state == "succeeded", await sudo_site.units(job.id)
    first, second = await sudo_site.batches(job.id)
    told = [sudo_site.cluster.job(str(batch.native_id))["MinMemoryNode"] for batch in (first, second)]
    # Four times 100 MB, below the maximum of 500.
    assert told == ["100M", "400M"]
    assert first.reason is not None
    assert first.reason.code == "out_of_memory"


async def test_a_cancelled_job_is_not_tried_again(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    job = await sudo_site.submit(ada, ["sleep", "1000"], retries={"count": 3, "on": ["signal", "exit_code"]})
    await sudo_site.until(job.id, "running")
    async with sudo_site.stack.executor() as executor:
        await executor.cancel(job.id)
    final = await sudo_site.until(job.id)
    (unit,) = await sudo_site.units(job.id)
    assert (final.state, unit.attempt) == ("cancelled", 1)
