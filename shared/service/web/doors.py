"""How many connections are open, and which of them have nothing under way: those make room for new ones.

Whoever opens connections and says nothing keeps nobody out: at the limit, the one that has waited longest for a whole
request is closed for the new one. Only where all others are at work is the new one refused.
"""

import resource
from collections import defaultdict
from typing import Protocol

import msgspec

from shared.service.settings import ServiceSettings

# Files that a service has open besides: databases, pipes to agents, answers of other services.
_OTHER_FILES = 200


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection may take, and how many there may be."""

    header_bytes: int
    header_seconds: float
    body_seconds: float
    connections: int
    connections_per_address: int


def limits_of(settings: ServiceSettings) -> Limits:
    """The limits in the settings. Where the system allows fewer open files, fewer connections."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    room = settings.max_connections if files == resource.RLIM_INFINITY else max(files // 2, files - _OTHER_FILES)
    connections = min(settings.max_connections, room)
    return Limits(
        header_bytes=settings.max_header_bytes,
        header_seconds=settings.header_seconds,
        body_seconds=settings.body_seconds,
        connections=connections,
        connections_per_address=min(settings.max_connections_per_address, connections),
    )


class Guest(Protocol):
    """A connection, as it is seen here."""

    def make_room(self) -> None:
        """Close: another connection is to have the place."""


class Doors:
    """The connections of one server, by address."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._address: dict[Guest, str] = {}
        self._count: defaultdict[str, int] = defaultdict(int)
        # Insertion is the order of waiting, the longest first; dictionaries are ordered sets here.
        self._waiting: dict[Guest, None] = {}
        self._waiting_of: defaultdict[str, dict[Guest, None]] = defaultdict(dict)

    def enter(self, guest: Guest, address: str) -> bool:
        """Whether there is a place. Whoever is told so is waiting, until it `works`."""
        if self._count[address] >= self.limits.connections_per_address and not _evict(self._waiting_of[address]):
            self._forget_if_empty(address)
            return False
        if len(self._address) >= self.limits.connections and not _evict(self._waiting):
            self._forget_if_empty(address)
            return False
        self._address[guest] = address
        self._count[address] += 1
        self.waits(guest)
        return True

    def leave(self, guest: Guest) -> None:
        """The connection is closed, or as good as closed. Repeating is fine."""
        address = self._address.pop(guest, None)
        if address is not None:
            self._waiting.pop(guest, None)
            self._waiting_of[address].pop(guest, None)
            self._count[address] -= 1
            self._forget_if_empty(address)

    def works(self, guest: Guest) -> None:
        """A request has come as a whole head: it is not closed for others."""
        if (address := self._address.get(guest)) is not None:
            self._waiting.pop(guest, None)
            self._waiting_of[address].pop(guest, None)

    def waits(self, guest: Guest) -> None:
        """It has been answered, and may be closed for others."""
        if (address := self._address.get(guest)) is not None:
            self._waiting[guest] = self._waiting_of[address][guest] = None

    def _forget_if_empty(self, address: str) -> None:
        if not self._count[address]:
            del self._count[address]
            self._waiting_of.pop(address, None)


def _evict(waiting: dict[Guest, None]) -> bool:
    longest = next(iter(waiting), None)
    if longest is None:
        return False
    longest.make_room()
    return True
