"""Resources and profiles over HTTP."""

import asyncio
from typing import Any

import pytest

from tests.workshop.registry import KINDS, RegistryInTest, running_registry, seed, slug, wrong_paths

pytestmark = [pytest.mark.anyio, pytest.mark.both_databases]


@pytest.mark.parametrize("kind", KINDS)
async def test_users_configurations_are_accepted_and_come_back_exactly_as_written(
    registry: RegistryInTest, kind: str
) -> None:
    resource = await registry.resource(kind)
    profile = await registry.profile(resource)
    assert resource["spec"] == seed(f"resource_{kind}")
    assert profile["spec"] == seed(f"profile_{kind}")
    for path, thing in (("resources", resource), ("profiles", profile)):
        answer = await registry.admin.get(f"/v1/{path}/{thing['id']}")
        assert (answer.status_code, answer.json(), answer.headers["ETag"]) == (200, thing, '"1"')


async def test_every_wrong_field_is_named_in_one_answer(registry: RegistryInTest) -> None:
    spec = seed("resource_slurm_sudo") | {
        "jobs_local_dir": "x",
        "jobs_poll_interval": -3,
        "colour": "red",
        "name": " ",
    }
    spec["jobs_runner_config"]["default_slurm_config"]["mem"] = "1g"
    spec["jobs_runner_config"]["batching_config"]["target_num_jobs"] = 99
    answer = await registry.admin.post("/v1/resources", json=spec)
    assert answer.status_code == 422
    assert slug(answer) == "invalid-request"
    assert set(wrong_paths(answer)) == {
        "jobs_local_dir",
        "jobs_poll_interval",
        "colour",
        "name",
        "jobs_runner_config.default_slurm_config.mem",
        "jobs_runner_config.batching_config.target_num_jobs",
    }


@pytest.mark.parametrize(
    ("content", "headers", "status", "kind"),
    [
        (b"{", {"Content-Type": "application/json"}, 400, "malformed-body"),
        (b"", {"Content-Type": "application/json"}, 400, "malformed-body"),
        (b"name=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported-media-type"),
        (b"{}", {}, 415, "unsupported-media-type"),
        (b" " * 2_000_000, {"Content-Type": "application/json"}, 413, "payload-too-large"),
    ],
)
async def test_bodies_that_are_not_json_are_refused(
    registry: RegistryInTest, content: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    answer = await registry.admin.post("/v1/resources", content=content, headers=headers)
    assert (answer.status_code, slug(answer)) == (status, kind)


async def test_names_are_stripped_and_unique(registry: RegistryInTest) -> None:
    resource = await registry.resource(name="  Lab  ")
    assert resource["name"] == resource["spec"]["name"] == "Lab"
    again = await registry.admin.post("/v1/resources", json=seed("resource_local") | {"name": "Lab "})
    assert (again.status_code, slug(again)) == (409, "duplicate-name")
    assert "name" in wrong_paths(again)
    other = await registry.resource(name="Other")
    renamed = await registry.admin.patch(f"/v1/resources/{other['id']}", json={"name": "Lab"})
    assert (renamed.status_code, slug(renamed)) == (409, "duplicate-name")

    await registry.profile(resource, name="Me")
    twice = await registry.admin.post(
        f"/v1/resources/{other['id']}/profiles", json=seed("profile_local") | {"name": "Me"}
    )
    assert (twice.status_code, slug(twice)) == (409, "duplicate-name")


async def test_replacing_forgets_what_is_not_written_and_patching_keeps_it(registry: RegistryInTest) -> None:
    resource = await registry.resource()
    path = f"/v1/resources/{resource['id']}"
    patched = await registry.admin.patch(path, json={"jobs_poll_interval": None, "prevent_new_submissions": True})
    expected = seed("resource_local") | {"prevent_new_submissions": True}
    del expected["jobs_poll_interval"]
    assert (patched.status_code, patched.json()["spec"], patched.json()["version"]) == (200, expected, 2)
    nested = await registry.admin.patch(path, json={"tasks_python_config": {"versions": {"3.13": "/p"}}})
    assert set(nested.json()["spec"]["tasks_python_config"]["versions"]) == {"3.12", "3.13"}
    replaced = await registry.admin.put(path, json=seed("resource_local"))
    assert (replaced.json()["spec"], replaced.json()["version"]) == (seed("resource_local"), 4)
    same = await registry.admin.put(path, json=seed("resource_local"))
    assert same.json() == replaced.json()


async def test_a_patch_is_checked_as_a_whole(registry: RegistryInTest) -> None:
    resource = await registry.resource()
    path = f"/v1/resources/{resource['id']}"
    answer = await registry.admin.patch(path, json={"tasks_python_config": {"default_version": "2.7"}, "name": None})
    assert set(wrong_paths(answer)) == {"tasks_python_config.default_version", "name"}
    for body in ("[]", '"x"', "null"):
        answer = await registry.admin.patch(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422
    assert (await registry.admin.get(path)).json() == resource


async def test_a_change_based_on_an_older_version_is_refused(registry: RegistryInTest) -> None:
    resource = await registry.resource()
    path = f"/v1/resources/{resource['id']}"
    for stale in ('"7"', 'W/"1"', "nonsense", ""):
        answer = await registry.admin.patch(path, json={"jobs_poll_interval": 1}, headers={"If-Match": stale})
        assert (answer.status_code, slug(answer)) == (412, "precondition-failed")
    first = await registry.admin.patch(path, json={"jobs_poll_interval": 1}, headers={"If-Match": '"9", "1"'})
    assert (first.status_code, first.headers["ETag"]) == (200, '"2"')
    second = await registry.admin.put(path, json=seed("resource_local"), headers={"If-Match": '"1"'})
    assert second.status_code == 412
    assert (await registry.admin.delete(path, headers={"If-Match": '"1"'})).status_code == 412
    assert (await registry.admin.delete(path, headers={"If-Match": "*"})).status_code == 204
    assert (await registry.admin.get(path)).status_code == 404


async def test_of_many_changes_at_once_based_on_one_version_one_wins(registry: RegistryInTest) -> None:
    resource = await registry.resource()

    async def change(number: int) -> int:
        answer = await registry.admin.patch(
            f"/v1/resources/{resource['id']}", json={"jobs_poll_interval": 100 + number}, headers={"If-Match": '"1"'}
        )
        return answer.status_code

    statuses = await asyncio.gather(*(change(number) for number in range(10)))
    assert sorted(statuses) == [200] + [412] * 9


async def test_a_resource_with_profiles_keeps_its_type_and_stays(registry: RegistryInTest) -> None:
    resource = await registry.resource()
    path = f"/v1/resources/{resource['id']}"
    profile = await registry.profile(resource, name="The profile")
    deleted = await registry.admin.delete(path)
    assert (deleted.status_code, slug(deleted)) == (409, "in-use")
    assert "The profile" in deleted.json()["detail"]
    retyped = await registry.admin.put(path, json=seed("resource_slurm_ssh"))
    assert (retyped.status_code, slug(retyped)) == (409, "in-use")
    assert (await registry.admin.delete(f"/v1/profiles/{profile['id']}")).status_code == 204
    retyped = await registry.admin.put(path, json=seed("resource_slurm_ssh"))
    assert (retyped.status_code, retyped.json()["type"]) == (200, "slurm_ssh")
    assert (await registry.admin.delete(path)).status_code == 204


async def test_a_profile_has_the_type_of_its_resource(registry: RegistryInTest) -> None:
    resource = await registry.resource("local")
    wrong = await registry.admin.post(f"/v1/resources/{resource['id']}/profiles", json=seed("profile_slurm_ssh"))
    assert wrong.status_code == 422
    assert "local" in wrong_paths(wrong)["resource_type"]
    nowhere = await registry.admin.post("/v1/resources/none/profiles", json=seed("profile_local"))
    assert nowhere.status_code == 404
    profile = await registry.profile(resource)
    changed = await registry.admin.put(f"/v1/profiles/{profile['id']}", json=seed("profile_slurm_sudo"))
    assert "resource_type" in wrong_paths(changed)
    renamed = await registry.admin.patch(f"/v1/profiles/{profile['id']}", json={"name": "New"})
    assert (renamed.status_code, renamed.json()["name"], renamed.json()["version"]) == (200, "New", 2)


async def test_lists_are_filtered_and_come_in_pages(registry: RegistryInTest) -> None:
    ids = [(await registry.resource(name=f"r{number}"))["id"] for number in range(5)]
    sudo = await registry.resource("slurm_sudo")
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await registry.admin.get("/v1/resources", params=query)).json()
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == [*ids, sudo["id"]]

    async def listed(path: str) -> list[str]:
        return [item["id"] for item in (await registry.admin.get(path)).json()["items"]]

    assert await listed("/v1/resources?type=slurm_sudo") == [sudo["id"]]
    assert await listed("/v1/resources?name=r3") == [ids[3]]
    assert await listed("/v1/resources?name=nobody") == []
    profile = await registry.profile(sudo)
    assert await listed(f"/v1/resources/{sudo['id']}/profiles") == [profile["id"]]
    assert await listed(f"/v1/profiles?resource_id={ids[0]}") == []
    assert await listed(f"/v1/profiles?name={profile['name']}") == [profile["id"]]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=0", "query.limit"),
        ("limit=x", "query.limit"),
        ("type=ssh", "query.type"),
        ("cursor=%%", "query.cursor"),
    ],
)
async def test_wrong_parameters_are_named(registry: RegistryInTest, query: str, path: str) -> None:
    answer = await registry.admin.get(f"/v1/resources?{query}")
    assert answer.status_code == 422
    assert path in wrong_paths(answer)


async def test_strange_ids_are_just_not_there(registry: RegistryInTest) -> None:
    for strange in ("none", "%00", "'%20OR%201=1", "%F0%9F%92%A9", "x" * 3000):
        answer = await registry.admin.get(f"/v1/resources/{strange}")
        assert answer.status_code in {404, 422}, strange


async def test_an_instance_refuses_kinds_that_it_does_not_serve(sqlite_url: str) -> None:
    async with running_registry(sqlite_url) as everything:
        resource = await everything.resource("slurm_ssh")
        profile = await everything.profile(resource)
        key = everything.admin.headers["Authorization"].removeprefix("Bearer ")
    async with running_registry(sqlite_url, key=key, resource_types=frozenset({"local"})) as local_only:
        refused = await local_only.admin.post("/v1/resources", json=seed("resource_slurm_sudo"))
        assert refused.status_code == 422
        assert "STOKER_RESOURCE_TYPES" in wrong_paths(refused)["type"]
        await local_only.resource("local")
        unreachable = await local_only.admin.get(f"/v1/connections/{profile['id']}")
        assert (unreachable.status_code, slug(unreachable)) == (409, "conflict")


async def test_answers_say_what_was_ignored_or_changed_and_only_then(registry: RegistryInTest) -> None:
    exported = {"id": 7, "timestamp_created": "2025-10-01T08:00:00Z", "host": None} | seed("resource_local")
    resource = await registry.created("/v1/resources", exported)
    assert resource["spec"] == seed("resource_local")
    assert ["id was ignored" in resource["warnings"][0], len(resource["warnings"])] == [True, 2]
    path = f"/v1/resources/{resource['id']}"
    assert "warnings" not in (await registry.admin.get(path)).json()
    patched = (await registry.admin.patch(path, json={"jobs_poll_interval": "3"})).json()
    assert (patched["spec"]["jobs_poll_interval"], len(patched["warnings"])) == (3, 1)
    replaced = (await registry.admin.put(path, json=exported)).json()
    assert (replaced["spec"], len(replaced["warnings"])) == (seed("resource_local"), 2)
    profile = await registry.profile(resource, id=1, username=None)
    assert (profile["spec"], len(profile["warnings"])) == (seed("profile_local"), 1)
    assert "warnings" not in await registry.profile(resource, name="Another")
