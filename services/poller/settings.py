"""What the poller reads from its environment."""

from typing import Annotated

from msgspec import Meta

from shared.service.settings import (
    INSTALLED_AGENT,
    RECONNECT_SECONDS,
    SSH_ANSWER_SECONDS,
    SYSTEM_KNOWN_HOSTS,
    AgentFile,
    HttpUrl,
    KnownHostsFile,
    ReconnectSeconds,
    RedisUrl,
    ServiceSettings,
    SshAnswerSeconds,
)
from stoker.secrets import Secret


class PollerSettings(ServiceSettings, frozen=True, kw_only=True):
    """All settings of the poller."""

    listen_port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 picks a free one")] = 8703
    redis_url: Annotated[RedisUrl, Meta(description="the bus between executor and poller")]
    registry_url: Annotated[HttpUrl, Meta(description="address of the registry")] = HttpUrl("http://127.0.0.1:8701")
    executor_url: Annotated[HttpUrl, Meta(description="address of the executor")] = HttpUrl("http://127.0.0.1:8702")
    ssh_known_hosts: KnownHostsFile = SYSTEM_KNOWN_HOSTS
    ssh_answer_seconds: SshAnswerSeconds = SSH_ANSWER_SECONDS
    reconnect_seconds: ReconnectSeconds = RECONNECT_SECONDS
    agent_file: AgentFile = INSTALLED_AGENT
    service_key: Annotated[Secret, Meta(description="access key with role service, for calls to the other services")]
    watch_list_seconds: Annotated[
        float, Meta(ge=0.5, le=600, description="how often the executor's watch list is asked for without a hint")
    ] = 5.0
    lease_seconds: Annotated[
        float, Meta(ge=1, le=600, description="how long after a poller's death another one takes its resources over")
    ] = 6.0
    connection_seconds: Annotated[
        float, Meta(ge=1, le=3600, description="how long the registry's word on how to connect is believed")
    ] = 30.0
