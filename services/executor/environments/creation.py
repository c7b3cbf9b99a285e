"""Accepting requests for environments: checked, and stored with the activity that makes them, once for each thing."""

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection
from ulid import ULID

from services.executor.building.builds import creation, interpreter
from services.executor.building.requests import StoredRequest, stored_request
from services.executor.building.uploads import read_archive, read_wheel
from services.executor.building.versions import parse_version
from services.executor.environments.access import check_may_create, only_wheels
from services.executor.environments.catalogue import Gallery
from services.executor.environments.new_activities import (
    BuildSettings,
    NewActivity,
    add_activity,
    new_activity_id,
    place_name,
    site_of,
)
from services.executor.jobs.admission import Admission, Request
from services.executor.repositories import environments as rows
from services.executor.repositories.progress import encode
from services.executor.resources.held import Keep, under_hold
from services.executor.resources.holds import Holds
from shared.service.database.transactions import Database
from shared.service.failpoints import failpoint
from stoker.contracts.environments import (
    Environment,
    EnvironmentCreate,
    EnvironmentFromExisting,
    EnvironmentFromPixi,
    EnvironmentFromPypi,
    EnvironmentFromWheel,
)
from stoker.contracts.problems import FieldError
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
        admission: Admission,
        holds: Holds,
        gallery: Gallery,
        settings: BuildSettings,
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._admission = admission
        self._holds = holds
        self._gallery = gallery
        self._settings = settings
        self._wake = wake

    async def create(self, request: Request, create: EnvironmentCreate) -> Environment:
        """The environment of this call, stored before this returns; of what was asked for before, that one.

        Raises as `Admission.submit`, and Forbidden where strangers' code would be run by the service's user.
        """
        if (known := await self._known(request)) is not None:
            return known
        used = await self._admission.usable(request.caller, create.profile_id)
        check_may_create(request.caller, used, create)
        spec = used.resource.spec
        subject = await asyncio.to_thread(_subject, create)
        environment_id, activity_id = str(ULID()).lower(), new_activity_id()
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

        async def store(connection: AsyncConnection, keep: Keep) -> str:
            if not await rows.insert_environment(connection, new):
                return await _of_before(connection, request, kept)
            await keep()
            if isinstance(create, EnvironmentFromWheel | EnvironmentFromPixi):
                await rows.add_file(connection, environment_id, create.file_name, create.content)
            await add_activity(connection, activity)
            failpoint("creation.storing")
            return environment_id

        stored = await under_hold(self._database, self._holds, used, store)
        failpoint("creation.stored")
        self._wake()
        return await self._gallery.shown(stored)

    async def _known(self, request: Request) -> Environment | None:
        if request.idempotency_key is None:
            return None
        async with self._database.read() as connection:
            row = await rows.find_by_key(connection, request.caller.key_id, request.idempotency_key)
        if row is None:
            return None
        _check_body(request, row.body_sha256, row.id)
        return await self._gallery.shown(row.id)


async def _of_before(connection: AsyncConnection, request: Request, kept: StoredRequest) -> str:
    """Id of the environment that keeps this one from being stored."""
    if request.idempotency_key is not None:
        row = await rows.find_by_key(connection, request.caller.key_id, request.idempotency_key)
        if row is not None:
            _check_body(request, row.body_sha256, row.id)
            return str(row.id)
    row = await rows.find_identical(connection, kept.identity())
    if row is None:
        raise Unavailable("The environment of an earlier request was removed just now", retry_after_seconds=1)
    return str(row.id)


def _check_body(request: Request, body_sha256: str | None, environment_id: str) -> None:
    if body_sha256 != request.body_sha256:
        message = f"made environment {environment_id} of another body; use a new key for a new one"
        raise Invalid(
            "The idempotency key was used for another request",
            [FieldError("Idempotency-Key", message)],
            slug="idempotency-key-reused",
        )


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
