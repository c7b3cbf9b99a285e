"""Access keys: who may call, and for whom."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Role = Literal["admin", "user", "service"]


class AccessKeyCreate(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A new key. `profile_ids` are the profiles granted to a `user` key (ignored rights of other roles: refused).

    Jobs belong to the `owner`, by default the key's name: several keys of one owner see the same jobs.
    """

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    role: Role = "user"
    owner: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    profile_ids: list[str] = []
    expires_at: datetime | None = None


class AccessKeyPatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What may change later; a field that is left out stays as it is."""

    profile_ids: list[str] | msgspec.UnsetType = msgspec.UNSET
    expires_at: datetime | None | msgspec.UnsetType = msgspec.UNSET


class AccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """A stored key, without its secret (only the SHA-256 of the secret is kept)."""

    id: str
    name: str
    role: Role
    owner: str
    profile_ids: list[str]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class NewAccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """The only answer that ever carries the key itself."""

    access_key: AccessKey
    key: str

    def __repr__(self) -> str:
        return f"NewAccessKey(access_key={self.access_key!r}, key='***')"


class VerifyRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Asked by executor and poller (service key): whose key has this SHA-256 (hex)?"""

    key_sha256: str


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling, as every service sees it."""

    key_id: str
    role: Role
    owner: str
    profile_ids: frozenset[str] = frozenset()
    expires_at: datetime | None = None
