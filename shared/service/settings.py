"""Settings of a service: environment variables `STOKER_<FIELD>`, read once, at the start.

Each service has a struct of its own that extends `ServiceSettings`; a field's description (`Meta`) is its line
in the documentation. Every wrong value is reported at once, by the name of its variable.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from stoker.contracts.problems import FieldError
from stoker.contracts.resources import ResourceType
from stoker.errors import Invalid
from stoker.secrets import Secret

PREFIX = "STOKER_"
ALL_RESOURCE_TYPES: frozenset[ResourceType] = frozenset(get_args(ResourceType))


class DatabaseUrl(Secret):
    """`sqlite:////absolute/path.db` or `postgresql://user:password@host/database`."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        super().__init__(text)
        if not text.startswith(("sqlite:////", "postgresql://", "postgres://")):
            raise ValueError("must be sqlite:////absolute/path.db or postgresql://user:password@host/database")


class RedisUrl(Secret):
    """`redis://host:port/0`, `rediss://…` or `unix:///path.sock`."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        super().__init__(text)
        if not text.startswith(("redis://", "rediss://", "unix:///")):
            raise ValueError("must be redis://host:port/0, rediss://… or unix:///path.sock")


class HttpUrl(str):
    """`http://host:port`, stored without a trailing slash."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check the scheme; ValueError when it is another."""
        if not text.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return super().__new__(cls, text.rstrip("/"))


SERVICE_KEY = "STOKER_SERVICE_KEY"
"""The setting with the key by which services know each other."""

INSTALLED_AGENT = "/opt/stoker/agent.py"
AgentFile = Annotated[str, Meta(pattern="^/", description="the installed agent that sudo starts, on this host")]
SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
KnownHostsFile = Annotated[
    str, Meta(pattern="^/", description="file with the host keys of SSH clusters; a resource may name its own")
]

SSH_ANSWER_SECONDS = 15.0
SshAnswerSeconds = Annotated[
    float,
    Meta(
        ge=1,
        le=300,
        description="how long an SSH host may take to answer: while connecting, or when it was quiet as long",
    ),
]

RECONNECT_SECONDS = 60.0
ReconnectSeconds = Annotated[
    float,
    Meta(ge=1, le=3600, description="longest pause between attempts to reach a resource that is away"),
]


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service reads."""

    listen_host: Annotated[str, Meta(min_length=1, description="address to listen on")] = "127.0.0.1"
    listen_port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 picks a free one")] = 0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least level that is logged")
    ] = "info"
    log_format: Annotated[
        Literal["json", "console"], Meta(description="one JSON object a line, or text for people")
    ] = "json"
    resource_types: Annotated[
        frozenset[ResourceType],
        Meta(description="kinds of resource served here, comma-separated (also FRACTAL_RUNNER_BACKEND)"),
    ] = ALL_RESOURCE_TYPES
    stop_timeout_seconds: Annotated[
        int,
        Meta(ge=0, le=600, description="how long a stopping service waits for requests that are under way"),
    ] = 3
    key_cache_seconds: Annotated[
        float, Meta(ge=0, description="how long a verified access key is believed without asking again")
    ] = 60.0
    key_cache_unavailable_seconds: Annotated[
        float, Meta(ge=0, description="the same while the registry does not answer")
    ] = 600.0
    max_header_bytes: Annotated[
        int, Meta(ge=4096, le=1024**2, description="largest head of a request: its address and headers")
    ] = 64 * 1024
    header_seconds: Annotated[float, Meta(gt=0, description="how long the head of a request may take to arrive")] = (
        20.0
    )
    body_seconds: Annotated[float, Meta(gt=0, description="how long the body of a request may take to arrive")] = (
        300.0
    )
    max_bodies_bytes: Annotated[
        int, Meta(ge=1024**2, description="largest sum of the large bodies that are being received at one time")
    ] = 128 * 1024**2
    max_connections: Annotated[
        int,
        Meta(
            ge=10, description="most connections at one time; never more than the limit of open files leaves room for"
        ),
    ] = 4096
    max_connections_per_address: Annotated[
        int, Meta(ge=10, description="the same from one address; all that comes through a proxy comes from one")
    ] = 2048

    # Older or foreign spellings of a variable, used when STOKER_<FIELD> is not set.
    aliases: ClassVar[Mapping[str, str]] = {"resource_types": "FRACTAL_RUNNER_BACKEND"}


S = TypeVar("S", bound=ServiceSettings)


def load_settings(kind: type[S], environment: Mapping[str, str] | None = None) -> S:
    """Return the settings in the environment (default: the process's).

    A secret may also be given as `STOKER_<FIELD>_FILE`, a file that holds it. Raises Invalid, whose `errors`
    name each wrong or missing variable; values of secrets are not repeated in it.
    """
    source = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for field in msgspec.structs.fields(kind):
        try:
            variable, text = _lookup(field, kind.aliases, source)
            if text is not None:
                values[field.name] = _convert(text, field.type)
            elif field.required:
                errors.append(FieldError(variable, f"is not set ({_description(field)})"))
        except (ValueError, msgspec.ValidationError, OSError) as error:
            shown = "" if _is_secret(field.type) else f" (it is {source.get(variable_of(field.name), '')!r})"
            errors.append(FieldError(variable_of(field.name), f"{_plain(error, field.type)}{shown}"))
    if errors:
        listed = "; ".join(f"{error.path} {error.message}" for error in errors)
        raise Invalid(f"wrong settings: {listed}", errors)
    return kind(**values)


def variable_of(field_name: str) -> str:
    """Return the environment variable of a field."""
    return PREFIX + field_name.upper()


def settings_table(kind: type[ServiceSettings]) -> str:
    """Return a Markdown table of a service's variables, for its documentation."""
    rows = [
        f"| `{variable_of(field.name)}` | {_default(field)} | {_description(field)} |"
        for field in msgspec.structs.fields(kind)
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def _lookup(
    field: msgspec.structs.FieldInfo, aliases: Mapping[str, str], source: Mapping[str, str]
) -> tuple[str, str | None]:
    variable = variable_of(field.name)
    if source.get(variable, "") != "":
        return variable, source[variable]
    if _is_secret(field.type) and source.get(f"{variable}_FILE"):
        return variable, Path(source[f"{variable}_FILE"]).read_text(encoding="utf-8")
    return variable, source.get(aliases.get(field.name, ""), "") or None


def _convert(text: str, kind: object) -> object:
    if _is_list(kind):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise ValueError("must name at least one")
        return msgspec.convert(parts, kind, strict=False)
    return msgspec.convert(text.strip(), kind, strict=False, dec_hook=_from_text)


def _from_text(kind: type, value: object) -> object:
    constructor: Callable[[str], object] = kind
    return constructor(str(value))


def _members(kind: object) -> Iterator[object]:
    if get_origin(kind) is Annotated:
        yield from _members(get_args(kind)[0])
    elif isinstance(kind, type) or not get_args(kind) or get_origin(kind) in {frozenset, list, Literal}:
        yield kind
    else:
        for argument in get_args(kind):
            yield from _members(argument)


def _is_secret(kind: object) -> bool:
    return any(isinstance(member, type) and issubclass(member, Secret) for member in _members(kind))


def _is_list(kind: object) -> bool:
    return any(get_origin(member) in {frozenset, list} for member in _members(kind))


def _choices(kind: object) -> list[str]:
    found: list[str] = []
    for member in _members(kind):
        if get_origin(member) is Literal:
            found += map(str, get_args(member))
        elif get_origin(member) in {frozenset, list}:
            found += _choices(get_args(member)[0])
    return found


def _plain(error: Exception, kind: object) -> str:
    if choices := _choices(kind):
        return f"must be {'a comma list of' if _is_list(kind) else 'one of'} {', '.join(choices)}"
    return str(error).removesuffix(" - at `$[...]`").replace("Expected `", "must be `")


def _description(field: msgspec.structs.FieldInfo) -> str:
    if get_origin(field.type) is Annotated:
        for extra in get_args(field.type)[1:]:
            if isinstance(extra, Meta) and extra.description:
                return extra.description
    return ""


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "(required)"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None:
        return ""
    if isinstance(value, frozenset | list | tuple):
        return f"`{','.join(sorted(map(str, value)))}`"
    return f"`{value}`"
