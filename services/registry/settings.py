"""The registry's settings."""

from typing import Annotated

from msgspec import Meta

from shared.service.settings import DatabaseUrl, ServiceSettings


class RegistrySettings(ServiceSettings, frozen=True, kw_only=True):
    """Read from the environment by `shared.service.settings.load_settings`."""

    database_url: Annotated[
        DatabaseUrl, Meta(description="sqlite:////absolute/path.db or postgresql://user:password@host/database")
    ]
    listen_port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 picks a free one")] = 8701
    own_key_cache_seconds: Annotated[
        float, Meta(ge=0, description="how long the registry itself believes a key without looking it up")
    ] = 5.0
    last_use_interval_seconds: Annotated[
        float, Meta(gt=0, description="how often the last use of access keys is written down")
    ] = 60.0
