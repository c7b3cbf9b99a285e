"""A TCP connection that is fast with small requests, and notices in time that nobody is there any more."""

import socket

from shared.pipes.errors import CannotConnect
from shared.pipes.ssh.target import SshTarget

_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
_USER_TIMEOUT_MILLISECONDS = 35_000


def open_socket(target: SshTarget, timeout_seconds: float) -> socket.socket:
    """Try the host's addresses in turn. CannotConnect says which of the ways to fail it was."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        message = f"the host name {target.host} is unknown ({getattr(error, 'strerror', None) or error})"
        raise CannotConnect(message, "correct host of the resource, or the name service") from error
    failure: OSError | None = None
    for family, kind, protocol, _, address in found:
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(timeout_seconds)
            made.connect(address)
            _settle(made)
        except OSError as error:
            made.close()
            failure = error
        else:
            return made
    raise _not_connected(target, failure, timeout_seconds)


def _settle(made: socket.socket) -> None:
    # Without it a small request waits for the acknowledgement of the one before (Nagle's algorithm).
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in _KEEPALIVE.items():
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MILLISECONDS)


def _not_connected(target: SshTarget, failure: OSError | None, timeout_seconds: float) -> CannotConnect:
    mend = "correct host and port of the resource, or see whether the host is up and a firewall lets us through"
    if isinstance(failure, TimeoutError):
        return CannotConnect(f"{target.shown} does not answer within {timeout_seconds:g} seconds", mend)
    if isinstance(failure, ConnectionRefusedError):
        return CannotConnect(f"nobody listens on {target.shown} (connection refused)", mend)
    why = (failure.strerror or str(failure)) if failure is not None else "it has no address"
    return CannotConnect(f"{target.shown} cannot be reached: {why}", mend)
