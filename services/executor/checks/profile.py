"""Checks of a profile and its resource: what a job will need is tried, and each finding says what mends it."""

import asyncio
import time
from collections.abc import Callable

from services.executor.checks.findings import agent_findings, finding, ok, own_agent
from services.executor.checks.local import local_findings, slot_findings
from services.executor.checks.slurm import same_cluster_findings, slurm_findings
from services.executor.checks.sudo import TASKS, rule_for, shared_folder_findings, trust_findings
from services.executor.checks.trial import Trial
from services.executor.resources.profiles import Profiles
from shared.pipes import AgentConnection, CannotConnect, PipeOpener
from shared.service.bus import Bus
from stoker.contracts.checks import CheckReport, CheckRequest, Finding
from stoker.contracts.holds import Connection
from stoker.contracts.keys import Caller
from stoker.contracts.profiles import SlurmSudoProfileSpec
from stoker.contracts.resources import LocalResourceSpec, ResourceType, SlurmSudoResourceSpec
from stoker.errors import StokerError

_SEE_LOG = "see the log of the executor for what the agent said"


class ProfileCheck:
    """Looks at one profile at a time.

    `agent_file`: the installed agent that sudo starts. `trouble`: why nothing is heard of a profile's jobs.
    """

    def __init__(
        self,
        *,
        profiles: Profiles,
        bus: Bus,
        opener: PipeOpener,
        agent_file: str,
        resource_types: frozenset[ResourceType],
        cpu_count: int,
        trial: Trial,
        trouble: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._profiles = profiles
        self._bus = bus
        self._opener = opener
        self._agent_file = agent_file
        self._resource_types = resource_types
        self._cpu_count = cpu_count
        self._trial = trial
        self._trouble = trouble

    async def check(self, caller: Caller, request: CheckRequest) -> CheckReport:
        """All findings. Raises NotFound (no such profile, or not granted), Unavailable (the registry)."""
        connection = await self._profiles.visible(caller, request.profile_id)
        findings = [ok("registry", "it answers and knows the profile"), *self._configuration(connection)]
        findings.append(await self._bus_finding())
        if connection.resource.type in self._resource_types:
            findings += await self._on_the_resource(connection)
        if request.test_job and not any(one.level == "error" for one in findings):
            findings.append(await self._trial.run(caller, request.profile_id))
        return CheckReport(
            profile_id=request.profile_id,
            resource_id=connection.resource.id,
            usable=all(one.level != "error" for one in findings),
            findings=findings,
        )

    def _configuration(self, connection: Connection) -> list[Finding]:
        found = []
        resource = connection.resource
        if resource.type not in self._resource_types:
            served = ",".join(sorted(self._resource_types))
            found.append(
                finding(
                    "resource type",
                    "error",
                    f"this instance does not serve {resource.type} resources",
                    f"set STOKER_RESOURCE_TYPES={served},{resource.type} for all services",
                )
            )
        if resource.spec.prevent_new_submissions is True:
            found.append(
                finding(
                    "new jobs",
                    "warning",
                    "the resource takes no new jobs (prevent_new_submissions)",
                    "set prevent_new_submissions to false in the resource",
                )
            )
        if isinstance(resource.spec, LocalResourceSpec):
            found += slot_findings(resource.spec, self._cpu_count)
        return found

    async def _bus_finding(self) -> Finding:
        try:
            await self._bus.ping()
        except StokerError as error:
            return finding("bus", "error", error.message, "start the Redis server that STOKER_REDIS_URL names")
        return ok("bus", "it answers")

    async def _on_the_resource(self, connection: Connection) -> list[Finding]:
        found = []
        if trouble := self._trouble(connection.profile.id):
            mend = "mend what keeps the agent from starting; attempts are made again at least once a minute"
            found.append(finding("connection", "warning", trouble, mend))
        spec = connection.resource.spec
        if isinstance(spec, SlurmSudoResourceSpec):
            found += await asyncio.to_thread(trust_findings, spec, self._agent_file)
        further = {TASKS: spec.tasks_local_dir} if isinstance(spec, SlurmSudoResourceSpec) else {}
        before = time.time()
        try:
            async with own_agent(connection, self._opener, further) as agent:
                found += await agent_findings(agent, before)
                found += await self._through(agent, connection)
        except CannotConnect as error:
            found.append(finding("agent", "error", error.problem, error.mend or _SEE_LOG))
        except StokerError as error:
            found.append(finding("agent", "error", error.message, self._mend(connection)))
        return found

    async def _through(self, agent: AgentConnection, connection: Connection) -> list[Finding]:
        spec = connection.resource.spec
        if isinstance(spec, LocalResourceSpec):
            return await asyncio.to_thread(local_findings, spec)
        found = await slurm_findings(agent, spec.jobs_runner_config)
        if isinstance(spec, SlurmSudoResourceSpec):
            found += await same_cluster_findings(agent, connection)
            found += await shared_folder_findings(agent, spec)
        return found

    def _mend(self, connection: Connection) -> str:
        spec, profile = connection.resource.spec, connection.profile.spec
        if isinstance(spec, SlurmSudoResourceSpec) and isinstance(profile, SlurmSudoProfileSpec):
            rule = rule_for(profile.username, spec, self._agent_file)
            return f"if sudo does not allow it, put into /etc/sudoers.d/stoker: {rule}"
        return _SEE_LOG
