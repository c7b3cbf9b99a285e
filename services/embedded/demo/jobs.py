"""Jobs and activities of the demonstration: shown while they run, and ended with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from rich.console import Console

from stoker.cli.progress import watch_to_end
from stoker.clients import ExecutorClient
from stoker.contracts.jobs import FINAL_JOB_STATES, Job, JobSubmit
from stoker.errors import Conflict

_LOOK_SECONDS = 0.2
_ENDING_SECONDS = 15.0


async def run_job(executor: ExecutorClient, submit: JobSubmit, what: str, progress: Console) -> Job:
    """Run a job and show it; returns it as it ended."""
    job = await executor.submit(submit)
    progress.print(f"job {job.id}: {what}", markup=False)

    async def has_ended() -> bool:
        return (await executor.job(job.id)).state in FINAL_JOB_STATES

    async with ended_with_us(lambda: executor.cancel(job.id), has_ended):
        return await watch_to_end(executor, job, progress)


@asynccontextmanager
async def ended_with_us(
    cancel: Callable[[], Awaitable[object]], has_ended: Callable[[], Awaitable[bool]]
) -> AsyncIterator[None]:
    """Nothing of the demonstration outlives it: what is interrupted inside is cancelled, and its end waited for."""
    try:
        yield
    except asyncio.CancelledError:
        with suppress(Conflict, TimeoutError):  # it has ended already, or does not want to
            await cancel()
            async with asyncio.timeout(_ENDING_SECONDS):
                await wait_for(has_ended)
        raise


async def wait_for(has_ended: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again until it has."""
    while True:
        if await has_ended():
            return
        await asyncio.sleep(_LOOK_SECONDS)
