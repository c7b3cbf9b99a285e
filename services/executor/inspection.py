"""Checks of a profile and its resource: what a job will need is tried, and each finding says what mends it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from ulid import ULID

from services.executor.admission import no_such_profile
from services.executor.connections import Connections
from services.executor.trial import Trial
from shared.bus import Bus
from shared.contracts.checks import CheckReport, CheckRequest, Finding
from shared.contracts.holds import Connection
from shared.contracts.keys import Caller
from shared.contracts.resources import LocalResourceSpec, ResourceType
from shared.errors import NotFound, StokerError
from shared.pipes import JOBS, AgentConnection, CannotConnect, PipeOpener, Place, StagedFile, roots_of

_SKEW_SECONDS = 30.0
_LITTLE_SPACE_BYTES = 1024**3
_SEE_LOG = "see the log of the executor for what the agent said"
_PROBE = b"written by a check"


class Inspection:
    """Looks at one profile at a time."""

    def __init__(
        self,
        *,
        connections: Connections,
        bus: Bus,
        resource_types: frozenset[ResourceType],
        cpu_count: int,
        opener: PipeOpener,
        trial: Trial,
    ) -> None:
        self._connections = connections
        self._bus = bus
        self._resource_types = resource_types
        self._cpu_count = cpu_count
        self._opener = opener
        self._trial = trial

    async def check(self, caller: Caller, request: CheckRequest) -> CheckReport:
        """All findings. Raises NotFound (no such profile, or not granted), Unavailable (the registry)."""
        if caller.role == "user" and request.profile_id not in caller.profile_ids:
            raise no_such_profile(request.profile_id)
        try:
            connection = await self._connections.latest(request.profile_id)
        except NotFound:
            raise no_such_profile(request.profile_id) from None
        findings = [_ok("registry", "it answers and knows the profile"), *self._configuration(connection)]
        findings.append(await self._bus_finding())
        if connection.resource.type in self._resource_types:
            findings += await self._agent_findings(connection)
            if isinstance(connection.resource.spec, LocalResourceSpec):
                findings += await asyncio.to_thread(_local_findings, connection.resource.spec)
        if request.test_job and not any(finding.level == "error" for finding in findings):
            findings.append(await self._trial.run(caller, request.profile_id))
        return CheckReport(
            profile_id=request.profile_id,
            resource_id=connection.resource.id,
            usable=all(finding.level != "error" for finding in findings),
            findings=findings,
        )

    def _configuration(self, connection: Connection) -> list[Finding]:
        found = []
        resource = connection.resource
        if resource.type not in self._resource_types:
            served = ",".join(sorted(self._resource_types))
            found.append(
                _finding(
                    "resource type",
                    "error",
                    f"this instance does not serve {resource.type} resources",
                    f"set STOKER_RESOURCE_TYPES={served},{resource.type} for all services",
                )
            )
        if resource.spec.prevent_new_submissions is True:
            found.append(
                _finding(
                    "new jobs",
                    "warning",
                    "the resource takes no new jobs (prevent_new_submissions)",
                    "set prevent_new_submissions to false in the resource",
                )
            )
        if isinstance(resource.spec, LocalResourceSpec):
            slots = resource.spec.jobs_runner_config.parallel_tasks_per_job
            if isinstance(slots, int) and slots > self._cpu_count:
                found.append(
                    _finding(
                        "parallel units",
                        "warning",
                        f"parallel_tasks_per_job is {slots}, and there are {self._cpu_count} CPUs",
                        f"set jobs_runner_config.parallel_tasks_per_job to at most {self._cpu_count}",
                    )
                )
        return found

    async def _agent_findings(self, connection: Connection) -> list[Finding]:
        """What a new agent on the resource says, and whether it can keep files."""
        try:
            started = time.time()
            async with self._agent(connection) as agent:
                hello = agent.hello
                skew = max(0.0, started - hello.clock, hello.clock - time.time())
                words = f"version {hello.version} on {hello.host} as {hello.user}, Python {hello.python}"
                return [_ok("agent", words), _clock(skew), await _folder(agent, hello.roots.get(JOBS, ""))]
        except CannotConnect as error:
            return [_finding("agent", "error", error.problem, error.mend or _SEE_LOG)]
        except StokerError as error:
            return [_finding("agent", "error", error.message, _SEE_LOG)]

    @asynccontextmanager
    async def _agent(self, connection: Connection) -> AsyncIterator[AgentConnection]:
        """One of its own, so that reaching the resource from nothing is what is tried."""
        agent = await AgentConnection.open(await self._opener(connection), roots_of(connection))
        try:
            yield agent
        finally:
            await agent.close()

    async def _bus_finding(self) -> Finding:
        try:
            await self._bus.ping()
        except StokerError as error:
            return _finding("bus", "error", error.message, "start the Redis server that STOKER_REDIS_URL names")
        return _ok("bus", "it answers")


def _clock(skew_seconds: float) -> Finding:
    if skew_seconds <= _SKEW_SECONDS:
        return _ok("clock", f"within {max(1, round(skew_seconds))} s of this machine's")
    return _finding(
        "clock",
        "warning",
        f"{skew_seconds:.0f} s away from this machine's: times of units will not fit those of jobs",
        "synchronise the clocks (timedatectl set-ntp true)",
    )


async def _folder(agent: AgentConnection, path: str) -> Finding:
    """Make a folder with a file in the jobs folder, read it back, remove it."""
    probe = Place(JOBS, f".check-{str(ULID()).lower()}")
    try:
        await agent.stage(probe, [StagedFile("probe", _PROBE)])
        found = (await agent.read_slice(probe / "probe", 0, 1024)).data
        await agent.remove(probe)
    except StokerError as error:
        mend = f"as an administrator: mkdir -p '{path}' && chown {agent.hello.user} '{path}'"
        return _finding("jobs folder", "error", f"{path}: {error.message}", mend)
    if found != _PROBE:
        return _finding(
            "jobs folder", "error", f"{path}: what was written reads differently", "check the file system"
        )
    return _ok("jobs folder", f"{path}: files can be written, read and removed")


def _local_findings(spec: LocalResourceSpec) -> list[Finding]:
    """What can be looked at directly, because the resource is this machine."""
    return [_space(spec.jobs_local_dir), *_interpreters(spec.tasks_python_config.versions)]


def _space(path: str) -> Finding:
    try:
        found = os.statvfs(path)
    except OSError as error:
        return _finding("free space", "warning", f"{path}: {error.strerror}", "see the finding on the jobs folder")
    free, free_files = found.f_bavail * found.f_frsize, found.f_favail
    words = f"{free / 1024**3:.1f} GiB are free in {path}"
    if free < _LITTLE_SPACE_BYTES or (found.f_files and free_files < 1000):  # noqa: PLR2004
        return _finding("free space", "warning", words, "remove old jobs (stoker jobs), or use another folder")
    return _ok("free space", words)


def _interpreters(versions: dict[str, str]) -> list[Finding]:
    missing = [path for path in versions.values() if not (Path(path).is_file() and os.access(path, os.X_OK))]
    if not missing:
        return [_ok("python", f"the interpreters for task environments are there: {', '.join(versions)}")]
    return [
        _finding(
            "python",
            "warning",
            f"there is no executable {path}, which tasks_python_config names; jobs with a command of their own run",
            "install it, or correct tasks_python_config of the resource",
        )
        for path in missing
    ]


def _finding(name: str, level: Literal["ok", "warning", "error"], detail: str, mend: str) -> Finding:
    return Finding(name=name, level=level, detail=detail, mend=mend)


def _ok(name: str, detail: str) -> Finding:
    return Finding(name=name, level="ok", detail=detail)
