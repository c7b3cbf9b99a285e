"""What jobs take up on disk, per resource."""

import msgspec


class ResourceUsage(msgspec.Struct, frozen=True, kw_only=True):
    """One resource: how many jobs it holds and the bytes of their folders."""

    resource_id: str
    jobs: int
    disk_bytes: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/usage` of the executor."""

    resources: list[ResourceUsage]
