"""The line is cut, or goes silent without a word, at each stage: what was asked is asked again, nothing is halved."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shared.pipes import JOBS, AgentConnection, AgentPool, FollowTarget, Place, StagedFile
from shared.pipes.ssh import SshLimits, open_ssh_pipe
from stoker.errors import Unavailable
from tests.servers.line import Line
from tests.servers.sshd import write_as
from tests.waiting import until
from tests.workshop.ssh import SshWorkshop, files_below

pytestmark = pytest.mark.anyio

BREAKS: dict[str, Callable[..., None]] = {"cut": Line.cut, "silent": Line.drop}
CONTENT = bytes(range(256)) * 8_000


@pytest.fixture(params=BREAKS)
def breaks(request: pytest.FixtureRequest) -> Callable[..., None]:
    return BREAKS[request.param]


@pytest.fixture
async def pool(ssh: SshWorkshop) -> AsyncIterator[AgentPool]:
    made = ssh.pool()
    yield made
    await made.close()


async def again_and_again(
    ssh: SshWorkshop, pool: AgentPool, work: Callable[[AgentConnection], Awaitable[None]]
) -> int:
    """Repeat until it succeeds, as the services do, on a line that works again once it was broken; count failures."""
    failures = 0
    async with asyncio.timeout(120):
        while True:
            try:
                await work(await pool.agent(ssh.connection()))
            except Unavailable as error:
                failures += 1
                if ssh.line.counts()["broken"]:
                    ssh.line.heal()
                await asyncio.sleep(error.retry_after_seconds or 0.1)
            else:
                return failures


@pytest.mark.parametrize("after_bytes", [0, 500, 3_000, 20_000])
async def test_while_connecting(
    ssh: SshWorkshop, pool: AgentPool, breaks: Callable[..., None], after_bytes: int
) -> None:
    async def look(agent: AgentConnection) -> None:
        assert (await agent.measure(Place(JOBS))).files == 0

    breaks(ssh.line, after_bytes=after_bytes)
    failures = await again_and_again(ssh, pool, look)
    assert failures >= (1 if after_bytes else 0)
    assert ssh.line.counts()["broken"] == 1


async def test_in_the_middle_of_staging(ssh: SshWorkshop, pool: AgentPool, breaks: Callable[..., None]) -> None:
    jobs = ssh.users.ada.home / "jobs"
    await pool.agent(ssh.connection())
    breaks(ssh.line, after_bytes=500_000)

    async def stage(agent: AgentConnection) -> None:
        assert await agent.stage(Place(JOBS, "job"), [StagedFile("a", CONTENT), StagedFile("b", b"b")])

    assert await again_and_again(ssh, pool, stage) >= 1
    assert (jobs / "job/a").read_bytes() == CONTENT
    # The agent of the silent line still waits there for the rest; the server ends it when it finds the line dead.
    staged = await pool.agent(ssh.connection())
    assert not await staged.stage(Place(JOBS, "job"), [StagedFile("c", b"")])
    left = [name for name in files_below(jobs) if not name.startswith(".staging-")]
    assert left == ["job", "job/a", "job/b"]
    if breaks is Line.cut:
        await until(lambda: files_below(jobs) == left, "the half-staged folder is gone")


async def test_while_results_are_fetched(ssh: SshWorkshop, pool: AgentPool, breaks: Callable[..., None]) -> None:
    agent = await pool.agent(ssh.connection())
    await agent.stage(
        Place(JOBS, "job"), [StagedFile(f"results/{number}", CONTENT[:200_000]) for number in range(10)]
    )
    breaks(ssh.line, after_bytes=900_000, towards_server=False)
    fetched: dict[str, bytes] = {}

    async def fetch(agent: AgentConnection) -> None:
        fetched.clear()
        async with agent.fetch(Place(JOBS, "job")) as files:
            async for file in files:
                fetched[file.name] = b"".join([chunk async for chunk in file.chunks])

    ssh_failures = await again_and_again(ssh, pool, fetch)
    assert ssh_failures == 1
    assert fetched == {f"results/{number}": CONTENT[:200_000] for number in range(10)}


async def test_while_a_log_is_followed(ssh: SshWorkshop, pool: AgentPool, breaks: Callable[..., None]) -> None:
    ada = ssh.users.ada
    agent = await pool.agent(ssh.connection())
    await agent.stage(Place(JOBS, "batch"), [StagedFile("events.jsonl", b"one\n"), StagedFile("results.jsonl", b"")])
    known = {"length": 0, "failures": 0}
    read = bytearray()

    async def follow() -> None:
        while known["length"] < 12:
            target = FollowTarget(root=JOBS, path="batch", events_length=known["length"])
            try:
                current = await pool.agent(ssh.connection())
                async with current.follow([target]) as seen:
                    async for one in seen:
                        piece = await current.read_slice(Place(JOBS, "batch/events.jsonl"), len(read), 1000)
                        read.extend(piece.data)
                        known["length"] = one.events_length
            except Unavailable:
                known["failures"] += 1
                ssh.line.heal()
                await asyncio.sleep(0.1)

    async with asyncio.timeout(120):
        following = asyncio.create_task(follow())
        await until(lambda: known["length"] == 4, "the first line is seen")
        breaks(ssh.line)
        write_as(ada, ada.home / "jobs/batch/events.jsonl", "one\ntwo\nsix\n")
        await until(lambda: known["failures"] > 0, "the loss is noticed")
        await until(lambda: known["length"] == 12, "the rest is seen")
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
    assert read == b"one\ntwo\nsix\n"


async def test_a_silent_line_is_found_out_also_when_nobody_asks(ssh: SshWorkshop) -> None:
    agent = await ssh.agent()
    ssh.line.drop()
    await until(lambda: agent.lost is not None, "the loss is noticed")
    assert "nothing was heard of" in str(agent.lost)
    await agent.close()


async def test_a_quiet_line_that_works_is_kept(ssh: SshWorkshop) -> None:
    agent = await ssh.agent()
    before = ssh.line.counts()["towards_client"]
    await until(lambda: ssh.line.counts()["towards_client"] > before + 100, "the host gives signs of life")
    assert agent.lost is None
    assert (await agent.measure(Place(JOBS))).files == 0
    assert ssh.line.counts()["connections"] == 1
    await agent.close()


async def test_nothing_is_held_up_while_connections_hang(ssh: SshWorkshop) -> None:
    """Many more of them than the default pool has threads; other profiles and other blocking work go on."""
    silent = ssh.new_line(ssh.server.port)
    silent.drop()
    limits = SshLimits(connect=100, banner=100, open=100)
    hanging = ssh.connection(host=f"127.0.0.1:{silent.port}")
    attempts = [asyncio.create_task(open_ssh_pipe(hanging, str(ssh.known_hosts), limits)) for _ in range(40)]
    await until(lambda: silent.counts()["connections"] == 40, "all of them hang")

    longest, last = 0.0, time.monotonic()

    async def tick() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    ticking = asyncio.create_task(tick())
    agent = await ssh.agent()
    async with asyncio.timeout(120):
        assert await asyncio.to_thread(lambda: 1) == 1
        for number in range(20):
            assert (await agent.find(Place(JOBS, f"job-{number}"), ["00000"]))["00000"].exists is False
    assert not any(attempt.done() for attempt in attempts)
    for attempt in attempts:
        attempt.cancel()
    await asyncio.gather(*attempts, return_exceptions=True)
    ticking.cancel()
    assert longest < limits.banner / 2, "the event loop stood still"
    await agent.close()
    await until(
        lambda: not [one for one in threading.enumerate() if one.name.startswith("ssh ")], "no thread is left"
    )


async def test_a_profile_that_cannot_be_reached_is_refused_at_once_and_others_are_not(ssh: SshWorkshop) -> None:
    pool = ssh.pool()
    grace = ssh.users.grace
    ssh.server.admit(grace, ssh.public_key)
    wrong = ssh.connection(ssh_key_path="/no/such/key")
    tries = 0
    for _ in range(200):
        with pytest.raises(Unavailable, match=r"cluster is unreachable since .*no key file /no/such/key"):
            await pool.agent(wrong)
        tries += 1
    assert tries == 200
    assert (await pool.agent(ssh.connection(grace))).hello.user == grace.name
    assert ssh.line.counts()["connections"] == 1
    await pool.close()
