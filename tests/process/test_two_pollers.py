"""Two poller processes beside real services: one works, and when it is killed the other takes over."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from stoker.clients.poller import PollerClient
from stoker.contracts.watches import Watches
from tests.servers.process import free_port
from tests.waiting import until
from tests.workshop.serving import World, ended

pytestmark = pytest.mark.anyio


class PollerProcess:
    """`python -m services.poller` on a port of its own."""

    def __init__(self, world: World, name: str) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.log = world.folder / f"{name}.log"
        self._key = world.admin_key
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.poller"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    "PATH": os.environ["PATH"],
                    "STOKER_LISTEN_PORT": str(port),
                    "STOKER_REDIS_URL": world.redis_url,
                    "STOKER_REGISTRY_URL": world.registry_url,
                    "STOKER_EXECUTOR_URL": world.executor_url,
                    "STOKER_SERVICE_KEY": world.service_key,
                    "STOKER_LEASE_SECONDS": "2",
                },
            )

    async def watches(self) -> Watches:
        async with PollerClient(self.url, self._key) as client:
            return await client.watches()

    async def working(self) -> bool:
        return any(profile.working for profile in (await self.watches()).profiles)

    async def ready(self) -> bool:
        async with PollerClient(self.url, self._key) as client:
            return await client.ready()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)


@contextmanager
def poller(world: World, name: str) -> Iterator[PollerProcess]:
    started = PollerProcess(world, name)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
        started.process.wait()


@pytest.fixture
async def world(tmp_path: Path, sqlite_url: str, embedded_redis_url: str) -> AsyncIterator[World]:
    made = World(tmp_path, sqlite_url, embedded_redis_url)
    async with made.registry() as made.registry_client:
        await made.add_local_resource(made.registry_client)
        yield made


async def one_works(first: PollerProcess, second: PollerProcess) -> tuple[PollerProcess, PollerProcess]:
    async def some_does() -> bool:
        return await first.working() or await second.working()

    await until(some_does, "a poller at work")
    return (first, second) if await first.working() else (second, first)


async def test_when_the_working_one_is_killed_the_other_takes_over_and_nothing_is_lost(world: World) -> None:
    gate = world.folder / "gate"
    async with world.executor() as executor:
        with poller(world, "first") as first, poller(world, "second") as second:
            await until(first.ready, "the first poller")
            await until(second.ready, "the second poller")
            job = await executor.submit(world.submission("sh", "-c", f"until test -e {gate}; do sleep 0.05; done"))
            working, idle = await one_works(first, second)

            async def idle_one_waits() -> bool:
                profiles = (await idle.watches()).profiles
                return [one.detail for one in profiles] == ["another poller works on this resource"]

            await until(idle_one_waits, "the other one's word that it waits")
            assert not psutil.Process(idle.process.pid).children()  # it holds no pipe
            agents = psutil.Process(working.process.pid).children()
            assert agents
            working.process.kill()
            gate.touch()
            await until(idle.working, "the other poller at work")
            assert (await ended(executor, job.id)).state == "succeeded"
            _, alive = psutil.wait_procs(agents, timeout=20)
            assert not alive  # the killed one's agents ended with it


async def test_one_that_wakes_up_after_another_took_over_lets_go(world: World) -> None:
    gate = world.folder / "gate"
    async with world.executor() as executor:
        with poller(world, "first") as first, poller(world, "second") as second:
            await until(first.ready, "the first poller")
            await until(second.ready, "the second poller")
            job = await executor.submit(world.submission("sh", "-c", f"until test -e {gate}; do sleep 0.05; done"))
            working, idle = await one_works(first, second)
            working.process.send_signal(signal.SIGSTOP)
            await until(idle.working, "the other poller at work")
            working.process.send_signal(signal.SIGCONT)
            assert not await working.working()
            assert await idle.working()
            gate.touch()
            assert (await ended(executor, job.id)).state == "succeeded"


async def test_a_stop_is_quick_gives_the_lease_up_and_leaves_no_process(world: World) -> None:
    gate = world.folder / "gate"
    async with world.executor() as executor:
        with poller(world, "first") as first:
            await until(first.ready, "the poller")
            job = await executor.submit(world.submission("sh", "-c", f"until test -e {gate}; do sleep 0.05; done"))
            await until(first.working, "the poller at work")
            agents = psutil.Process(first.process.pid).children()
            first.stop()
            assert first.process.returncode == 0, first.log.read_text()
            assert not psutil.wait_procs(agents, timeout=20)[1]
            assert world.service_key not in first.log.read_text()
            with poller(world, "second") as second:
                await until(second.ready, "the second poller")
                await until(second.working, "the second poller at work")
                gate.touch()
                assert (await ended(executor, job.id)).state == "succeeded"


def test_a_wrong_setting_names_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.poller"],
        env={"PATH": os.environ["PATH"], "STOKER_LEASE_SECONDS": "soon", "STOKER_REDIS_URL": "somewhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    for name in ("STOKER_LEASE_SECONDS", "STOKER_REDIS_URL", "STOKER_SERVICE_KEY"):
        assert name in done.stderr
