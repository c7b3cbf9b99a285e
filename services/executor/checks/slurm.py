"""What a check finds on a SLURM cluster: what the scheduler is like, and whether the configuration fits it."""

from collections.abc import Iterator

from msgspec import UNSET

from services.executor.checks.findings import finding, ok
from shared.pipes import AgentConnection, slurm_of
from shared.pipes.cluster import ClusterState, look_at_cluster, look_at_queue
from shared.pipes.local import open_local_pipe
from shared.slurm.answers.cluster import ClusterConfig, partition_of
from stoker.contracts.checks import Finding
from stoker.contracts.holds import Connection
from stoker.contracts.resources import SlurmConfig, SlurmRunnerConfig
from stoker.errors import StokerError, Unavailable

_FORGETS_FAST_SECONDS = 60
_OLDEST_PYTHON = (3, 9)


async def slurm_findings(agent: AgentConnection, config: SlurmRunnerConfig) -> list[Finding]:
    """Everything that can be asked of the scheduler as the user of the profile."""
    try:
        cluster = await look_at_cluster(agent)
        queue = await look_at_queue(agent)
    except Unavailable as error:
        mend = f"as {agent.hello.user} on {agent.hello.host}: scontrol ping; squeue"
        if "is not on this host" in error.message:
            mend = (
                f"set slurm_commands_dir: as {agent.hello.user} on {agent.hello.host}, dirname $(command -v squeue)"
            )
        return [_python(agent.hello.python), finding("SLURM", "error", error.message, mend)]
    return [
        _python(agent.hello.python),
        ok("SLURM", f"{cluster.version}, cluster {cluster.config.name}; {len(queue.rows)} lines in the queue"),
        *([_untold(cluster)] if cluster.config_error else _partitions(cluster, config)),
        *_accounts(cluster, agent.hello.user),
        *_limits(cluster.config),
    ]


async def same_cluster_findings(agent: AgentConnection, connection: Connection) -> list[Finding]:
    """Whether the service, which asks for the queue, sees the cluster that the user submits to.

    Nothing where one of them sees none: that is told elsewhere.
    """
    try:
        own = await AgentConnection.open(await open_local_pipe(), {}, slurm=slurm_of(connection))
        try:
            ours, theirs = await look_at_cluster(own), await look_at_cluster(agent)
        finally:
            await own.close()
    except StokerError:
        return []
    names = ours.config.name, theirs.config.name
    if names[0] == names[1]:
        return [ok("cluster", f"service and {agent.hello.user} both see {names[0]}")]
    return [
        finding(
            "cluster",
            "error",
            f"the service sees cluster {names[0]}, {agent.hello.user} submits to cluster {names[1]}",
            "set slurm_conf of the resource to the configuration file of the cluster that it stands for",
        )
    ]


def _python(version: str) -> Finding:
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if parts >= _OLDEST_PYTHON:
        return ok("interpreter", f"jobs_slurm_python_worker is Python {version}")
    return finding(
        "interpreter",
        "error",
        f"jobs_slurm_python_worker is Python {version}; agent and runner need 3.9 or newer",
        "install a newer Python on the cluster and name it in jobs_slurm_python_worker",
    )


def _untold(cluster: ClusterState) -> Finding:
    return finding(
        "scontrol",
        "warning",
        f"scontrol tells nothing ({cluster.config_error}): SLURM's defaults are taken, such as "
        f"MaxArraySize={cluster.config.max_array_size}, and partitions are not looked at",
        "let users call: scontrol show config; scontrol show partition",
    )


def _partitions(cluster: ClusterState, config: SlurmRunnerConfig) -> Iterator[Finding]:
    known = ", ".join(sorted(one.name for one in cluster.partitions))
    layers = [("default_slurm_config", config.default_slurm_config)]
    if isinstance(config.gpu_slurm_config, SlurmConfig):
        layers.append(("gpu_slurm_config", config.gpu_slurm_config))
    for name, layer in layers:
        written = None if layer.partition is UNSET else layer.partition
        if written is None and name != "default_slurm_config":
            continue
        found = partition_of(cluster.partitions, written)
        path = f"jobs_runner_config.{name}.partition"
        if found is None:
            what = "the cluster has no default partition" if written is None else f"there is no partition {written}"
            yield finding("partition", "error", what, f"set {path} of the resource to one of: {known}")
        elif not found.up:
            yield finding(
                "partition",
                "warning",
                f"{found.name} is not up",
                f"scontrol update PartitionName={found.name} State=UP",
            )
        else:
            yield ok("partition", f"{found.name} is up ({path})")


def _accounts(cluster: ClusterState, user: str) -> Iterator[Finding]:
    if not cluster.config.accounting:
        yield finding(
            "accounting",
            "warning",
            "the cluster keeps no accounts: who cancelled a job, and why one failed, is then known less exactly",
            "set up slurmdbd (AccountingStorageType=accounting_storage/slurmdbd)",
        )
        return
    if cluster.associations is None:
        yield finding("accounting", "warning", cluster.associations_error, "start slurmdbd; see its log")
        return
    accounts = sorted({one.account for one in cluster.associations})
    if not accounts and cluster.config.enforces_associations:
        yield finding(
            "account",
            "error",
            f"{user} has no account, and the cluster takes jobs of those that have one only",
            f"sacctmgr add user {user} account=ACCOUNT",
        )
        return
    yield ok("accounting", f"kept; accounts of {user}: {', '.join(accounts) or 'none, and none is needed'}")
    for one in cluster.associations:
        limits = {"MaxJobs": one.max_jobs, "MaxSubmitJobs": one.max_submit_jobs}
        if words := ", ".join(f"{name}={value}" for name, value in limits.items() if value is not None):
            yield ok("limits of the account", f"{one.account}: {words} (each batch of a job counts)")


def _limits(config: ClusterConfig) -> Iterator[Finding]:
    yield ok("limits", f"MaxArraySize={config.max_array_size}, MinJobAge={config.min_job_age_seconds} s")
    if config.min_job_age_seconds < _FORGETS_FAST_SECONDS and not config.accounting:
        yield finding(
            "memory of the queue",
            "warning",
            f"the queue forgets a job {config.min_job_age_seconds} s after its end, and no accounts are kept: "
            "a job that ends badly may be found to have vanished only",
            "set MinJobAge=300 in slurm.conf",
        )
    if "jobs" in config.private_data:
        yield ok("private data", "users do not see each other's jobs: the queue is asked once per profile")
