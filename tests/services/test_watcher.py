"""The poller at work: a real agent, real runners and job folders, a real Redis."""

import signal
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from services.poller.resource_watch import MIN_INTERVAL_SECONDS
from shared.pipes import AgentPool, Pipe, open_pipe
from shared.service.bus import Bus
from stoker.contracts.holds import Connection
from stoker.contracts.watches import WATCHES_CHANNEL
from stoker.errors import Unavailable
from tests.servers.redis import RedisServer
from tests.waiting import until
from tests.workshop import Workshop
from tests.workshop.watching import (
    Ears,
    ListingExecutor,
    OneConnection,
    RunningPoller,
    launched,
    listening,
    local_connection,
    polling,
)

pytestmark = pytest.mark.anyio
# Waits until a file is there, so that the test decides when a unit ends.
UNTIL_FILE = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.02)"


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path)
    yield made
    made.close()


class Scene:
    """Everything around one poller."""

    def __init__(self, workshop: Workshop, redis_url: str, ears: Ears, agents: AgentPool) -> None:
        self.workshop = workshop
        self.redis_url = redis_url
        self.ears = ears
        self.agents = agents
        self.connection = local_connection(workshop.path)
        self.executor = ListingExecutor(workshop.path)
        self.registry = OneConnection(self.connection)
        self.gate = workshop.path / "gate"

    async def batch(self, batch_id: str = "b1", **known: int) -> Path:
        """Launch a batch of one unit that waits for the gate, and list it."""
        folder = self.workshop.batch([sys.executable, "-c", UNTIL_FILE, str(self.gate)], [{}])
        native_id = await launched(self.agents, self.connection, folder)
        self.executor.lists(batch_id, str(folder.relative_to(self.workshop.path)), native_id=native_id, **known)
        return folder

    def tell_all(self, batch_id: str, folder: Path) -> tuple[int, int]:
        """Let the executor's list show everything that is in the files."""
        lengths = tuple((folder / name).stat().st_size for name in ("events.jsonl", "results.jsonl"))
        self.executor.learns(batch_id, events=lengths[0], results=lengths[1])
        return lengths[0], lengths[1]

    def shown(self, poller: RunningPoller) -> bool:
        """Whether the poller sees no difference any more."""
        profiles = poller.watcher.describe().profiles
        return bool(profiles) and not any(batch.differs for batch in profiles[0].batches)


@pytest.fixture
async def scene(workshop: Workshop, embedded_redis_url: str) -> AsyncGenerator[Scene]:
    agents = AgentPool()
    async with listening(embedded_redis_url) as ears:
        yield Scene(workshop, embedded_redis_url, ears, agents)
    await agents.close()


async def test_an_end_is_told_with_what_the_files_say(scene: Scene) -> None:
    folder = await scene.batch()
    async with polling(scene.redis_url, scene.executor, scene.registry):
        await until(lambda: bool(scene.ears.of("b1")))
        scene.gate.touch()
        await until(lambda: scene.ears.ended("b1"))
    last = scene.ears.of("b1")[-1]
    assert last.events_length == (folder / "events.jsonl").stat().st_size
    assert last.results_length == (folder / "results.jsonl").stat().st_size


async def test_a_dead_runner_is_told(scene: Scene) -> None:
    folder = await scene.batch()
    async with polling(scene.redis_url, scene.executor, scene.registry):
        await until(lambda: b"start" in (folder / "events.jsonl").read_bytes())
        runners = [p for p in psutil.process_iter(["cmdline"]) if str(folder) in (p.info["cmdline"] or [])]
        assert runners
        for runner in runners:
            runner.kill()
        await until(lambda: any(one.alive is False for one in scene.ears.of("b1")))
    assert not scene.ears.ended("b1")


async def test_a_difference_is_told_again_every_interval_until_the_list_shows_it(scene: Scene) -> None:
    folder = await scene.batch()
    async with polling(scene.redis_url, scene.executor, scene.registry) as poller:
        scene.gate.touch()
        await until(lambda: scene.ears.ended("b1"))
        told = len(scene.ears.of("b1"))
        await until(lambda: len(scene.ears.of("b1")) >= told + 3)
        assert len({(one.events_length, one.results_length) for one in scene.ears.of("b1")[told:]}) == 1
        del scene.executor.batches["b1"]
        await until(lambda: not poller.watcher.describe().profiles)
    assert (folder / "end.json").exists()


async def test_nothing_is_told_and_little_is_asked_when_nothing_differs(scene: Scene) -> None:
    folder = await scene.batch()
    async with polling(scene.redis_url, scene.executor, scene.registry, watch_list_seconds=3600) as poller:
        await until(lambda: b"start" in (folder / "events.jsonl").read_bytes())
        await until(lambda: bool(scene.ears.of("b1")))
        scene.tell_all("b1", folder)
        await until(lambda: scene.shown(poller))
        rounds, told, asked = poller.count("rounds"), len(scene.ears.messages), scene.executor.requests
        begun = time.monotonic()
        await until(lambda: poller.count("rounds") >= rounds + 8)
        assert poller.count("rounds") <= rounds + 8 + (time.monotonic() - begun) / MIN_INTERVAL_SECONDS
        assert len(scene.ears.messages) == told
        assert scene.executor.requests == asked
        assert poller.count("follows") == 1
        scene.gate.touch()


async def test_rounds_are_bounded_however_short_the_interval_and_many_the_hints(scene: Scene) -> None:
    await scene.batch()
    bus = Bus(scene.redis_url)
    begun = time.monotonic()
    async with polling(scene.redis_url, scene.executor, scene.registry) as poller:
        await until(lambda: poller.working)
        for _ in range(300):
            await bus.publish(WATCHES_CHANNEL, b"")
        await until(lambda: poller.count("rounds") >= 3)
        seconds = time.monotonic() - begun
        assert poller.count("rounds") <= 2 + seconds / MIN_INTERVAL_SECONDS
        assert scene.executor.requests <= 3 + seconds / 0.1 + seconds / (MIN_INTERVAL_SECONDS / 2)
    await bus.close()
    scene.gate.touch()


async def test_a_hint_brings_a_new_batch_in_without_waiting(scene: Scene) -> None:
    bus = Bus(scene.redis_url)
    async with polling(scene.redis_url, scene.executor, scene.registry, watch_list_seconds=3600) as poller:
        await until(lambda: scene.executor.requests >= 2)  # at the start, and when the bus was reached
        await scene.batch("b1")
        await bus.publish(WATCHES_CHANNEL, b"")
        await until(lambda: poller.working)
        await scene.batch("b2")
        await bus.publish(WATCHES_CHANNEL, b"")
        scene.gate.touch()
        await until(lambda: scene.ears.ended("b1") and scene.ears.ended("b2"))
    await bus.close()


async def test_more_batches_than_fit_one_request_are_all_followed(scene: Scene) -> None:
    for number in range(2500):
        folder = scene.workshop.path / f"job/batches/{number:05}"
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_text("{}\n")
        scene.executor.lists(f"b{number}", str(folder.relative_to(scene.workshop.path)))
    async with polling(scene.redis_url, scene.executor, scene.registry) as poller:
        await until(lambda: len({one.batch_id for one in scene.ears.observations()}) == 2500)
        shown = poller.watcher.describe().profiles[0]
        assert (shown.batch_count, len(shown.batches)) == (2500, 1000)


async def test_a_lost_pipe_is_opened_again_and_nothing_is_missed(scene: Scene) -> None:
    await scene.batch()
    own = set(psutil.Process().children())
    async with polling(scene.redis_url, scene.executor, scene.registry) as poller:
        await until(lambda: bool(scene.ears.of("b1")))
        for _ in range(3):
            follows = poller.count("follows")
            for agent in set(psutil.Process().children()) - own:
                agent.send_signal(signal.SIGKILL)
            await until(lambda follows=follows: poller.count("follows") > follows)  # type: ignore[misc]
        scene.gate.touch()
        await until(lambda: scene.ears.ended("b1"))


async def test_a_resource_out_of_reach_is_told_with_since_when_and_how_it_came_back(scene: Scene) -> None:
    cut = True

    async def opener(connection: Connection) -> Pipe:
        if cut:
            raise Unavailable("the cable is cut")
        return await open_pipe(connection)

    await scene.batch()
    agents = AgentPool(opener=opener, first_delay_seconds=0.05, longest_delay_seconds=0.2)
    before = time.time()
    async with polling(scene.redis_url, scene.executor, scene.registry, agents=agents) as poller:
        # Told again every interval, always with the same beginning.
        await until(lambda: len(scene.ears.health) >= 4)
        assert {health.reachable for health in scene.ears.health} == {False}
        assert len({health.since for health in scene.ears.health}) == 1
        assert before <= scene.ears.health[0].since <= time.time()
        assert "the cable is cut" in (scene.ears.health[0].error or "")
        assert not scene.ears.of("b1")
        cut = False
        await until(lambda: scene.ears.health[-1].reachable)
        assert poller.health is not None
        assert (poller.health.error, poller.health.watched_batches) == (None, 1)
        scene.gate.touch()
        await until(lambda: scene.ears.ended("b1"))


async def test_a_registry_that_is_away_delays_the_first_look_only(scene: Scene) -> None:
    await scene.batch()
    scene.registry.away = True
    async with polling(scene.redis_url, scene.executor, scene.registry) as poller:
        await until(lambda: poller.health is not None and not poller.health.reachable)
        assert poller.health is not None
        assert poller.health.error == "the registry is away"
        scene.registry.away = False
        await until(lambda: poller.health is not None and poller.health.reachable)
        scene.registry.away = True
        asked = scene.registry.requests
        await until(lambda: scene.registry.requests >= asked + 2)
        scene.gate.touch()
        await until(lambda: scene.ears.ended("b1"))
        assert poller.health.reachable


async def test_a_changed_connection_is_used_from_then_on(scene: Scene) -> None:
    await scene.batch()
    async with polling(scene.redis_url, scene.executor, scene.registry) as poller:
        await until(lambda: poller.count("follows") == 1)
        scene.registry.known = local_connection(scene.workshop.path, version=2)
        await until(lambda: poller.count("follows") == 2)
        scene.gate.touch()
        await until(lambda: scene.ears.ended("b1"))


async def test_an_executor_that_is_away_hears_all_of_it_when_it_is_back(scene: Scene) -> None:
    await scene.batch()
    async with polling(scene.redis_url, scene.executor, scene.registry) as poller:
        await until(lambda: poller.working)
        scene.executor.away = True
        asked = scene.executor.requests
        await until(lambda: scene.executor.requests > asked)
        scene.gate.touch()
        await until(lambda: scene.ears.ended("b1"))
        assert poller.watcher.describe().list_error == "the executor is away"
        told = len(scene.ears.of("b1"))
        scene.executor.away = False
        await until(lambda: len(scene.ears.of("b1")) > told)
        await until(lambda: poller.watcher.describe().list_error is None)


async def test_redis_may_be_killed_at_any_time(workshop: Workshop, redis_server: RedisServer) -> None:
    agents = AgentPool()
    async with listening(redis_server.url) as ears:
        scene = Scene(workshop, redis_server.url, ears, agents)
        await scene.batch()
        async with polling(redis_server.url, scene.executor, scene.registry) as poller:
            await until(lambda: bool(ears.of("b1")))
            redis_server.process.kill()
            scene.gate.touch()
            # Longer than the lease: the poller lets go, says so, and takes up its work again.
            await until(lambda: not poller.working)
            assert "Redis" in poller.watcher.describe().profiles[0].detail
            redis_server.process.start()
            await until(lambda: ears.ended("b1"))
            for _ in range(3):
                redis_server.process.kill()
                redis_server.process.start()
                told = len(ears.of("b1"))
                await until(lambda told=told: len(ears.of("b1")) > told)  # type: ignore[misc]
    await agents.close()


async def test_of_two_pollers_one_works_and_the_other_takes_over(workshop: Workshop, redis_url: str) -> None:
    agents = AgentPool()
    async with listening(redis_url) as ears:
        scene = Scene(workshop, redis_url, ears, agents)
        await scene.batch()
        async with polling(redis_url, scene.executor, scene.registry, poller_id="second") as second:
            async with polling(redis_url, scene.executor, scene.registry, poller_id="first") as first:
                await until(lambda: first.working or second.working)
                await until(lambda: bool(ears.of("b1")))
                assert [first.working, second.working].count(True) == 1
                idle = first if second.working else second
                await until(lambda: idle.watcher.describe().profiles[0].detail != "")
                assert "another poller" in idle.watcher.describe().profiles[0].detail
                assert idle.count("follows") == 0
                assert len({message.poller_id for message in ears.messages}) == 1
            await until(lambda: second.working)
            scene.gate.touch()
            await until(lambda: any(m.poller_id == "second" and m.observations[0].ended for m in ears.messages))
    await agents.close()


async def test_another_launch_of_a_batch_is_followed_under_its_own_id(scene: Scene) -> None:
    folder = await scene.batch()
    async with polling(scene.redis_url, scene.executor, scene.registry) as poller:
        await until(lambda: bool(scene.ears.of("b1")))
        scene.executor.lists("b1", str(folder.relative_to(scene.workshop.path)), native_id="never-started")
        await until(lambda: any(one.native_id == "never-started" for one in scene.ears.of("b1")))
        assert poller.count("follows") == 2
    scene.gate.touch()


async def test_it_says_what_it_watches_and_since_when(scene: Scene) -> None:
    folder = await scene.batch()
    before = datetime.now(UTC)
    async with polling(scene.redis_url, scene.executor, scene.registry) as poller:
        await until(lambda: b"start" in (folder / "events.jsonl").read_bytes())
        await until(lambda: bool(scene.ears.of("b1")))
        lengths = scene.tell_all("b1", folder)
        await until(lambda: scene.shown(poller) and poller.working)
        shown = poller.watcher.describe()
        assert shown.list_at is not None
        (profile,) = shown.profiles
        assert before <= profile.since <= datetime.now(UTC)
        assert profile.detail == ""
        assert profile.health is not None
        assert profile.health.reachable
        assert profile.health.last_look_at is not None
        (batch,) = profile.batches
        assert (batch.events_length, batch.results_length) == lengths
        assert (batch.ended, batch.alive, batch.differs) == (False, True, False)
        assert batch.job_id == "job"
    scene.gate.touch()


async def test_stopping_gives_the_lease_up(scene: Scene) -> None:
    await scene.batch()
    async with polling(scene.redis_url, scene.executor, scene.registry, lease_seconds=3600) as poller:
        await until(lambda: poller.working)
    bus = Bus(scene.redis_url)
    assert await bus.acquire_lease("poller:resource-1", "somebody else", 1)
    await bus.close()
    scene.gate.touch()


async def test_after_an_outage_of_redis_all_that_differs_is_told_at_once(
    scene: Scene, embedded_redis_server: RedisServer
) -> None:
    await scene.batch()
    scene.executor.interval_seconds = 3600
    async with polling(scene.redis_url, scene.executor, scene.registry, lease_seconds=3600) as poller:
        scene.gate.touch()
        await until(lambda: scene.ears.ended("b1"))
        embedded_redis_server.process.kill()
        embedded_redis_server.process.start()
        # Nothing moves any more, and the next round is an hour away; those who listen missed nothing that lasts.
        told = len(scene.ears.of("b1"))
        await until(lambda: len(scene.ears.of("b1")) > told)
        assert poller.working
