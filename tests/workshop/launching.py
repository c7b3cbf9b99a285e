"""What tests of launching on a cluster have in common: units that leave traces, answers that get lost, deaths."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from stoker.contracts.jobs import Job
from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.users import UnixUser
from tests.stack.running import wait_for
from tests.waiting import until
from tests.workshop.cluster_stack import ClusterStackSite

TIMED_OUT = 'echo "sbatch: error: Socket timed out on send/recv operation" >&2; exit 1'
TRACES = ["sh", "-c", "echo once >> trace-{unit}"]
WHEN_CANCELLING = "slurm_launcher.scancelled"
_SERVICE = Path(__file__).parents[2] / "services/executor"
POINTS = sorted(
    {
        name
        for file in _SERVICE.rglob("*.py")
        for name in re.findall(r'failpoint\("((?:slurm_launcher|collector)\.[a-z_]+)"\)', file.read_text())
    }
    | {"dispatcher.after_launch"}
)


def traces(site: ClusterStackSite, job: Job, user: UnixUser | None = None) -> Counter[str]:
    """How often each unit of a job (ada's) ran."""
    folder = site.job_folder(user or site.cluster.users.ada, job) / "work"
    return Counter({path.name: path.read_text().count("once\n") for path in folder.glob("trace-*")})


def once_each(count: int) -> Counter[str]:
    """The traces of a job whose every unit ran once."""
    return Counter({f"trace-{unit}": 1 for unit in range(count)})


async def waiting_for(site: ClusterStackSite, job: Job, words: str, *, seconds: float = 120) -> None:
    """Until the job says so."""

    async def told() -> bool:
        async with site.stack.executor() as executor:
            return words in ((await executor.job(job.id)).waiting_for or "")

    await until(told, f"the job waits for: {words}", seconds=seconds)


def points_folder(cluster: SlurmCluster, name: str) -> Path:
    """A folder for STOKER_FAILPOINTS, which services of any user may empty."""
    folder = cluster.folder / name
    folder.mkdir()
    folder.chmod(0o777)
    return folder


async def dies_at(site: ClusterStackSite, points: Path, names: Sequence[str]) -> Callable[[], Awaitable[None]]:
    """Let the executor die at each of these points; what is returned waits until it has, and another one runs."""
    pid = site.stack.pid("executor")
    files = [points / name for name in names]
    for file in files:
        file.touch()
        file.chmod(0o666)

    def died() -> None:
        wait_for(lambda: not any(file.exists() for file in files), 120, site.stack.logs)
        site.stack.restarted("executor", pid)
        site.stack.ready()

    return lambda: asyncio.to_thread(died)
