"""Trusting the host of an SSH resource: its keys are read, compared with what an administrator saw, kept."""

import asyncio

from shared.pipes.ssh import HostKey, SshTarget, add_to_known_hosts, scan_host_keys, trust_state
from shared.service.logs import get_logger
from stoker.clients.registry import RegistryClient
from stoker.contracts.keys import Caller
from stoker.contracts.resources import Resource, ResourceType, SlurmSshResourceSpec
from stoker.contracts.ssh import SshHostKey, SshHostKeys, SshTrust
from stoker.errors import Conflict, Invalid, NotFound, Unavailable

log = get_logger()


class HostKeys:
    """Host keys by resource. Raises NotFound, Invalid (the resource has no host), Unavailable."""

    def __init__(self, registry: RegistryClient, known_hosts: str, resource_types: frozenset[ResourceType]) -> None:
        self._registry = registry
        self._known_hosts = known_hosts
        self._resource_types = resource_types

    async def scan(self, resource_id: str) -> SshHostKeys:
        """What the host shows now, and what is believed of it. Nothing changes."""
        resource, target = await self._target(resource_id)
        return _seen(resource, target, await scan_host_keys(target))

    async def trust(self, caller: Caller, resource_id: str, wanted: SshTrust) -> SshHostKeys:
        """Remember keys by their fingerprints. Conflict: the host does not show them now, or others are known."""
        resource, target = await self._target(resource_id)
        shown = {key.fingerprint: key for key in await scan_host_keys(target)}
        if absent := [one for one in wanted.fingerprints if one not in shown]:
            raise Conflict(f"{target.shown} does not show {', '.join(absent)} now, but {', '.join(shown)}")
        keys = [shown[one] for one in wanted.fingerprints]
        if not wanted.replace and any(trust_state(target, key) in ("changed", "revoked") for key in keys):
            raise Conflict(
                f"other keys are known of {target.shown} in {target.known_hosts}: say replace if they are old"
            )
        try:
            await asyncio.to_thread(
                add_to_known_hosts, target.known_hosts, target.host, target.port, keys, replace=wanted.replace
            )
        except OSError as error:
            lines = "; ".join(key.line(target.host, target.port) for key in keys)
            message = f"{target.known_hosts} cannot be written ({error.strerror}): add these lines yourself: {lines}"
            raise Unavailable(message) from error
        log.warning(
            "host keys trusted",
            resource_id=resource.id,
            host=target.shown,
            fingerprints=wanted.fingerprints,
            replaced=wanted.replace,
            known_hosts=target.known_hosts,
            key_id=caller.key_id,
            owner=caller.owner,
        )
        return _seen(resource, target, list(shown.values()))

    async def _target(self, resource_id: str) -> tuple[Resource, SshTarget]:
        try:
            resource = await self._registry.resource(resource_id)
        except NotFound:
            raise NotFound(f"there is no resource {resource_id!r}") from None
        if not isinstance(resource.spec, SlurmSshResourceSpec) or resource.type not in self._resource_types:
            raise Invalid(f"{resource.name} is not reached through SSH here")
        return resource, SshTarget.of_host(resource.spec, self._known_hosts)


def _seen(resource: Resource, target: SshTarget, keys: list[HostKey]) -> SshHostKeys:
    return SshHostKeys(
        resource_id=resource.id,
        host=target.host,
        port=target.port,
        known_hosts=target.known_hosts,
        keys=[
            SshHostKey(
                type=key.type,
                fingerprint=key.fingerprint,
                state=trust_state(target, key),
                line=key.line(target.host, target.port),
            )
            for key in keys
        ],
    )
