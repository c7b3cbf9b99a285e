"""Holds: what the executor still needs, and the registry therefore refuses to delete."""

from datetime import datetime

import msgspec

from stoker.contracts.profiles import Profile
from stoker.contracts.resources import Resource


class HoldCreate(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of `PUT /v1/holds/{token}`; repeating it is safe."""

    holder: str
    profile_id: str


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """One holder's claim on a profile and, by it, on the profile's resource."""

    token: str
    holder: str
    profile_id: str
    resource_id: str
    created_at: datetime


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """What the executor and the poller need to reach one profile's resource (`GET /v1/connections/{profile_id}`)."""

    resource: Resource
    profile: Profile
