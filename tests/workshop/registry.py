"""A registry inside the test's own event loop, and the configurations that users already have."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import msgspec
import pytest
from litestar import Litestar

from services.registry.app import build_app
from services.registry.bootstrap import bootstrap
from services.registry.migrations import LOCATION
from services.registry.settings import RegistrySettings
from shared.service.settings import DatabaseUrl
from tests.workshop.databases import with_schema

SEED = Path(__file__).parents[1] / "seed"
KINDS = ("local", "slurm_sudo", "slurm_ssh")


def seed(name: str) -> dict[str, Any]:
    """One of the six configurations, such as `resource_slurm_ssh`."""
    content: dict[str, Any] = json.loads((SEED / f"{name}.json").read_text())
    return content


class RegistryInTest:
    """The application, and clients that call it with one key each."""

    def __init__(self, app: Litestar, settings: RegistrySettings) -> None:
        self.app = app
        self.settings = settings
        self.admin = self.client(None)

    def client(self, key: str | None) -> httpx.AsyncClient:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)  # type: ignore[arg-type]
        return httpx.AsyncClient(transport=transport, base_url="http://registry", headers=headers)

    async def resource(self, kind: str = "local", **changes: Any) -> dict[str, Any]:
        return await self.created("/v1/resources", seed(f"resource_{kind}") | changes)

    async def profile(self, resource: dict[str, Any], **changes: Any) -> dict[str, Any]:
        spec = seed(f"profile_{resource['type']}") | changes
        return await self.created(f"/v1/resources/{resource['id']}/profiles", spec)

    async def caller(self, role: str, **fields: Any) -> tuple[httpx.AsyncClient, dict[str, Any]]:
        """A client with a new key, and the key's row."""
        new = await self.created("/v1/access-keys", {"name": role, "role": role, **fields})
        return self.client(new["key"]), new["access_key"]

    async def created(self, path: str, body: Any) -> dict[str, Any]:
        answer = await self.admin.post(path, json=body)
        assert answer.status_code == 201, answer.text
        content: dict[str, Any] = answer.json()
        return content


@asynccontextmanager
async def running_registry(url: str, *, key: str | None = None, **settings: Any) -> AsyncIterator[RegistryInTest]:
    """A registry on a database that is brought up first; `admin` carries its first key, or the one that is given."""
    await anyio.to_thread.run_sync(with_schema, url, LOCATION)
    own = RegistrySettings(database_url=DatabaseUrl(url), own_key_cache_seconds=0, **settings)
    admin_key = key or (await bootstrap(own, role="admin", name="admin")).key
    app = build_app(own)
    async with app.lifespan():
        registry = RegistryInTest(app, own)
        registry.admin = registry.client(admin_key)
        yield registry


@pytest.fixture
async def registry(database_url: str) -> AsyncIterator[RegistryInTest]:
    """A registry that serves all kinds."""
    async with running_registry(database_url) as running:
        yield running


def wrong_paths(answer: httpx.Response) -> dict[str, str]:
    """Path to message of each wrong field in a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return {error["path"]: error["message"] for error in answer.json().get("errors", [])}


def slug(answer: httpx.Response) -> str:
    """The problem's kind."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    kind: str = answer.json()["type"]
    return kind.removeprefix("urn:stoker:problem:")


def to_json(value: Any) -> Any:
    """What a struct looks like on the wire."""
    return json.loads(msgspec.json.encode(value))
