"""The registry: resources, profiles, access keys, holds."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from stoker.clients.base import ServiceClient
from stoker.contracts.holds import Connection, Hold, HoldCreate
from stoker.contracts.keys import AccessKey, AccessKeyCreate, AccessKeyPatch, Caller, NewAccessKey, VerifyRequest
from stoker.contracts.profiles import Profile, ProfileSpec
from stoker.contracts.resources import Resource, ResourceSpec
from stoker.errors import NotFound

ResourceBody = ResourceSpec | Mapping[str, Any]
"""A resource's configuration; as plain JSON it is checked by the registry alone, which names every wrong field."""
ProfileBody = ProfileSpec | Mapping[str, Any]


class RegistryClient(ServiceClient):
    """Calls of the registry. Errors: Invalid, NotFound, Conflict, Unauthorized, Forbidden, Unavailable.

    `version`, where it is taken, refuses the change (Conflict `precondition-failed`) if somebody else made one since.
    """

    service = "registry"

    def resources(self, *, kind: str | None = None, name: str | None = None) -> AsyncIterator[Resource]:
        """Resources that the caller may see; `kind` is `local`, `slurm_sudo` or `slurm_ssh`."""
        return self._every("/v1/resources", Resource, {"type": kind, "name": name})

    async def resource(self, resource_id: str) -> Resource:
        """One resource."""
        return await self._get(f"/v1/resources/{_part(resource_id)}", Resource)

    async def create_resource(self, spec: ResourceBody) -> Resource:
        """Add a resource (administrators)."""
        return await self._ask("POST", "/v1/resources", Resource, body=spec)

    async def replace_resource(self, resource_id: str, spec: ResourceBody, *, version: int | None = None) -> Resource:
        """Replace a resource's configuration as a whole."""
        path = f"/v1/resources/{_part(resource_id)}"
        return await self._ask("PUT", path, Resource, body=spec, headers=_if_match(version))

    async def patch_resource(
        self, resource_id: str, patch: Mapping[str, Any], *, version: int | None = None
    ) -> Resource:
        """Change some keys of a resource's configuration (RFC 7396: null removes a key)."""
        path = f"/v1/resources/{_part(resource_id)}"
        return await self._ask("PATCH", path, Resource, body=patch, headers=_if_match(version))

    async def delete_resource(self, resource_id: str, *, version: int | None = None) -> None:
        """Remove a resource. Conflict `in-use` while it has profiles or is held."""
        await self._call("DELETE", f"/v1/resources/{_part(resource_id)}", headers=_if_match(version))

    def profiles(self, *, resource_id: str | None = None, name: str | None = None) -> AsyncIterator[Profile]:
        """Profiles that the caller may see, of one resource or of all."""
        path = f"/v1/resources/{_part(resource_id)}/profiles" if resource_id else "/v1/profiles"
        return self._every(path, Profile, {"name": name})

    async def profile(self, profile_id: str) -> Profile:
        """One profile."""
        return await self._get(f"/v1/profiles/{_part(profile_id)}", Profile)

    async def create_profile(self, resource_id: str, spec: ProfileBody) -> Profile:
        """Add a profile to a resource (administrators)."""
        path = f"/v1/resources/{_part(resource_id)}/profiles"
        return await self._ask("POST", path, Profile, body=spec)

    async def replace_profile(self, profile_id: str, spec: ProfileBody, *, version: int | None = None) -> Profile:
        """Replace a profile as a whole."""
        path = f"/v1/profiles/{_part(profile_id)}"
        return await self._ask("PUT", path, Profile, body=spec, headers=_if_match(version))

    async def patch_profile(
        self, profile_id: str, patch: Mapping[str, Any], *, version: int | None = None
    ) -> Profile:
        """Change some keys of a profile (RFC 7396: null removes a key)."""
        path = f"/v1/profiles/{_part(profile_id)}"
        return await self._ask("PATCH", path, Profile, body=patch, headers=_if_match(version))

    async def delete_profile(self, profile_id: str, *, version: int | None = None) -> None:
        """Remove a profile. Conflict `in-use` while it is held."""
        await self._call("DELETE", f"/v1/profiles/{_part(profile_id)}", headers=_if_match(version))

    def access_keys(self) -> AsyncIterator[AccessKey]:
        """All access keys, without their secrets (administrators)."""
        return self._every("/v1/access-keys", AccessKey)

    async def access_key(self, key_id: str) -> AccessKey:
        """One access key, without its secret."""
        return await self._get(f"/v1/access-keys/{_part(key_id)}", AccessKey)

    async def create_access_key(self, new: AccessKeyCreate) -> NewAccessKey:
        """Make an access key. Only this answer carries the key itself."""
        return await self._ask("POST", "/v1/access-keys", NewAccessKey, body=new)

    async def patch_access_key(self, key_id: str, patch: AccessKeyPatch) -> AccessKey:
        """Change what a key is granted, or when it expires."""
        return await self._ask("PATCH", f"/v1/access-keys/{_part(key_id)}", AccessKey, body=patch)

    async def delete_access_key(self, key_id: str) -> None:
        """Revoke an access key."""
        await self._call("DELETE", f"/v1/access-keys/{_part(key_id)}")

    async def verify_key(self, key_sha256: str) -> Caller | None:
        """Whose key has this SHA-256 (hex)? None for a key that is not valid (services)."""
        body = VerifyRequest(key_sha256=key_sha256)
        try:
            return await self._ask("POST", "/v1/access-keys/verify", Caller, body=body, repeatable=True)
        except NotFound:
            return None

    async def put_hold(self, token: str, holder: str, profile_id: str) -> Hold:
        """Keep a profile and its resource from being deleted (services). Safe to repeat; NotFound: too late."""
        body = HoldCreate(holder=holder, profile_id=profile_id)
        return await self._ask("PUT", f"/v1/holds/{_part(token)}", Hold, body=body, repeatable=True)

    async def delete_hold(self, token: str) -> None:
        """Release a hold (services). Safe to repeat: a hold that is not there is released."""
        try:
            await self._call("DELETE", f"/v1/holds/{_part(token)}", repeatable=True)
        except NotFound:
            return

    def holds(self, *, holder: str | None = None) -> AsyncIterator[Hold]:
        """All holds, or those of one holder (services)."""
        return self._every("/v1/holds", Hold, {"holder": holder})

    async def connection(self, profile_id: str) -> Connection:
        """Profile and resource together: what is needed to reach it (services)."""
        return await self._get(f"/v1/connections/{_part(profile_id)}", Connection)


def _part(text: str) -> str:
    return quote(text, safe="")


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}
