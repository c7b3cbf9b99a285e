"""Whatever is in the place of the files that an agent looks at: it answers, and nobody else waits for it."""

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.pipes import JOBS, AgentConnection, FollowTarget, Place
from stoker.errors import StokerError, Unavailable
from tests.waiting import until
from tests.workshop import Workshop
from tests.workshop.silent_file_systems import POSSIBLE, REASON, silent

pytestmark = pytest.mark.anyio

JOB = Place(JOBS, "2026-11/hostile")
HONEST = Place(JOBS, "2026-11/honest")
FILES = ["alive.zz", "alive.local-1", "claim", "claim.r1", "end.json", "events.jsonl", "results.jsonl", "runner.log"]
FILES += ["batch.json", "units.jsonl", "stop", "logs"]
CLAIM = {"kind": "runner", "native_id": "local-1", "restart": 0, "host": "h", "boot_id": "b", "pid": 1}
CLAIM |= {"start_time": 1, "nonce": "n", "at": 1.0}
END = {"how": "complete", "at": 1.0, "native_id": "local-1", "restart": 0, "results": 1, "reason": ""}


def folder_of(tmp_path: Path, job: Place = JOB) -> Path:
    """The folder of a job's one batch."""
    folder = tmp_path / job.path / "batches" / "00000"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def a_socket(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


STRANGE: dict[str, Callable[[Path], None]] = {
    "fifo": os.mkfifo,
    "folder": Path.mkdir,
    "link": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path),
    "socket": a_socket,
    "endless nesting": lambda path: path.write_bytes(b"[" * 3_000_000),
    "endless number": lambda path: path.write_bytes(b"9" * 3_000_000),
    "3 GB of nothing": lambda path: (path.touch(), os.truncate(path, 3 * 1024**3))[0],
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe\x00"),
}


async def all_verbs(agent: AgentConnection, job: Place) -> None:
    """Do with a job whatever can be done with one; refusals are answers, silence is none."""
    batch = job / "batches" / "00000"
    async with asyncio.timeout(60):
        found = (await agent.find(job, ["00000"]))["00000"]
        assert found.claim is None or found.claim.kind in ("damaged", "runner")
        for name in FILES:
            with contextlib.suppress(StokerError):
                await agent.read_slice(batch / name, 0, 1000)
        await agent.launch(job, ["00000"])
        await agent.cancel(job, ["00000"])
        assert (await agent.revoke(job, ["00000"]))["00000"].claim.kind in ("damaged", "revoked")
        await agent.find(job, ["00000"])
        await agent.measure(job)
        # Of what claims to be long not all is fetched.
        async with agent.fetch(job) as files:
            async for file in files:
                if file.size > 10_000_000:
                    break
                async for _ in file.chunks:
                    pass
        assert (await agent.remove(job)).removed


@pytest.mark.parametrize("kind", STRANGE)
async def test_anything_in_the_place_of_all_files_is_answered_about(
    agent: AgentConnection, tmp_path: Path, kind: str
) -> None:
    folder = folder_of(tmp_path)
    for name in FILES:
        STRANGE[kind](folder / name)
    await all_verbs(agent, JOB)
    assert agent.lost is None
    assert not (tmp_path / JOB.path).exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"restart": 10**30},
        {"pid": "1"},
        {"at": float("inf")},
        {"at": 1e300},
        {"native_id": "\udcff"},
        {"native_id": "../../x"},
        {"host": "\0"},
        {"host": "h" * 10_000},
        {"kind": "none"},
        {"kind": ["runner"]},
        {"nonce": None},
    ],
)
async def test_a_claim_that_is_none_is_said_and_keeps_nobody_from_ending_the_batch(
    agent: AgentConnection, tmp_path: Path, changes: dict[str, object]
) -> None:
    (folder_of(tmp_path) / "claim").write_text(json.dumps(CLAIM | changes))
    found = (await agent.find(JOB, ["00000"]))["00000"]
    assert found.claim is not None
    assert found.claim.kind == "damaged"
    assert found.damage == ["the file claim makes no sense"]
    await all_verbs(agent, JOB)


@pytest.mark.parametrize(
    "changes",
    [{"how": "maybe"}, {"at": 1e300}, {"results": -1}, {"results": 2**70}, {"native_id": "\ud800"}, {"restart": "x"}],
)
async def test_an_end_record_that_is_none_is_said(
    agent: AgentConnection, tmp_path: Path, changes: dict[str, object]
) -> None:
    (folder_of(tmp_path) / "end.json").write_text(json.dumps(END | changes))
    found = (await agent.find(JOB, ["00000"]))["00000"]
    assert not found.ended
    assert found.damage == ["the file end.json makes no sense"]


async def test_long_words_of_an_end_record_are_cut(agent: AgentConnection, tmp_path: Path) -> None:
    record = json.dumps(END | {"reason": "a\0\ud800\n" + "x" * 30_000})
    (folder_of(tmp_path) / "end.json").write_text(record)
    end = (await agent.find(JOB, ["00000"]))["00000"].end
    assert end is not None
    assert end.reason.startswith("a\ufffd\ufffd")
    assert len(end.reason) == 2000


async def test_thousands_of_launches_and_folders_as_deep_as_they_get(agent: AgentConnection, tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for number in range(3000):
        (folder / f"alive.{number:05d}").touch()
    (folder / os.fsdecode(b"alive.\xff")).touch()
    current = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=current)
        below = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = below
    os.close(current)
    found = (await agent.find(JOB, ["00000"]))["00000"]
    assert 0 < len(found.launches) <= 100
    await all_verbs(agent, JOB)


@pytest.mark.parametrize("part", ["", "batches", "batches/00000"])
@pytest.mark.parametrize("kind", ["link", "fifo", "a file"])
async def test_a_folder_that_was_replaced_can_be_revoked_and_removed(
    agent: AgentConnection, tmp_path: Path, part: str, kind: str
) -> None:
    replaced = folder_of(tmp_path).parent.parent / part
    replaced.rename(tmp_path / "elsewhere")
    if kind == "link":
        replaced.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(replaced)
    else:
        replaced.touch()
    assert not (await agent.find(JOB, ["00000"]))["00000"].exists
    assert (await agent.cancel(JOB, ["00000"]))["00000"].claim is None
    assert (await agent.revoke(JOB, ["00000"]))["00000"].claim.kind == "revoked"
    assert (await agent.remove(JOB)).removed


async def test_what_hangs_is_said_and_costs_the_others_nothing(agent: AgentConnection, tmp_path: Path) -> None:
    if not POSSIBLE:
        pytest.skip(REASON)
    folder, honest = folder_of(tmp_path), folder_of(tmp_path, HONEST)
    targets = [
        FollowTarget(root=JOBS, path=f"{job.path}/batches/00000", native_id="local-1") for job in (JOB, HONEST)
    ]
    with silent(folder):
        async with agent.follow(targets) as seen:
            waiting = asyncio.create_task(agent.find(JOB, ["00000"]))
            began = time.monotonic()
            assert (await agent.find(HONEST, ["00000"]))["00000"].exists
            assert time.monotonic() - began < 10
            (honest / "events.jsonl").write_text("{}\n")
            async with asyncio.timeout(60):
                while True:
                    one = await anext(seen)
                    if one.target == 1 and one.events_length == 3:
                        break
            with pytest.raises(Unavailable, match="hostile does not answer"):
                await waiting
            assert agent.lost is None
            # Nobody else is sent after the one who waits.
            began = time.monotonic()
            for _ in range(200):
                with pytest.raises(Unavailable, match="hostile does not answer"):
                    await agent.find(JOB, ["00000"])
            assert time.monotonic() - began < 10
            assert (await agent.find(HONEST, ["00000"]))["00000"].events_length == 3

    async def answers() -> bool:
        with contextlib.suppress(Unavailable):
            return (await agent.find(JOB, ["00000"]))["00000"].exists
        return False

    await until(answers, "the place answers again")
    assert agent.lost is None


async def test_as_many_batches_as_a_job_may_have_are_asked_about_in_parts(
    agent: AgentConnection, workshop: Workshop, tmp_path: Path
) -> None:
    del workshop
    names = [f"{number:05d}" for number in range(1200)]
    for name in names:
        folder = tmp_path / JOB.path / "batches" / name
        folder.mkdir(parents=True)
        (folder / "runner.log").write_text("\N{SNOWMAN}" * 4000)
        (folder / "claim").write_text(json.dumps(CLAIM | {"host": "h" * 255}))
    found = await agent.find(JOB, names)
    assert found.keys() == set(names)
    assert all(len(one.runner_log_tail) == 2000 for one in found.values())
    assert (await agent.cancel(JOB, names)).keys() == set(names)
    assert (await agent.revoke(JOB, names)).keys() == set(names)
