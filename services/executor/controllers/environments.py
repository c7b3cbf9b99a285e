"""`/v1/environments`: making, reading and changing environments."""

from typing import Annotated

from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter, RawBody

from services.executor.building.versions import canonical_name
from services.executor.controllers.answers import CallerRequest, answer
from services.executor.controllers.jobs import Filter, IdempotencyKey, checked_key
from services.executor.controllers.services import Services
from services.executor.model.requests import Request as Submission
from services.executor.model.requests import sha256_of
from services.executor.repositories.environments import EnvironmentFilter, TaskFilter
from shared.service.web.bodies.content_types import accepts
from shared.service.web.bodies.decoding import read_body
from shared.service.web.bodies.large import off_the_loop
from shared.service.web.cursors import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page
from stoker.contracts.environments import Activity, Environment, EnvironmentCreate, EnvironmentState, Freeze
from stoker.contracts.pages import Page
from stoker.contracts.tasks import Task


class EnvironmentsController(Controller):
    """`/v1/environments`."""

    path = "/v1/environments"
    tags = ("environments",)

    @post(
        "/",
        status_code=202,
        opt=accepts(EnvironmentCreate) | {"more_problems": (403, 404)},
        summary="Make an environment",
    )
    async def create(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        body: RawBody,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Environment]:
        """It is made by an activity. Whoever asks for what is there already, or is being made, is given that."""
        submission = Submission(
            caller=request.user,
            body_sha256=await off_the_loop(len(body), sha256_of, body),
            idempotency_key=checked_key(idempotency_key),
        )
        made = await services.environments.creation.create(submission, await read_body(body, EnvironmentCreate))
        return answer(made, location=f"/v1/environments/{made.id}")

    @get("/", summary="List environments, the newest first")
    async def list_environments(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        of_state: Annotated[EnvironmentState | None, QueryParameter(name="state")] = None,
        resource_id: Filter = None,
        package: Filter = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Response[Page[Environment]]:
        """Those of the resources that the caller has a profile on; an administrator sees all."""
        wanted = EnvironmentFilter(
            state=of_state,
            resource_id=resource_id,
            package=None if package is None else canonical_name(package),
        )
        before = decode_cursor(cursor, str)
        found = await services.environments.catalogue.environments(
            request.user, wanted, before_id=before, limit=limit
        )
        return answer(page(*found))

    @get("/{environment_id:str}", summary="Read an environment")
    async def read(
        self, request: CallerRequest, services: NamedDependency[Services], environment_id: FromPath[str]
    ) -> Response[Environment]:
        """With its latest activity."""
        return answer(await services.environments.catalogue.environment(request.user, environment_id))

    @delete(
        "/{environment_id:str}",
        status_code=202,
        opt={"more_problems": (403, 409)},
        summary="Delete an environment",
    )
    async def remove(
        self, request: CallerRequest, services: NamedDependency[Services], environment_id: FromPath[str]
    ) -> Response[Environment]:
        """All of it, by an activity; the environment is gone when that is done. Refused while a job uses it."""
        return answer(await services.environments.changes.begin(request.user, environment_id, "delete"))

    @post(
        "/{environment_id:str}/deactivate",
        status_code=202,
        opt={"more_problems": (403, 409)},
        summary="Deactivate an environment",
    )
    async def deactivate(
        self, request: CallerRequest, services: NamedDependency[Services], environment_id: FromPath[str]
    ) -> Response[Environment]:
        """What is installed is removed, what it can be made of again is kept. Refused while a job uses it."""
        return answer(await services.environments.changes.begin(request.user, environment_id, "deactivate"))

    @post(
        "/{environment_id:str}/reactivate",
        status_code=202,
        opt={"more_problems": (403, 409)},
        summary="Reactivate an environment",
    )
    async def reactivate(
        self, request: CallerRequest, services: NamedDependency[Services], environment_id: FromPath[str]
    ) -> Response[Environment]:
        """It is made again, exactly as it was."""
        return answer(await services.environments.changes.begin(request.user, environment_id, "reactivate"))

    @get("/{environment_id:str}/tasks", summary="List an environment's tasks, in order")
    async def tasks(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        environment_id: FromPath[str],
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Response[Page[Task]]:
        """As the package's manifest describes them."""
        await services.environments.catalogue.row(request.user, environment_id)
        wanted = TaskFilter(environment_id=environment_id)
        after = decode_cursor(cursor, str)
        return answer(
            page(*await services.environments.catalogue.tasks(request.user, wanted, after_id=after, limit=limit))
        )

    @get("/{environment_id:str}/activities", summary="List an environment's activities, the newest first")
    async def activities(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        environment_id: FromPath[str],
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Response[Page[Activity]]:
        """What was done to it."""
        before = decode_cursor(cursor, str)
        found = await services.environments.catalogue.activities(
            request.user, environment_id, before_id=before, limit=limit
        )
        return answer(page(*found))

    @get("/{environment_id:str}/freeze", opt={"more_problems": (409,)}, summary="Read exactly what is installed")
    async def freeze(
        self, request: CallerRequest, services: NamedDependency[Services], environment_id: FromPath[str]
    ) -> Response[Freeze]:
        """Also of one that is inactive: what it is made of again."""
        return answer(await services.environments.catalogue.freeze(request.user, environment_id))
