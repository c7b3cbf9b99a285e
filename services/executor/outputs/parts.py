"""This room put together."""

import msgspec

from services.executor.jobs.catalogue import JobCatalogue
from services.executor.outputs.archive import Archive
from services.executor.outputs.job_log import JobLogs
from services.executor.outputs.unit_log import UnitLogs
from services.executor.resources.agents import JobAgents
from shared.service.database.transactions import Database


class Outputs(msgspec.Struct, frozen=True, kw_only=True):
    """What jobs leave."""

    unit_logs: UnitLogs
    job_logs: JobLogs
    archive: Archive


def outputs(database: Database, catalogue: JobCatalogue, agents: JobAgents) -> Outputs:
    """Read where the jobs are."""
    return Outputs(
        unit_logs=UnitLogs(database, catalogue, agents),
        job_logs=JobLogs(database, catalogue, agents),
        archive=Archive(database, agents),
    )
