"""This room put together: a kind for each placement of jobs."""

from collections.abc import Mapping

from services.executor.kinds.kind import Kind
from services.executor.kinds.local import LocalJudge, LocalLauncher
from services.executor.kinds.slurm.judge import SlurmJudge
from services.executor.kinds.slurm.launcher import SlurmLauncher
from services.executor.kinds.slurm.looks import SchedulerLooks
from services.executor.kinds.slurm.verdicts import Graces
from services.executor.resources.parts import Resources
from services.executor.settings import ExecutorSettings
from shared.service.database.transactions import Database


def kinds(
    settings: ExecutorSettings, database: Database, resources: Resources, looks: SchedulerLooks
) -> Mapping[str, Kind]:
    """By the word in `jobs.placement`."""
    agents = resources.agents
    launcher = SlurmLauncher(
        database=database, agents=agents, looks=looks, doubt_seconds=settings.submission_doubt_seconds
    )
    judge = SlurmJudge(
        database=database,
        agents=agents,
        looks=looks,
        launcher=launcher,
        graces=Graces(files_seconds=settings.files_grace_seconds, absent_seconds=settings.absent_grace_seconds),
    )
    return {"local": Kind(LocalLauncher(), LocalJudge(database)), "slurm": Kind(launcher, judge)}
