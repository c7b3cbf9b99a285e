"""The configuration texts of the test clusters, as data: what a cluster has, and the files that say so.

Times are short where SLURM lets them be: jobs start at once (`batch_sched_delay=0`), a killed job gets KILL two
seconds after TERM, a silent node is down after ten seconds, a requeued job may start again after some seconds
(that wait is the lifetime of job credentials, at least five seconds).
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Settings = Mapping[str, str | int]


@dataclass(frozen=True)
class Node:
    """One slurmd; all of them run on this host."""

    name: str
    cpus: int = 8
    memory_mb: int = 8000
    features: str = ""
    gpus: int = 0


@dataclass(frozen=True)
class Partition:
    name: str
    nodes: str
    settings: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class ClusterPlan:
    """What a cluster consists of."""

    nodes: Sequence[Node]
    partitions: Sequence[Partition]
    accounting: bool
    settings: Settings


LICENCE = "microscope"

FULL = ClusterPlan(
    nodes=(
        Node("n1", features="fast,avx"),
        Node("n2", features="slow"),
        Node("g1", gpus=4),
        Node("p1", cpus=2, memory_mb=2000),
    ),
    partitions=(
        Partition("main", "n1,n2", {"Default": "YES", "MaxTime": "INFINITE", "PriorityTier": 10}),
        Partition("gpu", "g1", {"MaxTime": "INFINITE", "PriorityTier": 10}),
        # For what a partition's own limit does.
        Partition("short", "n2", {"MaxTime": 2, "DefaultTime": 1, "PriorityTier": 10}),
        # Not shown to those who do not ask for all; a test closes it to some.
        Partition("hidden", "n2", {"MaxTime": "INFINITE", "Hidden": "YES"}),
        # A job in `urgent` takes the node p1 from jobs in the two others.
        Partition("requeued", "p1", {"MaxTime": "INFINITE", "PriorityTier": 1, "PreemptMode": "REQUEUE"}),
        Partition("cancelled", "p1", {"MaxTime": "INFINITE", "PriorityTier": 1, "PreemptMode": "CANCEL"}),
        Partition("urgent", "p1", {"MaxTime": "INFINITE", "PriorityTier": 100}),
    ),
    accounting=True,
    settings={
        "MinJobAge": 300,
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
        "AccountingStorageEnforce": "associations,limits,qos",
        "AccountingStorageTRES": "gres/gpu,gres/gpu:v100",
        "Licenses": f"{LICENCE}:4",
    },
)

BARE = ClusterPlan(
    nodes=(Node("b1"), Node("b2")),
    partitions=(Partition("main", "b1,b2", {"Default": "YES", "MaxTime": "INFINITE"}),),
    accounting=False,
    settings={"MinJobAge": 2, "MaxArraySize": 4, "PreemptMode": "OFF"},
)


@dataclass(frozen=True)
class Addresses:
    """Where the daemons of one cluster listen, on 127.0.0.1."""

    controller: int
    nodes: Mapping[str, int]
    accounting: int
    database: int


def slurm_conf(
    *, name: str, plan: ClusterPlan, folder: Path, munge_socket: Path, addresses: Addresses, changes: Settings
) -> str:
    """`changes` override the plan's settings."""
    host = socket.gethostname().partition(".")[0]
    settings: dict[str, str | int] = {
        "ClusterName": name,
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": addresses.controller,
        "SlurmUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={munge_socket},cred_expire=5",
        "StateSaveLocation": str(folder / "state"),
        "SlurmdSpoolDir": str(folder / "spool-%n"),
        "SlurmctldPidFile": str(folder / "slurmctld.pid"),
        "SlurmdPidFile": str(folder / "slurmd-%n.pid"),
        "SlurmctldLogFile": str(folder / "slurmctld.log"),
        "SlurmdLogFile": str(folder / "slurmd-%n.log"),
        # What this kernel can be asked for without cgroups.
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "MpiDefault": "none",
        "SwitchType": "switch/none",
        "JobAcctGatherType": "jobacct_gather/linux",
        "JobAcctGatherFrequency": "task=1",
        "JobAcctGatherParams": "OverMemoryKill",
        "PropagateResourceLimits": "NONE",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU_Memory",
        "DefMemPerCPU": 100,
        "GresTypes": "gpu",
        # Nodes say that they have more than this machine has.
        "SlurmdParameters": "config_overrides",
        "SchedulerParameters": "batch_sched_delay=0,sched_interval=1,bf_interval=1",
        # A node set down stays down until it is resumed; one that was only silent returns when its slurmd does.
        "ReturnToService": 1,
        "SlurmdTimeout": 10,
        "KillWait": 2,
        "AccountingStorageType": "accounting_storage/none",
    }
    if plan.accounting:
        settings |= {
            "AccountingStorageType": "accounting_storage/slurmdbd",
            "AccountingStorageHost": "127.0.0.1",
            "AccountingStoragePort": addresses.accounting,
            "AccountingStoragePass": str(munge_socket),  # with munge, the "password" is where its socket is
        }
    settings |= {**plan.settings, **changes}
    lines = [f"{key}={value}" for key, value in settings.items()]
    for node in plan.nodes:
        extra = f" Feature={node.features}" if node.features else ""
        extra += f" Gres=gpu:v100:{node.gpus}" if node.gpus else ""
        lines.append(
            f"NodeName={node.name} NodeHostname={host} NodeAddr=127.0.0.1 Port={addresses.nodes[node.name]} "
            f"CPUs={node.cpus} RealMemory={node.memory_mb}{extra} State=UNKNOWN"
        )
    for partition in plan.partitions:
        extra = "".join(f" {key}={value}" for key, value in partition.settings.items())
        lines.append(f"PartitionName={partition.name} Nodes={partition.nodes} State=UP{extra}")
    return "\n".join(lines) + "\n"


def gres_conf(plan: ClusterPlan, folder: Path) -> str:
    """Links to /dev/null stand for the devices: SLURM wants a device file, and takes CUDA_VISIBLE_DEVICES from the
    number at the end of its name; nobody opens it.
    """
    lines = ["AutoDetect=off"]
    lines += [
        f"NodeName={node.name} Name=gpu Type=v100 File={folder}/nvidia[0-{node.gpus - 1}]"
        for node in plan.nodes
        if node.gpus
    ]
    return "\n".join(lines) + "\n"


def slurmdbd_conf(*, folder: Path, munge_socket: Path, addresses: Addresses, password: str, changes: Settings) -> str:
    host = socket.gethostname().partition(".")[0]
    settings: dict[str, str | int] = {
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={munge_socket}",
        "DbdHost": host,
        "DbdAddr": "127.0.0.1",
        "DbdPort": addresses.accounting,
        "SlurmUser": "root",
        "LogFile": str(folder / "slurmdbd.log"),
        "PidFile": str(folder / "slurmdbd.pid"),
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "127.0.0.1",
        "StoragePort": addresses.database,
        "StorageUser": "slurm",
        "StoragePass": password,
        "StorageLoc": "slurm_acct_db",
        **changes,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())
