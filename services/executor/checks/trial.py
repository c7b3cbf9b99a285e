"""A real job of one unit, run to see whether jobs run."""

import asyncio
import contextlib
import secrets

from services.executor.jobs.admission import Admission
from services.executor.jobs.cancellation import Cancellation
from services.executor.jobs.catalogue import JobCatalogue
from services.executor.jobs.removal import Removal
from services.executor.model.requests import Request
from stoker.contracts.checks import Finding
from stoker.contracts.jobs import FINAL_JOB_STATES, Job, JobSubmit
from stoker.contracts.keys import Caller
from stoker.errors import StokerError

_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.2
NAME = "check"


class Trial:
    """Submits `true`, waits for its end, and removes the job again."""

    def __init__(
        self, admission: Admission, catalogue: JobCatalogue, cancellation: Cancellation, removal: Removal
    ) -> None:
        self._admission = admission
        self._catalogue = catalogue
        self._cancellation = cancellation
        self._removal = removal

    async def run(self, caller: Caller, profile_id: str) -> Finding:
        """What came of it; never raises for what went wrong with the job."""
        submit = JobSubmit(profile_id=profile_id, command=["true"], units=[{}], name=NAME)
        try:
            job = await self._admission.submit(Request(caller=caller, body_sha256=secrets.token_hex(32)), submit)
            job = await self._ended(caller, job)
        except StokerError as error:
            return Finding(name="test job", level="error", detail=error.message)
        if job.state in FINAL_JOB_STATES:
            with contextlib.suppress(StokerError):
                await self._removal.delete(caller, job.id)
        else:
            with contextlib.suppress(StokerError):
                await self._cancellation.cancel(caller, job.id)
        return _finding(job)

    async def _ended(self, caller: Caller, job: Job) -> Job:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while job.state not in FINAL_JOB_STATES:
                    await asyncio.sleep(_LOOK_SECONDS)
                    job = await self._catalogue.job(caller, job.id)
        return job


def _finding(job: Job) -> Finding:
    if job.state == "succeeded":
        return Finding(name="test job", level="ok", detail="a unit ran and succeeded")
    if job.state in FINAL_JOB_STATES:
        words = job.reason.text if job.reason else job.state
        return Finding(name="test job", level="error", detail=f"it {job.state}: {words}")
    waits = f", waiting for: {job.waiting_for}" if job.waiting_for else ""
    return Finding(
        name="test job",
        level="error",
        detail=f"it had not ended after {_PATIENCE_SECONDS:.0f} s: it is {job.state}{waits}",
        mend="see that the poller runs, and its address /v1/watches",
    )
