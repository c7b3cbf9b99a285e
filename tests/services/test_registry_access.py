"""Access keys, what they allow, and holds."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
from litestar.routes import HTTPRoute

from services.registry.app import build_app
from services.registry.settings import RegistrySettings
from shared.service.settings import DatabaseUrl
from shared.service.web.access.callers import key_sha256
from tests.workshop.registry import RegistryInTest, running_registry, seed, slug, wrong_paths

pytestmark = [pytest.mark.anyio, pytest.mark.both_databases]

OPEN = {"/health/live", "/health/ready"}


def routes() -> list[tuple[str, str]]:
    """Every method and path that the registry answers, read from its own table."""
    app = build_app(RegistrySettings(database_url=DatabaseUrl("sqlite:////nowhere/at/all.db")))
    found = []
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        path = re.sub(r"\{[^}]*\}", "x", route.path_format)
        found += [(method, path) for method in route.methods]
    return sorted(found)


def test_the_route_table_is_worth_walking() -> None:
    assert len(routes()) > 40
    assert ("GET", "/metrics") in routes()
    assert ("GET", "/schema") in routes()


async def test_nothing_but_health_answers_without_a_valid_key(registry: RegistryInTest) -> None:
    never_made = f"stk_{'0' * 26}_{'A' * 43}"
    callers = [registry.client(None), registry.client(never_made), registry.client("x"), registry.client("")]
    for method, path in [*routes(), ("GET", "/no/such/path"), ("POST", "/health/live/x")]:
        for caller in callers:
            answer = await caller.request(method, path)
            if path in OPEN:
                assert answer.status_code in {200, 204, 405}, (method, path)
            else:
                assert (answer.status_code, slug(answer)) == (401, "unauthorized"), (method, path)
                offered = "Basic" if path.startswith("/schema") else "Bearer"
                assert answer.headers["WWW-Authenticate"].startswith(offered)
                assert never_made not in answer.text


async def test_a_browser_can_give_the_key_as_a_password(registry: RegistryInTest) -> None:
    key = registry.admin.headers["Authorization"].removeprefix("Bearer ")
    browser = registry.client(None)
    assert (await browser.get("/schema", auth=("anybody", key))).status_code == 200
    assert (await browser.get("/schema", auth=("anybody", key + "x"))).status_code == 401
    for wrong in ("Basic !!!", "Basic", "Bearer", f"Token {key}", "Bearer \udcff"):
        answer = await browser.get("/schema", headers=[(b"Authorization", wrong.encode("utf-8", "surrogateescape"))])
        assert answer.status_code == 401


async def test_a_key_is_shown_once_and_kept_as_its_hash(registry: RegistryInTest) -> None:
    answer = await registry.admin.post("/v1/access-keys", json={"name": " laptop ", "role": "admin"})
    assert answer.headers["Cache-Control"] == "no-store"
    new = answer.json()
    key, row = new["key"], new["access_key"]
    assert re.fullmatch(rf"stk_{row['id']}_[A-Za-z0-9_-]{{43}}", key)
    assert (row["name"], row["owner"], row["role"], row["profile_ids"]) == ("laptop", "laptop", "admin", [])
    listed = await registry.admin.get("/v1/access-keys")
    assert row in listed.json()["items"]
    assert key not in listed.text
    assert key_sha256(key) not in listed.text
    assert (await registry.client(key).get("/v1/resources")).status_code == 200


async def test_a_revoked_or_expired_key_is_worth_nothing(registry: RegistryInTest) -> None:
    client, row = await registry.caller("admin")
    assert (await client.get("/v1/resources")).status_code == 200
    path = f"/v1/access-keys/{row['id']}"
    soon = datetime.now(UTC) + timedelta(seconds=2)
    assert (await registry.admin.patch(path, json={"expires_at": soon.isoformat()})).status_code == 200
    while datetime.now(UTC) <= soon:
        await asyncio.sleep(0.05)
    assert (await client.get("/v1/resources")).status_code == 401
    assert (await registry.admin.patch(path, json={"expires_at": None})).status_code == 200
    assert (await client.get("/v1/resources")).status_code == 200
    assert (await registry.admin.delete(path)).status_code == 204
    assert (await client.get("/v1/resources")).status_code == 401
    assert (await registry.admin.delete(path)).status_code == 404


async def test_wrong_keys_are_refused_with_every_reason(registry: RegistryInTest) -> None:
    past = "2020-01-01T00:00:00Z"
    body = {"name": "x", "role": "user", "profile_ids": ["a", "b"], "expires_at": past}
    answer = await registry.admin.post("/v1/access-keys", json=body)
    assert set(wrong_paths(answer)) == {"profile_ids[0]", "profile_ids[1]", "expires_at"}
    no_zone = await registry.admin.post("/v1/access-keys", json={"name": "x", "expires_at": "2090-01-01T00:00:00"})
    assert "time zone" in wrong_paths(no_zone)["expires_at"]
    admin = await registry.admin.post("/v1/access-keys", json={"name": "x", "role": "admin", "profile_ids": ["a"]})
    assert "profile_ids" in wrong_paths(admin)
    empty = await registry.admin.post("/v1/access-keys", json={"name": " ", "owner": "\n", "rolle": "user"})
    assert set(wrong_paths(empty)) == {"name", "owner", "rolle"}


async def test_a_user_sees_only_what_was_granted_and_the_rest_looks_absent(registry: RegistryInTest) -> None:
    mine, other = await registry.resource("slurm_sudo"), await registry.resource("slurm_ssh")
    granted = await registry.profile(mine, name="granted")
    hidden = await registry.profile(mine, name="hidden")
    elsewhere = await registry.profile(other)
    user, row = await registry.caller("user", profile_ids=[granted["id"]])

    async def ids(path: str) -> list[str]:
        return [item["id"] for item in (await user.get(path)).json()["items"]]

    assert await ids("/v1/profiles") == [granted["id"]]
    assert await ids("/v1/resources") == [mine["id"]]
    assert await ids(f"/v1/resources/{mine['id']}/profiles") == [granted["id"]]
    assert (await user.get(f"/v1/profiles/{granted['id']}")).json() == granted
    absent = [f"/v1/profiles/{hidden['id']}", f"/v1/profiles/{elsewhere['id']}", f"/v1/resources/{other['id']}"]
    for path in [*absent, f"/v1/resources/{other['id']}/profiles"]:
        answer = await user.get(path)
        assert answer.status_code == 404
        nonsense = await user.get(re.sub(r"[0-9a-z]{26}", "0" * 26, path))
        assert nonsense.json()["title"] == answer.json()["title"]
    more = [granted["id"], elsewhere["id"]]
    assert (await registry.admin.patch(f"/v1/access-keys/{row['id']}", json={"profile_ids": more})).status_code == 200
    assert set(await ids("/v1/profiles")) == set(more)
    assert (await registry.admin.delete(f"/v1/profiles/{elsewhere['id']}")).status_code == 204
    assert (await registry.admin.get(f"/v1/access-keys/{row['id']}")).json()["profile_ids"] == [granted["id"]]


async def test_only_administrators_change_things(registry: RegistryInTest) -> None:
    resource = await registry.resource("slurm_sudo")
    profile = await registry.profile(resource)
    user, _ = await registry.caller("user", profile_ids=[profile["id"]])
    service, _ = await registry.caller("service")
    changes: list[tuple[str, str, object]] = [
        ("POST", "/v1/resources", seed("resource_local")),
        ("PUT", f"/v1/resources/{resource['id']}", seed("resource_local")),
        ("PATCH", f"/v1/resources/{resource['id']}", {}),
        ("DELETE", f"/v1/resources/{resource['id']}", None),
        ("POST", f"/v1/resources/{resource['id']}/profiles", seed("profile_slurm_sudo")),
        ("PUT", f"/v1/profiles/{profile['id']}", seed("profile_slurm_sudo")),
        ("PATCH", f"/v1/profiles/{profile['id']}", {}),
        ("DELETE", f"/v1/profiles/{profile['id']}", None),
        ("POST", "/v1/access-keys", {"name": "x"}),
        ("GET", "/v1/access-keys", None),
    ]
    for caller in (user, service):
        for method, path, body in changes:
            answer = await caller.request(method, path, json=body)
            assert (answer.status_code, slug(answer)) == (403, "forbidden"), (method, path)
    for_services = [("GET", "/v1/holds"), ("PUT", "/v1/holds/t"), ("GET", f"/v1/connections/{profile['id']}")]
    for method, path in [*for_services, ("POST", "/v1/access-keys/verify")]:
        assert (await user.request(method, path, json={})).status_code == 403


async def test_a_service_asks_whose_a_key_is(registry: RegistryInTest) -> None:
    resource = await registry.resource("slurm_sudo")
    profile = await registry.profile(resource)
    service, _ = await registry.caller("service")
    user, row = await registry.caller("user", profile_ids=[profile["id"]], owner="group")
    key = user.headers["Authorization"].removeprefix("Bearer ")
    answer = await service.post("/v1/access-keys/verify", json={"key_sha256": key_sha256(key)})
    assert answer.json() == {
        "key_id": row["id"],
        "role": "user",
        "owner": "group",
        "profile_ids": [profile["id"]],
        "expires_at": None,
    }
    unknown = await service.post("/v1/access-keys/verify", json={"key_sha256": "0" * 64})
    assert unknown.status_code == 404


async def test_the_last_use_of_a_key_is_written_lazily(sqlite_url: str) -> None:
    async with running_registry(sqlite_url, last_use_interval_seconds=0.05) as registry:
        client, row = await registry.caller("user")
        assert row["last_used_at"] is None
        await client.get("/v1/resources")
        async with asyncio.timeout(120):
            while (await registry.admin.get(f"/v1/access-keys/{row['id']}")).json()["last_used_at"] is None:
                await asyncio.sleep(0.02)


async def test_what_was_used_is_written_when_the_registry_stops(sqlite_url: str) -> None:
    async with running_registry(sqlite_url) as registry:
        client, row = await registry.caller("user")
        await client.get("/v1/resources")
        key = registry.admin.headers["Authorization"].removeprefix("Bearer ")
    async with running_registry(sqlite_url, key=key) as registry:
        again = (await registry.admin.get(f"/v1/access-keys/{row['id']}")).json()
        assert again["last_used_at"] is not None


async def test_beside_other_kinds_a_local_profile_is_for_administrators(registry: RegistryInTest) -> None:
    profile = await registry.profile(await registry.resource("local"))
    answer = await registry.admin.post("/v1/access-keys", json={"name": "x", "profile_ids": [profile["id"]]})
    assert answer.status_code == 422
    assert "only admin keys" in wrong_paths(answer)["profile_ids[0]"]
    _, row = await registry.caller("user")
    patched = await registry.admin.patch(f"/v1/access-keys/{row['id']}", json={"profile_ids": [profile["id"]]})
    assert "profile_ids[0]" in wrong_paths(patched)


async def test_where_only_local_is_served_it_can_be_granted_until_that_changes(sqlite_url: str) -> None:
    async with running_registry(sqlite_url, resource_types=frozenset({"local"})) as registry:
        profile = await registry.profile(await registry.resource("local"))
        user, _ = await registry.caller("user", profile_ids=[profile["id"]])
        assert (await user.get(f"/v1/profiles/{profile['id']}")).status_code == 200
        keys = [client.headers["Authorization"].removeprefix("Bearer ") for client in (registry.admin, user)]
    async with running_registry(sqlite_url, key=keys[0]) as registry:
        user = registry.client(keys[1])
        assert (await user.get(f"/v1/profiles/{profile['id']}")).status_code == 404
        verified = await registry.admin.post("/v1/access-keys/verify", json={"key_sha256": key_sha256(keys[1])})
        assert verified.json()["profile_ids"] == []


async def test_what_is_held_stays_until_it_is_released(registry: RegistryInTest) -> None:
    resource = await registry.resource("slurm_ssh")
    profile = await registry.profile(resource)
    service, _ = await registry.caller("service")
    hold = {"holder": "executor", "profile_id": profile["id"]}
    first = await service.put("/v1/holds/t1", json=hold)
    assert first.status_code == 200
    assert first.json()["resource_id"] == resource["id"]
    assert (await service.put("/v1/holds/t1", json=hold)).json() == first.json()
    assert (await service.get("/v1/holds/t1")).json() == first.json()
    for path in (f"/v1/profiles/{profile['id']}", f"/v1/resources/{resource['id']}"):
        refused = await registry.admin.delete(path)
        assert (refused.status_code, slug(refused)) == (409, "in-use")
        assert "executor" in refused.json()["detail"]
    # Running jobs keep their snapshot, so a held resource may be changed.
    moved = await registry.admin.patch(f"/v1/resources/{resource['id']}", json={"jobs_local_dir": "/elsewhere"})
    assert moved.status_code == 200
    assert [item["token"] for item in (await service.get("/v1/holds?holder=executor")).json()["items"]] == ["t1"]
    assert (await service.get("/v1/holds?holder=other")).json()["items"] == []
    assert (await service.delete("/v1/holds/t1")).status_code == 204
    assert (await service.delete("/v1/holds/t1")).status_code == 404
    assert (await registry.admin.delete(f"/v1/profiles/{profile['id']}")).status_code == 204
    too_late = await service.put("/v1/holds/t2", json=hold)
    assert (too_late.status_code, slug(too_late)) == (404, "not-found")


async def test_a_token_holds_one_thing(registry: RegistryInTest) -> None:
    profile = await registry.profile(await registry.resource())
    hold = {"holder": "executor", "profile_id": profile["id"]}
    answers = await asyncio.gather(*(registry.admin.put("/v1/holds/t", json=hold) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    other = await registry.admin.put("/v1/holds/t", json=hold | {"holder": "somebody"})
    assert (other.status_code, slug(other)) == (409, "conflict")


async def test_deleting_and_holding_at_once_never_leaves_a_hold_on_nothing(registry: RegistryInTest) -> None:
    resource = await registry.resource()
    for number in range(8):
        profile = await registry.profile(resource, name=f"p{number}")
        hold = {"holder": "executor", "profile_id": profile["id"]}
        deleted, held = await asyncio.gather(
            registry.admin.delete(f"/v1/profiles/{profile['id']}"),
            registry.admin.put(f"/v1/holds/{number}", json=hold),
        )
        assert (deleted.status_code, held.status_code) in {(204, 404), (409, 200)}


async def test_a_connection_is_profile_and_resource_together(registry: RegistryInTest) -> None:
    resource = await registry.resource("slurm_ssh")
    profile = await registry.profile(resource)
    service, _ = await registry.caller("service")
    answer = await service.get(f"/v1/connections/{profile['id']}")
    assert answer.json() == {"resource": resource, "profile": profile}
    assert (await service.get("/v1/connections/none")).status_code == 404


async def test_no_answer_repeats_a_key(registry: RegistryInTest) -> None:
    client, _ = await registry.caller("admin")
    secret = client.headers["Authorization"].split("_", 2)[2]
    for method, path in routes():
        answer = await client.request(method, path, json={})
        assert secret not in answer.text
