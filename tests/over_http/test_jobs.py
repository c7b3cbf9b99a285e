"""Jobs on every resource of the stack: what they answer, log and tell, and how they end."""

import pytest

from stoker.contracts.jobs import FINAL_UNIT_STATES, JobSubmit
from tests.over_http.address import StackAddress
from tests.over_http.place import Place
from tests.over_http.work import END_SECONDS, events_to_the_end, starts, submit_tracing
from tests.waiting import until

pytestmark = pytest.mark.anyio
UNITS = 40


async def test_a_profile_is_found_usable(address: StackAddress, place: Place) -> None:
    async with address.executor() as executor:
        report = await executor.check(place.profile_id)
    assert report.usable, report.findings


async def test_every_unit_runs_once_and_answers_in_order(address: StackAddress, place: Place) -> None:
    async with address.executor() as executor:
        job = await submit_tracing(executor, place, units=UNITS, seconds=0.05)
        events = await events_to_the_end(executor, job.id)
        assert events[-1].state == "succeeded", events[-1]
        assert events[-1].counts.succeeded == UNITS
        results = [result async for result in executor.results(job.id)]
        assert [result.output for result in results] == [{"unit": index} for index in range(UNITS)]
        assert await starts(executor, job.id) == dict.fromkeys(range(UNITS), 1)
        log = b"".join([chunk async for chunk in executor.unit_log(job.id, 7)])
        assert log == b"unit 7\n"


async def test_units_run_as_the_user_of_their_profile(address: StackAddress, place: Place) -> None:
    async with address.executor() as executor:
        submit = JobSubmit(profile_id=place.profile_id, command=["id", "-un"], units=[{}])
        job = await executor.submit(submit)
        await events_to_the_end(executor, job.id)
        log = b"".join([chunk async for chunk in executor.unit_log(job.id, 0)]).decode().strip()
    # `local` means whoever runs the services, which is not told here.
    assert log == place.username if place.on_cluster else log


async def test_a_failed_unit_says_why_and_the_others_go_on(address: StackAddress, place: Place) -> None:
    async with address.executor() as executor:
        command = ["sh", "-c", "echo about to end; exit {args.code}"]
        submit = JobSubmit(
            profile_id=place.profile_id, command=command, units=[{"code": 0}, {"code": 3}, {"code": 0}]
        )
        job = await executor.submit(submit)
        events = await events_to_the_end(executor, job.id)
        assert events[-1].state == "failed"
        assert (events[-1].counts.succeeded, events[-1].counts.failed) == (2, 1)
        unit = await executor.unit(job.id, 1)
    assert (unit.state, unit.exit_code) == ("failed", 3)
    assert unit.reason is not None
    assert unit.reason.code == "exit_code"


async def test_a_cancelled_job_ends_and_so_do_its_units(address: StackAddress, place: Place) -> None:
    async with address.executor() as executor:
        job = await submit_tracing(executor, place, units=8, seconds=600)

        async def runs() -> bool:
            return (await executor.job(job.id)).counts.running > 0

        await until(runs, "a unit runs", seconds=END_SECONDS)
        await executor.cancel(job.id)
        events = await events_to_the_end(executor, job.id)
        assert events[-1].state == "cancelled"
        units = [unit async for unit in executor.units(job.id)]
    assert {unit.state for unit in units} <= FINAL_UNIT_STATES
    assert "cancelled" in {unit.state for unit in units}
