"""What a submit call would do: its batches, the script that SLURM would get, and what looks doubtful."""

from services.executor.jobs.admission import prepared
from services.executor.jobs.submit_rules import check_way
from services.executor.kinds.slurm.looks import SchedulerLooks
from services.executor.planning.plan import plan_job
from services.executor.planning.slurm import script_parallel
from services.executor.repositories.stored_submit import max_restarts
from services.executor.resources.profiles import Profiles
from services.executor.tasks.runs import expanded
from shared.pipes import JOBS, AgentPool, roots_of
from shared.pipes.cluster import ClusterState
from shared.service.database.transactions import Database
from shared.slurm.answers.cluster import Partition, partition_of
from shared.slurm.requests.needs import merge_needs
from shared.slurm.requests.script import batch_script
from stoker.contracts.holds import Connection
from stoker.contracts.jobs import JobSubmit, Plan
from stoker.contracts.keys import Caller
from stoker.contracts.resources import LocalResourceSpec
from stoker.errors import Unavailable

_FOLDER = "YYYY-MM/JOB"
"""Stands for the folder of a job that does not exist yet."""


class Plans:
    """Makes plans. A cluster that cannot be looked at leaves a plan without what it would have told."""

    def __init__(
        self, *, database: Database, profiles: Profiles, agents: AgentPool, looks: SchedulerLooks, cpu_count: int
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._agents = agents
        self._looks = looks
        self._cpu_count = cpu_count

    async def plan(self, caller: Caller, submit: JobSubmit) -> Plan:
        """What submitting this would do, without doing it. Raises the same errors."""
        check_way(submit)
        if submit.task is None:
            await prepared(submit)
        connection = await self._profiles.usable(caller, submit.profile_id)
        if submit.task is not None:
            submit = await expanded(self._database, submit, connection, self._cpu_count)
            await prepared(submit)
        spec = connection.resource.spec
        warnings, partition, script = list[str](), None, None
        if not isinstance(spec, LocalResourceSpec):
            needs = merge_needs(spec.jobs_runner_config, submit)
            try:
                partition, warnings = _partition(await self._looks.cluster(connection), needs.partition)
            except Unavailable as error:
                warnings = [f"the cluster was not looked at: {error.message}"]
        plan = plan_job(submit, spec, self._cpu_count, partition)
        if not isinstance(spec, LocalResourceSpec):
            script = batch_script(
                needs,
                parallel=script_parallel(plan.batches),
                python=spec.jobs_slurm_python_worker,
                job_folder=f"{await self._jobs_root(connection)}/{_FOLDER}",
                requeue=max_restarts(submit) > 0,
            )
        return Plan(
            resource_id=connection.resource.id,
            profile_id=submit.profile_id,
            unit_count=len(submit.units),
            batches=plan.batches,
            warnings=[*plan.warnings, *warnings],
            script=script,
        )

    async def _jobs_root(self, connection: Connection) -> str:
        """The folder of jobs as the resource knows it; where `~` is cannot be told from here."""
        root = roots_of(connection)[JOBS]
        if root.startswith("/"):
            return root
        try:
            return (await self._agents.agent(connection)).hello.roots[JOBS]
        except Unavailable:
            return f"/{root}"


def _partition(cluster: ClusterState, name: str | None) -> tuple[Partition | None, list[str]]:
    if cluster.config_error:
        return None, [f"the cluster does not tell of its partitions: {cluster.config_error}"]
    found = partition_of(cluster.partitions, name)
    if found is not None:
        return found, [] if found.up else [f"partition {found.name} is not up at the moment"]
    if name is None:
        return None, ["the cluster has no default partition: name one in the resource's configuration"]
    return None, [f"the cluster has no partition {name}" + _known(cluster)]


def _known(cluster: ClusterState) -> str:
    names = ", ".join(sorted(one.name for one in cluster.partitions))
    return f" (there are: {names})" if names else ""
