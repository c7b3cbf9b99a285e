"""Where an SSH connection leads, as whom, and how long each step of it may take."""

import ipaddress

import msgspec
from msgspec import UNSET

from stoker.contracts.holds import Connection
from stoker.contracts.profiles import SlurmSshProfileSpec
from stoker.contracts.resources import SlurmSshResourceSpec
from stoker.errors import Invalid

DEFAULT_PORT = 22


class SshLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. `open` bounds all steps together, login shell included.

    A line on which nothing was heard for `quiet` is asked for a sign, and is broken when none comes in `answer`.
    """

    connect: float = 10.0
    banner: float = 10.0
    login: float = 15.0
    channel: float = 10.0
    first_word: float = 30.0
    open: float = 60.0
    quiet: float = 15.0
    answer: float = 15.0

    @classmethod
    def of(cls, answer_seconds: float) -> "SshLimits":
        """Let a host take so long. Logging in is given its time: it costs a busy host's processor, not the line."""
        step = min(cls().connect, answer_seconds)
        return cls(connect=step, banner=step, channel=step, quiet=answer_seconds, answer=answer_seconds)


class SshTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One login on one host. `resource` is the resource's name, for messages; paths are absolute."""

    resource: str
    host: str
    port: int
    username: str
    key_path: str
    known_hosts: str
    python: str

    @classmethod
    def of(cls, connection: Connection, known_hosts: str) -> "SshTarget":
        """Take it from resource and profile; `known_hosts` is used unless the resource names a file of its own."""
        resource, profile = connection.resource.spec, connection.profile.spec
        if not isinstance(resource, SlurmSshResourceSpec) or not isinstance(profile, SlurmSshProfileSpec):
            raise Invalid(f"the profile {connection.profile.name} is not one of an SSH resource")
        host, port = address_of(resource)
        return cls(
            resource=connection.resource.name,
            host=host,
            port=port,
            username=profile.username,
            key_path=profile.ssh_key_path,
            known_hosts=known_hosts_of(resource, known_hosts),
            python=resource.jobs_slurm_python_worker,
        )

    @classmethod
    def of_host(cls, spec: SlurmSshResourceSpec, known_hosts: str) -> "SshTarget":
        """The host alone, for looking at its keys: nobody logs in."""
        host, port = address_of(spec)
        known = known_hosts_of(spec, known_hosts)
        return cls(resource=spec.name, host=host, port=port, username="", key_path="", known_hosts=known, python="")

    @property
    def shown(self) -> str:
        """As people write it: `login.example.org`, `login.example.org:2222`, `[::1]:2222`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORT else f"{host}:{self.port}"


def address_of(spec: SlurmSshResourceSpec) -> tuple[str, int]:
    """Host and port of `name`, `name:port`, `[ipv6]` or `[ipv6]:port`; the field `port` wins."""
    host, port = _split(spec.host.strip())
    return host, port if spec.port is UNSET else spec.port


def known_hosts_of(spec: SlurmSshResourceSpec, default: str) -> str:
    """The file with the host keys of this resource."""
    return default if spec.ssh_known_hosts is UNSET else spec.ssh_known_hosts


def _split(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, _port(rest.removeprefix(":")) if rest else DEFAULT_PORT
    if _is_ipv6(text) or ":" not in text:
        return text, DEFAULT_PORT
    host, _, port = text.rpartition(":")
    return host, _port(port)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise Invalid(f"the port {text!r} of the resource's host is not a number")
    return int(text)


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6  # noqa: PLR2004 - its name
    except ValueError:
        return False
