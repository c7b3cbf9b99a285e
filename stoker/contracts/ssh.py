"""Host keys of clusters: what a host shows, and what is believed of it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Fingerprint = Annotated[str, Meta(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$", description="as `ssh-keygen -l` shows it")]


class SshHostKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key that the host shows. `line` is what a known_hosts file would say.

    `state`: `trusted`; `unknown`: nothing is known of the host; `changed`: other keys are known of it; `revoked`.
    """

    type: str
    fingerprint: str
    state: Literal["trusted", "unknown", "changed", "revoked"]
    line: str


class SshHostKeys(msgspec.Struct, frozen=True, kw_only=True):
    """All keys that a resource's host shows now. `known_hosts` is the services' file that is looked into."""

    resource_id: str
    host: str
    port: int
    known_hosts: str
    keys: list[SshHostKey]


class SshTrust(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /v1/ssh-host-keys/{resource_id}/trust`.

    The host is asked again, and only keys with these fingerprints are accepted. `replace`: what was known of this
    host alone is forgotten.
    """

    fingerprints: Annotated[list[Fingerprint], Meta(min_length=1, max_length=16)]
    replace: bool = False
