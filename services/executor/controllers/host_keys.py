"""`/v1/ssh-host-keys`: which host keys a cluster shows, and trusting them."""

from litestar import Controller, Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, RawBody

from services.executor.controllers.answers import CallerRequest, answer
from services.executor.controllers.services import Services
from shared.service.web.access.callers import admins_only
from shared.service.web.bodies.content_types import accepts
from shared.service.web.bodies.decoding import read_body
from stoker.contracts.ssh import SshHostKeys, SshTrust


class HostKeysController(Controller):
    """Administrators only."""

    path = "/v1/ssh-host-keys/{resource_id:str}"
    tags = ("operations",)
    guards = (admins_only,)

    @post("/scan", status_code=200, opt={"more_problems": (404, 422)}, summary="See the host keys of an SSH resource")
    async def scan(self, services: NamedDependency[Services], resource_id: FromPath[str]) -> Response[SshHostKeys]:
        """The host is asked now; nothing of ours is shown to it, nothing is remembered."""
        return answer(await services.host_keys.scan(resource_id))

    @post(
        "/trust",
        status_code=200,
        opt=accepts(SshTrust) | {"more_problems": (404, 409)},
        summary="Trust host keys of an SSH resource",
    )
    async def trust(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        resource_id: FromPath[str],
        body: RawBody,
    ) -> Response[SshHostKeys]:
        """The host is asked again, and must show the keys with these fingerprints."""
        wanted = await read_body(body, SshTrust)
        return answer(await services.host_keys.trust(request.user, resource_id, wanted))
