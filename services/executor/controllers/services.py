"""All that the controllers call, as one dependency: each one more costs every request some 60 µs."""

import msgspec

from services.executor.checks.profile import Inspection
from services.executor.environments.activities import Activities
from services.executor.environments.catalogue import Gallery
from services.executor.environments.changes import Changes
from services.executor.environments.creation import Creation
from services.executor.events import EventStream
from services.executor.housekeeping.usage import DiskUsage
from services.executor.jobs.admission import Admission
from services.executor.jobs.cancellation import Cancellation
from services.executor.jobs.catalogue import Catalogue
from services.executor.jobs.plans import Previews
from services.executor.jobs.removal import Removal
from services.executor.outputs.archive import Archive
from services.executor.outputs.job_log import JobLogs
from services.executor.outputs.unit_log import UnitLogs
from services.executor.resources.host_keys import HostKeys
from shared.service.database.transactions import Database


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Built by `app.py`."""

    database: Database
    admission: Admission
    previews: Previews
    catalogue: Catalogue
    cancellation: Cancellation
    removal: Removal
    unit_logs: UnitLogs
    job_logs: JobLogs
    archive: Archive
    stream: EventStream
    inspection: Inspection
    usage: DiskUsage
    host_keys: HostKeys
    environments: Creation
    changes: Changes
    gallery: Gallery
    activities: Activities
