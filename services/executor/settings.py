"""What the executor reads from its environment."""

from typing import Annotated

from msgspec import Meta

from shared.service.settings import (
    INSTALLED_AGENT,
    RECONNECT_SECONDS,
    SSH_ANSWER_SECONDS,
    SYSTEM_KNOWN_HOSTS,
    AgentFile,
    DatabaseUrl,
    HttpUrl,
    KnownHostsFile,
    ReconnectSeconds,
    RedisUrl,
    ServiceSettings,
    SshAnswerSeconds,
)
from stoker.secrets import Secret


class MigrationSettings(ServiceSettings, frozen=True, kw_only=True):
    """As much as is needed to bring the database's schema up to date."""

    database_url: Annotated[DatabaseUrl, Meta(description="the executor's own database")]


class ExecutorSettings(MigrationSettings, frozen=True, kw_only=True):
    """All settings of the executor."""

    listen_port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 picks a free one")] = 8702
    redis_url: Annotated[RedisUrl, Meta(description="the bus between executor and poller")]
    registry_url: Annotated[HttpUrl, Meta(description="address of the registry")] = HttpUrl("http://127.0.0.1:8701")
    ssh_known_hosts: KnownHostsFile = SYSTEM_KNOWN_HOSTS
    ssh_answer_seconds: SshAnswerSeconds = SSH_ANSWER_SECONDS
    reconnect_seconds: ReconnectSeconds = RECONNECT_SECONDS
    agent_file: AgentFile = INSTALLED_AGENT
    service_key: Annotated[Secret, Meta(description="access key with role service, for calls to the registry")]
    retention_days: Annotated[
        float,
        Meta(ge=0, description="days after its end when a job's folder and rows are removed; 0 keeps them for ever"),
    ] = 30.0
    max_body_bytes: Annotated[int, Meta(ge=1024, description="largest request body that is accepted")] = 96 * 1024**2
    package_indexes: Annotated[
        list[str] | None,
        Meta(description="addresses of package indexes, comma-separated, instead of what pip and uv use anyway"),
    ] = None
    build_time_limit_seconds: Annotated[float, Meta(gt=0, description="how long making an environment may take")] = (
        3600.0
    )
    output_limit_bytes: Annotated[int, Meta(ge=1, description="largest out file of a unit")] = 1024**2
    kill_grace_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="time between asking a unit's processes to end and killing them")
    ] = 2.0
    lease_seconds: Annotated[
        float, Meta(ge=0.1, le=3600, description="after this time without a sign another executor takes a job over")
    ] = 30.0
    files_grace_seconds: Annotated[
        float,
        Meta(ge=0, le=86400, description="how long after the end of a SLURM job its last words are waited for"),
    ] = 90.0
    absent_grace_seconds: Annotated[
        float,
        Meta(ge=0, le=604800, description="how long SLURM has to show no trace of a job until it counts as lost"),
    ] = 900.0
    submission_doubt_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="how long a submission whose answer was lost is looked for before it is made again",
        ),
    ] = 30.0
