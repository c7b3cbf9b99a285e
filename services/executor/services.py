"""All that the controllers call, as one dependency: each one more costs every request some 60 µs."""

import msgspec

from services.executor.admission import Admission
from services.executor.archive import Archive
from services.executor.cancellation import Cancellation
from services.executor.catalogue import Catalogue
from services.executor.environments.activities import Activities
from services.executor.environments.catalogue import Gallery
from services.executor.environments.changes import Changes
from services.executor.environments.creation import Creation
from services.executor.host_keys import HostKeys
from services.executor.inspection import Inspection
from services.executor.job_log import JobLogs
from services.executor.preview import Previews
from services.executor.removal import Removal
from services.executor.stream import EventStream
from services.executor.unit_log import UnitLogs
from services.executor.usage import DiskUsage
from shared.database import Database


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
