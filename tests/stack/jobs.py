"""Jobs whose units leave a trace each time they are started."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from stoker.contracts.events import JobEvent
from stoker.contracts.jobs import FINAL_JOB_STATES, Job, JobSubmit
from tests.stack.running import RunningStack


async def local_profile(stack: RunningStack) -> str:
    """Id of the profile that every stack begins with."""
    async with stack.registry() as registry:
        async for profile in registry.profiles():
            return profile.id
    raise AssertionError("the stack has no profile")


async def submit(stack: RunningStack, command: Sequence[str], *, units: int = 1, parallel: int = 4) -> Job:
    wanted = JobSubmit(
        profile_id=await local_profile(stack),
        command=list(command),
        units=[{} for _ in range(units)],
        parallel_tasks_per_job=parallel,
    )
    async with stack.executor() as executor:
        return await executor.submit(wanted)


async def submit_tracing(stack: RunningStack, trace: Path, *, units: int, seconds: float) -> Job:
    """A job whose units append their number to `trace` when they start, then take `seconds`."""
    return await submit(
        stack, ["sh", "-c", f'echo "$1" >> "$2"; sleep {seconds}', "unit", "{unit}", str(trace)], units=units
    )


def starts(trace: Path) -> Counter[int]:
    """How often each unit was started."""
    return Counter(int(line) for line in trace.read_text().split()) if trace.exists() else Counter()


async def events_to_the_end(stack: RunningStack, job_id: str, *, seconds: float = 120) -> list[JobEvent]:
    """All events of a job, from a client that comes back after every outage."""
    seen: list[JobEvent] = []
    try:
        async with (
            asyncio.timeout(seconds),
            stack.executor() as executor,
            aclosing(executor.events(job_id=job_id, after=0)) as events,
        ):
            async for event in events:
                seen.append(event)
                if event.state in FINAL_JOB_STATES:
                    return seen
    except TimeoutError:
        found = await _how_it_is(stack)
        raise AssertionError(f"no end of {job_id} within {seconds} s: {seen[-1:]}\n{found}") from None
    raise AssertionError(f"the stream ended: {seen}")


async def _how_it_is(stack: RunningStack) -> str:
    """What a failure's message says of a stack."""
    words = [await asyncio.to_thread(stack.run, *command) for command in (["jobs"], ["check"])]
    return "\n".join([*(f"{one.out}{one.err}" for one in words), stack.logs()])
