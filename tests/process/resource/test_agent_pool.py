"""The pool of connections: shared, re-opened, closed when quiet, and honest about what is away."""

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from shared.pipes import JOBS, AgentPool, Pipe, Place
from shared.pipes.child import ChildPipe
from shared.pipes.connection import AgentConnection
from shared.pipes.errors import PipeLost, Unreachable
from shared.pipes.local import open_local_pipe
from stoker.contracts.holds import Connection
from stoker.contracts.profiles import LocalProfileSpec, Profile, SlurmSudoProfileSpec
from stoker.contracts.resources import (
    LocalResourceSpec,
    LocalRunnerConfig,
    PythonConfig,
    Resource,
    SlurmSudoResourceSpec,
)
from stoker.errors import Unavailable
from tests.workshop import soon
from tests.workshop.registry import seed

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def connection(folder: Path, version: int = 1) -> Connection:
    spec = LocalResourceSpec(
        name="here",
        jobs_local_dir=str(folder),
        tasks_local_dir=str(folder),
        tasks_python_config=PythonConfig(default_version="3", versions={"3": "/usr/bin/python3"}),
        jobs_runner_config=LocalRunnerConfig(),
    )
    common = {"name": "here", "version": version, "created_at": NOW, "updated_at": NOW}
    resource = Resource(id="r", type="local", spec=spec, **common)
    profile = Profile(id="p", resource_id="r", resource_type="local", spec=LocalProfileSpec(name="here"), **common)
    return Connection(resource=resource, profile=profile)


class Opener:
    """Opens real pipes and remembers them; fails on demand."""

    def __init__(self) -> None:
        self.pipes: list[ChildPipe] = []
        self.tries = 0
        self.failure: Callable[[], Exception] | None = None

    async def __call__(self, _: Connection) -> Pipe:
        self.tries += 1
        if self.failure is not None:
            raise self.failure()
        self.pipes.append(await open_local_pipe())
        return self.pipes[-1]


async def test_requests_of_one_profile_share_one_connection(tmp_path: Path) -> None:
    opener = Opener()
    pool = AgentPool(opener=opener)
    agents = await asyncio.gather(*(pool.agent(connection(tmp_path)) for _ in range(20)))
    assert len(set(map(id, agents))) == opener.tries == 1
    other = await pool.agent(connection(tmp_path, version=2))
    assert other is not agents[0]
    await pool.close()
    assert all(not Path(f"/proc/{pipe.pid}").exists() for pipe in opener.pipes)
    with pytest.raises(Unavailable):
        await pool.agent(connection(tmp_path))


async def test_a_lost_connection_is_opened_again(tmp_path: Path) -> None:
    opener = Opener()
    pool = AgentPool(opener=opener)
    first = await pool.agent(connection(tmp_path))
    pending = asyncio.create_task(first.read_slice(Place(JOBS, "nothing"), 0, 1))
    os.kill(opener.pipes[0].pid, signal.SIGKILL)
    with pytest.raises(Exception):  # noqa: B017, PT011 - lost, or answered just before
        await pending
    await soon(lambda: first.lost)
    second = await pool.agent(connection(tmp_path))
    assert (await second.measure(Place(JOBS))).files == 0
    await pool.close()


async def test_a_resource_that_is_away_is_refused_at_once_and_tried_less_and_less(tmp_path: Path) -> None:
    opener = Opener()
    opener.failure = lambda: Unavailable("no route to host")
    pool = AgentPool(opener=opener, first_delay_seconds=0.05, longest_delay_seconds=0.2)
    with pytest.raises(Unreachable, match=r"here is unreachable since .*: no route to host") as first:
        await pool.agent(connection(tmp_path))
    for _ in range(50):
        with pytest.raises(Unreachable) as again:
            await pool.agent(connection(tmp_path))
        assert again.value.since == first.value.since
    assert opener.tries <= 3
    assert again.value.retry_after_seconds

    opener.failure = None

    async def comes_back() -> None:
        while True:
            try:
                await pool.agent(connection(tmp_path))
            except Unreachable:
                await asyncio.sleep(0.01)
            else:
                return

    async with asyncio.timeout(120):
        await comes_back()
    await pool.close()


async def test_a_quiet_connection_is_closed_and_opened_again_when_needed(tmp_path: Path) -> None:
    opener = Opener()
    pool = AgentPool(opener=opener, quiet_seconds=0.2)
    agent = await pool.agent(connection(tmp_path))
    (tmp_path / "log").write_bytes(bytes(1_000_000))
    async with agent.read(Place(JOBS, "log")):
        await asyncio.sleep(0.6)
        assert agent.lost is None, "it is in use"
    await soon(lambda: agent.lost)
    assert (await (await pool.agent(connection(tmp_path))).measure(Place(JOBS))).files == 1
    assert opener.tries == 2
    await pool.close()


async def test_an_agent_that_cannot_be_started_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await open_local_pipe("/no/such/python")


@pytest.mark.parametrize("closes", ["exec <&-", "cat >/dev/null & exec >&-"], ids=["input", "output"])
async def test_the_last_words_of_an_interpreter_are_told_though_they_come_after_its_end(
    tmp_path: Path, closes: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{closes}\nsleep 0.3\necho it is broken >&2\nexit 3\n")
    python.chmod(0o755)
    with pytest.raises(PipeLost, match=r"ended before an agent spoke: it is broken"):
        await AgentConnection.open(await open_local_pipe(str(python)), {JOBS: str(tmp_path)})


def cluster_connection(profile_id: str) -> Connection:
    """A profile of one cluster that is reached through sudo."""
    common = {"version": 1, "created_at": NOW, "updated_at": NOW}
    spec = msgspec.convert(seed("resource_slurm_sudo"), SlurmSudoResourceSpec)
    resource = Resource(id="cluster", name="cluster", type="slurm_sudo", spec=spec, **common)
    profile = Profile(
        id=profile_id,
        resource_id="cluster",
        name=profile_id,
        resource_type="slurm_sudo",
        spec=SlurmSudoProfileSpec(name=profile_id, username=profile_id),
        **common,
    )
    return Connection(resource=resource, profile=profile)


async def test_a_service_asks_a_scheduler_as_itself_by_one_agent_for_all_profiles(tmp_path: Path) -> None:
    own, opener = [], Opener()

    async def open_own() -> Pipe:
        own.append(await open_local_pipe())
        return own[-1]

    pool = AgentPool(opener=opener, own_opener=open_own)
    asked = [pool.scheduler_agent(cluster_connection(profile)) for profile in ("ada", "grace") * 5]
    agents = await asyncio.gather(*asked)
    assert len(set(map(id, agents))) == len(own) == 1
    assert opener.tries == 0
    users = await pool.agent(cluster_connection("ada"), {JOBS: str(tmp_path)})
    assert users is not agents[0]
    await pool.close()


async def test_asking_a_scheduler_as_the_user_opens_no_further_connection(tmp_path: Path) -> None:
    opener = Opener()
    pool = AgentPool(opener=opener)
    roots = {JOBS: str(tmp_path)}
    found = await asyncio.gather(
        pool.agent(cluster_connection("ada"), roots),
        *(pool.scheduler_agent(cluster_connection("ada"), as_user=True, roots={"x": "/"}) for _ in range(5)),
    )
    assert len(set(map(id, found))) == opener.tries == 1
    first = await pool.scheduler_agent(cluster_connection("grace"), as_user=True, roots=roots)
    assert await pool.agent(cluster_connection("grace"), roots) is first
    await pool.close()
