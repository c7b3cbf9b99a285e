"""All that the controllers call, as one dependency: each one more costs every request some 60 µs."""

import msgspec

from services.executor.checks.profile import ProfileCheck
from services.executor.environments.parts import Environments
from services.executor.events import EventStream
from services.executor.housekeeping.usage import DiskUsage
from services.executor.jobs.parts import Jobs
from services.executor.outputs.parts import Outputs
from services.executor.resources.host_keys import HostKeys
from shared.service.database.transactions import Database


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Built by `app.py`."""

    database: Database
    jobs: Jobs
    outputs: Outputs
    environments: Environments
    events: EventStream
    profile_check: ProfileCheck
    usage: DiskUsage
    host_keys: HostKeys
