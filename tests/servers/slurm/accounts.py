"""Accounts and limits of the cluster with accounting; both scientists are in all of them.

| account | what is special |
|---|---|
| `science` | the default; no limit |
| `limited` | a user may have two jobs submitted (each array element counts): a third is refused |
| `narrow` | a user may run one job: the next waits with AssocMaxJobsLimit |

QOS `single` lets a user run one job: the next waits with QOSMaxJobsPerUserLimit. QOS `few` lets a user have
three submitted. QOS `strict` refuses at once (DenyOnLimit) what asks for more than 10 MB. The default is `normal`,
without limit.
"""

from collections.abc import Callable

from tests.servers.slurm.users import ClusterUsers

DEFAULT_ACCOUNT = "science"
LIMITED_ACCOUNT = "limited"
LIMITED_ACCOUNT_JOBS = 2
NARROW_ACCOUNT = "narrow"
SINGLE_QOS = "single"
FEW_QOS = "few"
FEW_QOS_JOBS = 3
STRICT_QOS = "strict"
STRICT_QOS_MB = 10


def make_accounts(cluster: str, users: ClusterUsers, run: Callable[..., object]) -> None:
    """`run` executes one command as an administrator; the database is empty before."""
    names = ",".join(user.name for user in users.scientists)

    def add(*words: str) -> None:
        run("sacctmgr", "-i", "-Q", "add", *words)

    add("cluster", cluster)
    add("qos", SINGLE_QOS, "MaxJobsPerUser=1")
    add("qos", FEW_QOS, f"MaxSubmitJobsPerUser={FEW_QOS_JOBS}")
    add("qos", STRICT_QOS, "Flags=DenyOnLimit", f"MaxTRESPerUser=mem={STRICT_QOS_MB}")
    every_qos = f"qos=normal,{SINGLE_QOS},{FEW_QOS},{STRICT_QOS}"
    add("account", DEFAULT_ACCOUNT, f"cluster={cluster}", every_qos, "DefaultQOS=normal")
    add("account", LIMITED_ACCOUNT, f"cluster={cluster}", f"MaxSubmitJobs={LIMITED_ACCOUNT_JOBS}")
    add("account", NARROW_ACCOUNT, f"cluster={cluster}", "MaxJobs=1")
    accounts = f"{DEFAULT_ACCOUNT},{LIMITED_ACCOUNT},{NARROW_ACCOUNT}"
    add("user", names, f"account={accounts}", f"DefaultAccount={DEFAULT_ACCOUNT}")
