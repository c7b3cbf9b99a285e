"""Where and with what environments of a connection are built, and the job that does it."""

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.building.builds import Arguments, Site
from services.executor.building.slurm_builds import slurm_build
from services.executor.building.uv_program import UvProgram
from services.executor.model.json_text import encode
from services.executor.repositories.jobs import NewJob, add_units, insert_job
from shared.pipes import place_of_activities
from shared.service.ids import new_id
from shared.slurm.requests.needs import merge_needs
from stoker.contracts.environments import ActivityKind
from stoker.contracts.holds import Connection
from stoker.contracts.jobs import JobSubmit, PlannedBatch
from stoker.contracts.keys import Caller
from stoker.contracts.profiles import SlurmSshProfileSpec
from stoker.contracts.resources import LocalResourceSpec

_ONLY_WHEELS = {"PIP_ONLY_BINARY": ":all:", "UV_NO_BUILD": "1"}


class BuildSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the service's settings say about builds."""

    index_urls: Sequence[str] = ()
    time_limit_seconds: float | None = None
    uv: UvProgram | None = None


def site_of(connection: Connection, settings: BuildSettings) -> Site:
    """Where and with what environments are made through a profile's connection."""
    spec, profile = connection.resource.spec, connection.profile.spec
    remote = profile if isinstance(profile, SlurmSshProfileSpec) else None
    root = spec.tasks_local_dir if remote is None else remote.tasks_remote_dir
    cache = UNSET if remote is None else remote.pixi_cache_dir
    uv = settings.uv
    return Site(
        root=root,
        uv=None if uv is None else str(uv.path) if remote is None else uv.below(root),
        index_urls=list(settings.index_urls),
        time_limit_seconds=settings.time_limit_seconds,
        pixi_cache_dir=cache if isinstance(cache, str) else None,
    )


def place_name(connection: Connection) -> str:
    """What tells apart the places where one resource's environments may be."""
    resource, profile = connection.resource, connection.profile
    return f"{resource.id}/{profile.id}" if isinstance(profile.spec, SlurmSshProfileSpec) else resource.id


class NewActivity(msgspec.Struct, frozen=True, kw_only=True):
    """An activity to store; `id` is that of its job."""

    id: str
    kind: ActivityKind
    environment_id: str
    caller: Caller
    connection: Connection
    """Of the profile that the environment belongs to."""
    arguments: Arguments
    only_wheels: bool = False


async def add_activity(connection: AsyncConnection, new: NewActivity) -> None:
    """Store an activity: a job of one unit, which runs the builder beside it.

    Raises Invalid where the configuration asks SLURM for what makes no sense.
    """
    place = place_of_activities(new.connection)
    scheduled = slurm_build(place, new.arguments)
    now = round(time.time(), 6)
    submit = JobSubmit(
        profile_id=new.connection.profile.id,
        command=[_python(place), "-I", "-S", "builder.py", "--args-json", "{args_json}", "--out-json", "{out_json}"],
        name=new.kind,
        environment=_ONLY_WHEELS if new.only_wheels else {},
        extra_lines=[] if scheduled is None else scheduled.lines,
    )
    if scheduled is not None:
        place = scheduled.place
        merge_needs(scheduled.config, submit)  # for what it raises: the caller hears it now, not the log of a launch
    plan = [PlannedBatch(index=0, first=0, unit_count=1, parallel=1)]
    spec: dict[str, Any] = {
        name: value for name, value in msgspec.structs.asdict(submit).items() if name not in {"units", "files"}
    }
    job = NewJob(
        id=new.id,
        name=new.kind,
        owner=new.caller.owner,
        key_id=new.caller.key_id,
        profile_id=new.connection.profile.id,
        resource_id=new.connection.resource.id,
        kind="activity",
        placement="local" if scheduled is None else "slurm",
        environment_id=new.environment_id,
        command=encode(submit.command),
        spec=encode(spec),
        snapshot=encode(place),
        folder=f"{datetime.fromtimestamp(now, UTC):%Y-%m}/{new.id}",
        created_at=now,
        unit_count=1,
        batches=[(new_id(), batch) for batch in plan],
    )
    await insert_job(connection, job)
    await add_units(connection, new.id, plan, [encode(new.arguments)])


def _python(place: Connection) -> str:
    """What runs the builder: any Python will do, environments have their own."""
    spec = place.resource.spec
    return sys.executable if isinstance(spec, LocalResourceSpec) else spec.jobs_slurm_python_worker
