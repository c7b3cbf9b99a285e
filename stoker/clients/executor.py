"""The executor: jobs, their units, logs and results, and the stream of events."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import datetime
from urllib.parse import quote

import msgspec

from stoker.clients.base import ServiceClient
from stoker.clients.event_stream import follow_events
from stoker.clients.lines import lines
from stoker.clients.log_stream import follow_log, read_log
from stoker.contracts.checks import CheckReport, CheckRequest
from stoker.contracts.environments import FINAL_ACTIVITY_STATES, Activity, Environment, EnvironmentCreate, Freeze
from stoker.contracts.events import JobEvent
from stoker.contracts.jobs import FINAL_UNIT_STATES, Attempt, Batch, Job, JobSubmit, Plan, Unit, UnitResult
from stoker.contracts.pages import Page
from stoker.contracts.ssh import SshHostKeys, SshTrust
from stoker.contracts.tasks import Task
from stoker.contracts.usage import Usage
from stoker.contracts.watches import WatchList
from stoker.errors import Unavailable

_SUBMIT_TIMEOUT_SECONDS = 120.0  # a million units are a large body, and are stored before the answer
_CHECK_TIMEOUT_SECONDS = 120.0
_STREAM_SILENCE_SECONDS = 60.0


class ExecutorClient(ServiceClient):
    """Calls of the executor. Errors: Invalid, NotFound, Conflict, Unauthorized, Forbidden, Unavailable.

    Streams that are left before their end want `contextlib.aclosing`, so that their connection is closed at once.
    """

    service = "executor"

    async def submit(self, job: JobSubmit, *, idempotency_key: str | None = None) -> Job:
        """Submit a job. It is stored when this returns.

        Every call carries an idempotency key (a random one by default), so that repeating it after a lost answer
        never makes a second job. Conflict `submissions-prevented`: the resource takes no new jobs.
        """
        headers = {"Idempotency-Key": idempotency_key or secrets.token_urlsafe(24)}
        return await self._ask(
            "POST",
            "/v1/jobs",
            Job,
            body=job,
            headers=headers,
            repeatable=True,
            timeout_seconds=_SUBMIT_TIMEOUT_SECONDS,
        )

    async def plan(self, job: JobSubmit) -> Plan:
        """What `submit` would do, without doing it."""
        return await self._ask(
            "POST", "/v1/jobs/plan", Plan, body=job, repeatable=True, timeout_seconds=_SUBMIT_TIMEOUT_SECONDS
        )

    async def jobs(
        self,
        *,
        state: str | None = None,
        profile_id: str | None = None,
        resource_id: str | None = None,
        name: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Page[Job]:
        """One page of jobs, the newest first."""
        query = {
            "state": state,
            "profile_id": profile_id,
            "resource_id": resource_id,
            "name": name,
            "created_after": created_after.isoformat() if created_after else None,
            "created_before": created_before.isoformat() if created_before else None,
            "cursor": cursor,
            "limit": limit,
        }
        return await self._get("/v1/jobs", Page[Job], query)

    async def job(self, job_id: str) -> Job:
        """One job."""
        return await self._get(_path(job_id), Job)

    async def cancel(self, job_id: str) -> Job:
        """Ask for a job's end; repeating is fine while it ends. Conflict: it has ended already."""
        return await self._ask("POST", _path(job_id, "cancel"), Job)

    async def rerun(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Submit a job again as a new one: the same command, units and files. Idempotent as `submit` is."""
        headers = {"Idempotency-Key": idempotency_key or secrets.token_urlsafe(24)}
        return await self._ask(
            "POST",
            _path(job_id, "rerun"),
            Job,
            headers=headers,
            repeatable=True,
            timeout_seconds=_SUBMIT_TIMEOUT_SECONDS,
        )

    async def delete_job(self, job_id: str) -> None:
        """Remove a job that has ended, with its folder. Conflict: it has not ended."""
        await self._call("DELETE", _path(job_id))

    def batches(self, job_id: str) -> AsyncIterator[Batch]:
        """All batches of a job, in order."""
        return self._every(_path(job_id, "batches"), Batch)

    def units(self, job_id: str, *, state: str | None = None, page_size: int | None = None) -> AsyncIterator[Unit]:
        """All units of a job in order, or those in one state."""
        return self._every(_path(job_id, "units"), Unit, {"state": state, "limit": page_size})

    async def unit(self, job_id: str, index: int) -> Unit:
        """One unit."""
        return await self._get(_path(job_id, f"units/{index}"), Unit)

    async def attempts(self, job_id: str, index: int) -> list[Attempt]:
        """The attempts of a unit that others followed, in order."""
        return await self._get(_path(job_id, f"units/{index}/attempts"), list[Attempt])

    def unit_log(
        self,
        job_id: str,
        index: int,
        *,
        offset: int = 0,
        limit: int | None = None,
        follow: bool = False,
        on_outage: Callable[[Unavailable], None] | None = None,
    ) -> AsyncGenerator[bytes]:
        """A unit's log from `offset` (bytes); with `follow`, until the unit ends, through outages (see `events`)."""
        path = _path(job_id, f"units/{index}/log")
        if not follow:
            return read_log(self._stream, path, offset=offset, limit=limit)

        async def has_ended() -> bool:
            return (await self.unit(job_id, index)).state in FINAL_UNIT_STATES

        return follow_log(self._stream, path, offset=offset, limit=limit, has_ended=has_ended, on_outage=on_outage)

    async def log(self, job_id: str, *, follow: bool = False) -> AsyncGenerator[bytes]:
        """The whole job's log: one part per source, each under a header line.

        With `follow` until the job ends, or the executor stops: there is no place to go on from.
        """
        silence = None if follow else _STREAM_SILENCE_SECONDS
        async with self._stream(_path(job_id, "log"), query={"follow": follow}, silence_seconds=silence) as answer:
            async for chunk in answer.aiter_bytes():
                yield chunk

    async def results(self, job_id: str) -> AsyncGenerator[UnitResult]:
        """The results of all units, in order."""
        decoder = msgspec.json.Decoder(UnitResult)
        async with self._stream(_path(job_id, "results"), silence_seconds=_STREAM_SILENCE_SECONDS) as answer:
            async for line in lines(answer.aiter_bytes()):
                if line:
                    yield decoder.decode(line)

    async def archive(self, job_id: str) -> AsyncGenerator[bytes]:
        """A zip of the job's folder, piece by piece."""
        async with self._stream(_path(job_id, "archive"), silence_seconds=_STREAM_SILENCE_SECONDS) as answer:
            async for chunk in answer.aiter_bytes():
                yield chunk

    def events(
        self,
        job_id: str | None = None,
        *,
        after: int = 0,
        on_outage: Callable[[Unavailable], None] | None = None,
    ) -> AsyncGenerator[JobEvent]:
        """Events of one job, or of all that the caller may see, after the given position; for ever.

        None is missed and none comes twice: after a lost connection it goes on where it was, by itself, with
        growing pauses. `on_outage` is told of each failure; what it raises ends the stream. Refusals (NotFound, …)
        are raised.
        """
        return follow_events(self._stream, job_id=job_id, after=after, on_outage=on_outage)

    async def watch_list(self) -> WatchList:
        """What the poller is to watch (services)."""
        return await self._get("/v1/watch-list", WatchList)

    async def check(self, profile_id: str, *, test_job: bool = False) -> CheckReport:
        """Is this profile usable? `test_job` also runs a real unit."""
        body = CheckRequest(profile_id=profile_id, test_job=test_job)
        return await self._ask("POST", "/v1/checks", CheckReport, body=body, timeout_seconds=_CHECK_TIMEOUT_SECONDS)

    async def scan_host_keys(self, resource_id: str) -> SshHostKeys:
        """The keys that the host of an SSH resource shows now (administrators). Unavailable: it is not reached."""
        path = f"/v1/ssh-host-keys/{quote(resource_id, safe='')}/scan"
        return await self._ask("POST", path, SshHostKeys, timeout_seconds=_CHECK_TIMEOUT_SECONDS)

    async def trust_host_keys(self, resource_id: str, trust: SshTrust) -> SshHostKeys:
        """Trust keys by their fingerprints. Conflict: the host shows others now, or others are known of it."""
        path = f"/v1/ssh-host-keys/{quote(resource_id, safe='')}/trust"
        return await self._ask("POST", path, SshHostKeys, body=trust, timeout_seconds=_CHECK_TIMEOUT_SECONDS)

    async def create_environment(
        self, create: EnvironmentCreate, *, idempotency_key: str | None = None
    ) -> Environment:
        """Have an environment made. It is stored when this returns; idempotent as `submit` is.

        What was asked for before, and is there or being made, is what is answered.
        """
        headers = {"Idempotency-Key": idempotency_key or secrets.token_urlsafe(24)}
        return await self._ask(
            "POST",
            "/v1/environments",
            Environment,
            body=create,
            headers=headers,
            repeatable=True,
            timeout_seconds=_SUBMIT_TIMEOUT_SECONDS,
        )

    def environments(
        self, *, state: str | None = None, resource_id: str | None = None, package: str | None = None
    ) -> AsyncIterator[Environment]:
        """All environments, the newest first."""
        query = {"state": state, "resource_id": resource_id, "package": package}
        return self._every("/v1/environments", Environment, query)

    async def environment(self, environment_id: str) -> Environment:
        """One environment with its latest activity."""
        return await self._get(_environment(environment_id), Environment)

    async def deactivate_environment(self, environment_id: str) -> Environment:
        """Have what is installed removed. Conflict `in-use`: a job uses it."""
        return await self._ask("POST", _environment(environment_id, "deactivate"), Environment, repeatable=True)

    async def reactivate_environment(self, environment_id: str) -> Environment:
        """Have it made again, exactly as it was."""
        return await self._ask("POST", _environment(environment_id, "reactivate"), Environment, repeatable=True)

    async def delete_environment(self, environment_id: str) -> Environment:
        """Have all of it removed; it is gone when the activity is done. Conflict `in-use`: a job uses it."""
        return await self._ask("DELETE", _environment(environment_id), Environment)

    async def freeze(self, environment_id: str) -> Freeze:
        """Exactly what is in an environment."""
        return await self._get(_environment(environment_id, "freeze"), Freeze)

    def tasks(
        self, *, environment_id: str | None = None, of_type: str | None = None, search: str | None = None
    ) -> AsyncIterator[Task]:
        """Tasks of all environments that the caller sees; `search`: words that must all occur."""
        query = {"environment_id": environment_id, "type": of_type, "search": search}
        return self._every("/v1/tasks", Task, query)

    def activities(self, environment_id: str) -> AsyncIterator[Activity]:
        """What was done to an environment, the newest first."""
        return self._every(_environment(environment_id, "activities"), Activity)

    async def activity(self, activity_id: str) -> Activity:
        """One activity."""
        return await self._get(f"/v1/activities/{quote(activity_id, safe='')}", Activity)

    async def cancel_activity(self, activity_id: str) -> Activity:
        """Ask for an activity's end; repeating is fine while it ends. Conflict: it has ended already."""
        return await self._ask("POST", f"/v1/activities/{quote(activity_id, safe='')}/cancel", Activity)

    def activity_log(
        self,
        activity_id: str,
        *,
        offset: int = 0,
        limit: int | None = None,
        follow: bool = False,
        on_outage: Callable[[Unavailable], None] | None = None,
    ) -> AsyncGenerator[bytes]:
        """An activity's log, as `unit_log` has it."""
        path = f"/v1/activities/{quote(activity_id, safe='')}/log"
        if not follow:
            return read_log(self._stream, path, offset=offset, limit=limit)

        async def has_ended() -> bool:
            return (await self.activity(activity_id)).state in FINAL_ACTIVITY_STATES

        return follow_log(self._stream, path, offset=offset, limit=limit, has_ended=has_ended, on_outage=on_outage)

    async def usage(self) -> Usage:
        """Disk use per resource."""
        return await self._get("/v1/usage", Usage)


def _path(job_id: str, below: str = "") -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}" + (f"/{below}" if below else "")


def _environment(environment_id: str, below: str = "") -> str:
    return f"/v1/environments/{quote(environment_id, safe='')}" + (f"/{below}" if below else "")
