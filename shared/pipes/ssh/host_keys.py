"""Keys that hosts show."""

import base64
import hashlib

import msgspec


class HostKey(msgspec.Struct, frozen=True):
    """`type` as in known_hosts files (`ssh-ed25519`), `blob` the public key itself."""

    type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-keygen -l` shows it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def line(self, host: str, port: int) -> str:
        """The line of a known_hosts file."""
        return f"{host_pattern(host, port)} {self.type} {base64.b64encode(self.blob).decode()}"


def host_pattern(host: str, port: int) -> str:
    """The name of a host in a known_hosts file."""
    return host if port == 22 else f"[{host}]:{port}"  # noqa: PLR2004 - SSH's own port
