"""Which keys a host shows, before anybody trusts them."""

from shared.pipes.errors import CannotConnect
from shared.pipes.ssh.errors import NothingInCommon
from shared.pipes.ssh.host_keys import HostKey
from shared.pipes.ssh.line import SshLine
from shared.pipes.ssh.target import SshLimits, SshTarget
from shared.pipes.ssh.threads import in_thread

_TYPES = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)


async def scan_host_keys(target: SshTarget, limits: SshLimits | None = None) -> list[HostKey]:
    """One key per kind that the host has; nothing of ours is shown to it. CannotConnect when it has none."""
    return await in_thread(lambda: _scan(target, limits or SshLimits()), f"ssh scan {target.shown}")


def _scan(target: SshTarget, limits: SshLimits) -> list[HostKey]:
    found: list[HostKey] = []
    failure: CannotConnect | None = None
    for types in _TYPES:
        line = SshLine(target, limits)
        try:
            found.append(line.handshake(types))
        except NothingInCommon as error:
            failure = error
        finally:
            line.abandon()
    if not found and failure is not None:
        raise failure
    return found
