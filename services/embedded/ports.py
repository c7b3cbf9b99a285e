"""Ports of the services: the ones asked for, or free ones."""

import random
import socket

from stoker.errors import Conflict

# Below the range that the kernel hands out, so that a restarting service never finds its port taken by a client.
_CANDIDATES = range(20_000, 32_000)


def usable_port(host: str, wanted: int, option: str) -> int:
    """The port to listen on; 0 asks for any free one. Raises Conflict when the wanted one is taken."""
    if wanted:
        if not _free(host, wanted):
            raise Conflict(f"port {wanted} on {host} is taken: choose another with {option} (0 picks a free one)")
        return wanted
    for port in random.sample(_CANDIDATES, 200):
        if _free(host, port):
            return port
    raise Conflict(f"no free port was found on {host}")


def _free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
