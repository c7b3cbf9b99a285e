"""The poller on a real cluster: one squeue for all, and nothing wrong is told while SLURM is away."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from services.poller.cluster.queues import Position, Queues
from services.poller.cluster.viewpoint import MIN_INTERVAL_SECONDS
from shared.service.connections import Connections
from shared.service.web.cursors import decode_cursor
from shared.slurm.answers.digests import ABSENT, digest_state
from stoker.contracts.keys import Caller
from stoker.errors import NotFound
from tests.servers.slurm.cluster import SlurmCluster
from tests.waiting import until
from tests.workshop.cluster_watching import RESOURCE_ID, ClusterScene
from tests.workshop.watching import Ears, RunningPoller, listening, polling

pytestmark = pytest.mark.anyio
_SLEEPS = "exec sleep 300"
_SECONDS = 120.0


@asynccontextmanager
async def watched(scene: ClusterScene, redis_url: str) -> AsyncGenerator[tuple[RunningPoller, Ears]]:
    """A poller at work on the scene."""
    async with (
        listening(redis_url) as ears,
        scene.agents() as agents,
        polling(redis_url, scene, scene, agents=agents) as poller,
    ):
        yield poller, ears


def digests(ears: Ears) -> dict[str, str]:
    """What was last told of each batch."""
    return {one.batch_id: one.scheduler for one in ears.observations() if one.scheduler is not None}


def states(ears: Ears) -> dict[str, str | None]:
    return {name: digest_state(digest) for name, digest in digests(ears).items()}


def looks(poller: RunningPoller, outcome: str = "answered") -> int:
    return poller.scheduler_calls(RESOURCE_ID, "queue", outcome)


async def more_looks(poller: RunningPoller, count: int) -> None:
    before = looks(poller)
    await until(lambda: looks(poller) >= before + count, f"{count} more looks", seconds=_SECONDS)


async def test_one_squeue_an_interval_tells_of_all_jobs_of_all_users(
    slurm_cluster: SlurmCluster, embedded_redis_url: str
) -> None:
    ada, grace = slurm_cluster.users.scientists
    scene = ClusterScene(slurm_cluster, ada, grace)
    names = {name for user in (ada, grace) for name in scene.submit(_SLEEPS, "--mem=20M", user=user, tasks=25)}
    slurm_cluster.commands.forget()
    begun = time.monotonic()
    async with watched(scene, embedded_redis_url) as (poller, ears):
        await until(lambda: digests(ears).keys() == names, "word of every batch", seconds=_SECONDS)
        await until(lambda: set(states(ears).values()) == {"RUNNING", "PENDING"}, "both states", seconds=_SECONDS)
        await more_looks(poller, 3)
        asked = slurm_cluster.commands.calls("squeue")
        assert abs(len(asked) - looks(poller)) <= 1  # one may be under way
        assert {call.uid for call in asked} == {slurm_cluster.users.stoker.uid}
        assert len(asked) <= 1 + (time.monotonic() - begun) / MIN_INTERVAL_SECONDS
        assert len(slurm_cluster.commands.calls("sacct")) == 0

        async def nothing_is_new() -> bool:
            scene.learns(digests(ears))
            told = len(ears.messages)
            await more_looks(poller, 2)
            return len(ears.messages) == told

        await until(nothing_is_new, "silence once the list shows it", seconds=_SECONDS)

        scene.forget()
        await until(lambda: not poller.watcher.describe().profiles, "nothing to watch")
        slurm_cluster.commands.forget()
        requests = scene.requests
        await until(lambda: scene.requests >= requests + 6, "some more lists")
        assert slurm_cluster.commands.calls() == []


async def test_while_the_controller_is_away_nothing_is_told_but_that_and_files_are_followed(
    slurm_cluster: SlurmCluster, embedded_redis_url: str
) -> None:
    ada = slurm_cluster.users.ada
    scene = ClusterScene(slurm_cluster, ada)
    (job,) = scene.submit("until [ -e go ]; do sleep 0.1; done", user=ada)
    async with watched(scene, embedded_redis_url) as (poller, ears):
        await until(lambda: states(ears) == {job: "RUNNING"}, "it runs", seconds=_SECONDS)
        scene.learns(digests(ears))
        slurm_cluster.daemons.controller.stop()
        with slurm_cluster.impatient():
            before = time.time()
            await until(lambda: _error(poller) is not None, "an error", seconds=_SECONDS)
            told = len(list(ears.observations()))
            slurm_cluster.run("touch", "go", user=ada)
            failed = looks(poller, "failed")
            await until(lambda: looks(poller, "failed") >= failed + 2, "looks that fail", seconds=_SECONDS)
            assert "SLURM's controller cannot be reached" in (_error(poller) or "")
            health = poller.watcher.health.of(ada.name)
            assert health is not None
            assert health.reachable
            assert health.scheduler_since is not None
            assert before - 60 < health.scheduler_since <= time.time()
            assert [one.scheduler for one in list(ears.observations())[told:] if one.scheduler] == []

            with (ada.home / "jobs" / job / "events.jsonl").open("ab") as events:
                events.write(b"{}\n")
            await until(lambda: any(one.events_length != len(b'{"event":"staged"}\n') for one in ears.of(job)[told:]))
            assert any(one.scheduler_error for one in ears.health)

        slurm_cluster.start_controller()
        await until(lambda: states(ears)[job] == "COMPLETED", "its end")
        assert _error(poller) is None
        assert set(_told_states(ears, job)) <= {"PENDING", "RUNNING", "COMPLETED"}
        # The executor has to look again while it lists what is over, also when it knows that.
        scene.learns(digests(ears))
        ended = _told_states(ears, job).count("COMPLETED")
        await until(lambda: _told_states(ears, job).count("COMPLETED") >= ended + 2, "told again", seconds=_SECONDS)


async def test_what_the_cluster_has_forgotten_is_told_as_absent_and_again(
    bare_cluster: SlurmCluster, embedded_redis_url: str
) -> None:
    ada = bare_cluster.users.ada
    scene = ClusterScene(bare_cluster, ada)
    (job,) = scene.submit("true", user=ada)
    (kept,) = scene.submit(_SLEEPS, user=ada)
    async with watched(scene, embedded_redis_url) as (_, ears):
        await until(lambda: digests(ears).get(job) == ABSENT, "it is absent", seconds=_SECONDS)
        told = len(ears.of(job))
        await until(lambda: len(ears.of(job)) >= told + 2, "told again", seconds=_SECONDS)
        assert ABSENT not in [one.scheduler for one in ears.of(kept)]
        assert ears.of(job)[-1].scheduler_state is None


async def test_where_users_do_not_see_each_others_jobs_each_looks_for_themselves(
    slurm_cluster: SlurmCluster, embedded_redis_url: str
) -> None:
    ada, grace = slurm_cluster.users.scientists
    scene = ClusterScene(slurm_cluster, ada, grace)
    with slurm_cluster.settings(PrivateData="jobs"):
        names = [name for user in (ada, grace) for name in scene.submit(_SLEEPS, user=user, tasks=2)]
        slurm_cluster.commands.forget()
        async with watched(scene, embedded_redis_url) as (poller, ears):
            await until(lambda: states(ears) == dict.fromkeys(names, "RUNNING"), "all run", seconds=_SECONDS)
            await more_looks(poller, 4)
            by_user = [call.uid for call in slurm_cluster.commands.calls("squeue")]
            assert set(by_user) == {ada.uid, grace.uid}
            assert abs(by_user.count(ada.uid) - by_user.count(grace.uid)) <= 1
            assert ABSENT not in [one.scheduler for one in ears.observations()]
            resource = poller.watcher.resource(RESOURCE_ID)
            assert resource is not None
            assert resource.cluster.last is not None
            assert {row.user for row in resource.cluster.last.rows} == {ada.name, grace.name}


async def test_the_queue_is_shown_from_the_shared_look_to_whom_it_concerns(
    slurm_cluster: SlurmCluster, embedded_redis_url: str
) -> None:
    ada, grace = slurm_cluster.users.scientists
    scene = ClusterScene(slurm_cluster, ada, grace)
    (first, *_) = scene.submit(_SLEEPS, "--job-name=mine", "--comment=c", user=ada, tasks=3)
    (theirs,) = scene.submit("true", "--hold", "--job-name=secret", user=grace)
    admin = Caller(key_id="k", role="admin", owner="o")
    user = Caller(key_id="u", role="user", owner="o", profile_ids=frozenset({ada.name, "deleted"}))
    stranger = Caller(key_id="s", role="user", owner="o", profile_ids=frozenset({"deleted"}))
    async with watched(scene, embedded_redis_url) as (poller, ears):
        queues = Queues(poller.watcher, Connections(scene, fresh_seconds=60))
        with pytest.raises(NotFound):
            await queues.page(admin, "another", after=None, limit=10)
        await until(lambda: states(ears).get(first) == "RUNNING", "it runs", seconds=_SECONDS)
        calls = len(slurm_cluster.commands.calls())
        made = looks(poller)
        seen = await queues.page(admin, RESOURCE_ID, after=None, limit=1000)
        assert seen.watched
        assert 0 <= seen.age_seconds < _SECONDS
        # Jobs of other tests may still be remembered.
        assert {(one.user, one.name) for one in seen.items} >= {(ada.name, "mine"), (grace.name, "secret")}
        (held,) = [one for one in seen.items if one.native_id == theirs]
        assert (held.state, held.waits, held.partition, held.cpus) == ("PENDING", True, "main", 1)
        assert held.reason == "held by its user: it starts after `scontrol release` (JobHeldUser)"
        assert held.submitted_at is not None

        restricted = await queues.page(user, RESOURCE_ID, after=None, limit=1000)
        assert {one.user for one in restricted.items} == {ada.name, None}
        assert [(one.user, one.account, one.name) for one in restricted.items if one.native_id == theirs] == [
            (None, None, None)
        ]
        assert [one.name for one in restricted.items if one.native_id == first] == ["mine"]
        with pytest.raises(NotFound):
            await queues.page(stranger, RESOURCE_ID, after=None, limit=10)

        found, cursor = [], None
        while True:
            part = await queues.page(admin, RESOURCE_ID, after=decode_cursor(cursor, Position), limit=2)
            found += [one.native_id for one in part.items]
            cursor = part.next_cursor
            if cursor is None:
                break
        assert len(found) == len(set(found)) == part.count
        assert {first, theirs} <= set(found)
        if looks(poller) == made:
            assert len(slurm_cluster.commands.calls()) == calls

        scene.forget()
        await until(lambda: not poller.watcher.describe().profiles, "nothing to watch")
        last = await queues.page(admin, RESOURCE_ID, after=None, limit=10)
        assert not last.watched
        assert last.items


def _error(poller: RunningPoller) -> str | None:
    return next((one.scheduler_error for one in poller.watcher.health.all()), None)


def _told_states(ears: Ears, batch_id: str) -> list[str]:
    return [one.scheduler_state for one in ears.of(batch_id) if one.scheduler_state is not None]
