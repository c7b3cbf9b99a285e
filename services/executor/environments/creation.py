"""Accepting requests for environments: checked, and stored with the activity that makes them, once for each thing."""

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.building.builds import creation, interpreter
from services.executor.building.requests import StoredRequest, stored_request
from services.executor.building.uploads import read_archive, read_wheel
from services.executor.building.versions import parse_version
from services.executor.environments.access import check_may_create, only_wheels
from services.executor.environments.catalogue import EnvironmentCatalogue
from services.executor.environments.new_activities import (
    BuildSettings,
    NewActivity,
    add_activity,
    place_name,
    site_of,
)
from services.executor.model.json_text import encode
from services.executor.model.requests import Request
from services.executor.repositories import environments as rows
from services.executor.resources.holds import Holds
from services.executor.resources.profiles import Profiles
from shared.service.database.transactions import Database
from shared.service.failpoints import failpoint
from shared.service.ids import new_id
from stoker.contracts.environments import (
    Environment,
    EnvironmentCreate,
    EnvironmentFromExisting,
    EnvironmentFromPixi,
    EnvironmentFromPypi,
    EnvironmentFromWheel,
)
from stoker.contracts.resources import ResourceSpec
from stoker.errors import Invalid, Unavailable


class _Subject(msgspec.Struct, frozen=True):
    """What is to be made: of which package and version as far as that is known, and the project files in it."""

    package: str
    version: str | None
    project_files: Mapping[str, str] = {}


class Creation:
    """Makes environments of requests."""

    def __init__(
        self,
        *,
        database: Database,
        profiles: Profiles,
        holds: Holds,
        catalogue: EnvironmentCatalogue,
        settings: BuildSettings,
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._holds = holds
        self._catalogue = catalogue
        self._settings = settings
        self._wake = wake

    async def create(self, request: Request, create: EnvironmentCreate) -> Environment:
        """The environment of this call, stored before this returns; of what was asked for before, that one.

        Raises as `Admission.submit`, and Forbidden where strangers' code would be run by the service's user.
        """
        if (known := await self._known(request)) is not None:
            return known
        used = await self._profiles.usable(request.caller, create.profile_id)
        check_may_create(request.caller, used, create)
        spec = used.resource.spec
        subject = await asyncio.to_thread(_subject, create)
        environment_id, activity_id = new_id(), new_id()
        site = site_of(used, self._settings)
        arguments = creation(environment_id, create, spec, site, subject.project_files)
        kept = stored_request(
            create,
            place=place_name(used),
            package=subject.package,
            version=subject.version,
            python=_python(create, spec),
        )
        new = rows.NewEnvironment(
            id=environment_id,
            source=kept.source,
            package=kept.package,
            version=kept.version,
            owner=request.caller.owner,
            key_id=request.caller.key_id,
            profile_id=create.profile_id,
            resource_id=used.resource.id,
            request=encode(kept),
            arguments=encode(arguments),
            activity_id=activity_id,
            created_at=round(time.time(), 6),
            identity=kept.identity(),
            idempotency_key=request.idempotency_key,
            body_sha256=request.body_sha256,
        )
        activity = NewActivity(
            id=activity_id,
            kind="create",
            environment_id=environment_id,
            caller=request.caller,
            connection=used,
            arguments=arguments,
            only_wheels=only_wheels(request.caller, used),
        )

        async with self._holds.storing(used) as connection:
            if await rows.insert_environment(connection, new):
                if isinstance(create, EnvironmentFromWheel | EnvironmentFromPixi):
                    await rows.add_file(connection, environment_id, create.file_name, create.content)
                await add_activity(connection, activity)
                failpoint("creation.storing")
                stored = environment_id
            else:
                stored = await _of_before(connection, request, kept)
        failpoint("creation.stored")
        self._wake()
        return await self._catalogue.shown(stored)

    async def _known(self, request: Request) -> Environment | None:
        if request.idempotency_key is None:
            return None
        async with self._database.read() as connection:
            row = await rows.find_by_key(connection, request.caller.key_id, request.idempotency_key)
        if row is None:
            return None
        request.check_same_body(row.body_sha256, f"environment {row.id}")
        return await self._catalogue.shown(row.id)


async def _of_before(connection: AsyncConnection, request: Request, kept: StoredRequest) -> str:
    """Id of the environment that keeps this one from being stored."""
    if request.idempotency_key is not None:
        row = await rows.find_by_key(connection, request.caller.key_id, request.idempotency_key)
        if row is not None:
            request.check_same_body(row.body_sha256, f"environment {row.id}")
            return str(row.id)
    row = await rows.find_identical(connection, kept.identity())
    if row is None:
        raise Unavailable("The environment of an earlier request was removed just now", retry_after_seconds=1)
    return str(row.id)


def _subject(create: EnvironmentCreate) -> _Subject:
    try:
        if isinstance(create, EnvironmentFromWheel):
            wheel = read_wheel(create.file_name, create.content)
            return _Subject(wheel.package, wheel.version)
        if isinstance(create, EnvironmentFromPixi):
            name, files = read_archive(create.file_name, create.content)
            return _Subject(name.package, name.version, files)
    except Invalid as error:
        # Which of the rules for files it is, is said in words.
        raise Invalid(error.message, error.errors) from error
    if isinstance(create, EnvironmentFromExisting):
        return _Subject(create.package, None)
    for field in ("pre_pins", "post_pins"):
        for name, version in getattr(create, field).items():
            parse_version(version, f"{field}.{name}")
    if create.version is not None:
        return _Subject(create.package, str(parse_version(create.version, "version")))
    return _Subject(create.package, None)


def _python(create: EnvironmentCreate, spec: ResourceSpec) -> str | None:
    if isinstance(create, EnvironmentFromPypi | EnvironmentFromWheel):
        return interpreter(spec, create.python_version)
    return None
