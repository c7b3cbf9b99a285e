"""Staging, reading, fetching and removing through a real agent; confinement; full and read-only disks."""

import asyncio
import contextlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.pipes import JOBS, AgentConnection, Place, Refused, StagedFile
from shared.pipes.child import ChildPipe
from shared.pipes.local import open_local_pipe
from shared.pipes.staged_files import tar_stream
from stoker.errors import Invalid, NotFound, Unavailable
from tests.workshop import Workshop, results_of, soon

pytestmark = pytest.mark.anyio

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def open_agent(root: Path) -> tuple[ChildPipe, AgentConnection]:
    pipe = await open_local_pipe()
    return pipe, await AgentConnection.open(pipe, {JOBS: str(root)})


async def test_what_is_staged_is_there_as_it_was_given(agent: AgentConnection, tmp_path: Path) -> None:
    large = os.urandom(3_000_000)
    (tmp_path / "source").write_bytes(b"from a file")
    long_name = "/".join(["d" * 200, "e" * 200, "ü b'\"\n$(x)"])
    files = [
        StagedFile("a.txt", b"hello", mode=0o755),
        StagedFile("sub/empty", b""),
        StagedFile("sub/large", (large[i : i + 100_000] for i in range(0, len(large), 100_000)), size=len(large)),
        StagedFile("sub/path", tmp_path / "source"),
        StagedFile(long_name, b"long"),
    ]
    assert await agent.stage(Place(JOBS, "2026-11/job"), files)

    folder = tmp_path / "2026-11" / "job"
    assert (folder / "a.txt").read_bytes() == b"hello"
    assert (folder / "a.txt").stat().st_mode & 0o777 == 0o755
    assert (folder / "sub" / "large").read_bytes() == large
    assert (folder / "sub" / "path").read_bytes() == b"from a file"
    assert (folder / long_name).read_bytes() == b"long"
    assert folder.stat().st_mode & 0o077 == 0


async def test_staging_again_leaves_what_is_there(agent: AgentConnection, tmp_path: Path) -> None:
    place = Place(JOBS, "job")
    assert await agent.stage(place, [StagedFile("a", b"1")])
    assert not await agent.stage(place, [StagedFile("a", b"2"), StagedFile("b", bytes(5_000_000))])
    assert (tmp_path / "job" / "a").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["job"]


async def test_staging_twice_at_once_creates_once(agent: AgentConnection, tmp_path: Path) -> None:
    for number in range(10):
        place = Place(JOBS, f"job-{number}")
        made = await asyncio.gather(*(agent.stage(place, [StagedFile("who", b"%d" % i * 300_000)]) for i in range(4)))
        assert sorted(made) == [False, False, False, True]
        assert (tmp_path / place.path / "who").read_bytes() == b"%d" % made.index(True) * 300_000
    assert len(list(tmp_path.iterdir())) == 10


def kill(pipe: ChildPipe) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pipe.pid, signal.SIGKILL)


async def test_staging_is_complete_or_absent_when_the_agent_is_killed(tmp_path: Path) -> None:
    created = absent = 0
    for number in range(12):
        pipe, agent = await open_agent(tmp_path)

        async def files(pipe: ChildPipe = pipe, number: int = number) -> AsyncIterator[StagedFile]:
            for i in range(8):
                if i == number:
                    kill(pipe)
                yield StagedFile(f"file-{i}", bytes([i]) * 50_000)
            if number >= 8:
                asyncio.get_running_loop().call_later(0.002 * (number - 8), kill, pipe)

        with contextlib.suppress(Unavailable):
            await agent.stage(Place(JOBS, f"job-{number}"), files())
        await agent.close()
        folder = tmp_path / f"job-{number}"
        if folder.exists():
            created += 1
            assert sorted(path.name for path in folder.iterdir()) == [f"file-{i}" for i in range(8)]
            assert all(path.stat().st_size == 50_000 for path in folder.iterdir())
        else:
            absent += 1
    assert absent >= 8

    _, agent = await open_agent(tmp_path)
    for number in range(12):
        await agent.stage(Place(JOBS, f"job-{number}"), [StagedFile("a", b"")])
    await agent.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"job-{number}" for number in range(12))


async def test_a_staging_that_is_given_up_leaves_nothing(agent: AgentConnection, tmp_path: Path) -> None:
    def breaks() -> Iterator[StagedFile]:
        yield StagedFile("a", bytes(500_000))
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        await agent.stage(Place(JOBS, "job"), breaks())
    await soon(lambda: not list(tmp_path.iterdir()))


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    head = tarfile.TarInfo(name)
    head.type, head.linkname = kind, link
    return head.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


async def test_a_source_that_fails_says_nothing_of_the_pipe(agent: AgentConnection, tmp_path: Path) -> None:
    async def files() -> AsyncIterator[StagedFile]:
        yield StagedFile("first", b"x")
        raise Unavailable("the database is away")

    with pytest.raises(Unavailable, match="database"):
        await agent.stage(Place(JOBS, "job"), files())
    assert agent.lost is None
    assert not (tmp_path / "job").exists()
    assert await agent.stage(Place(JOBS, "job"), [StagedFile("first", b"x")])


@pytest.mark.parametrize(
    "archive",
    [
        _member("/etc/evil"),
        _member("../evil"),
        _member("a/../../evil"),
        _member("a//b"),
        _member("link", tarfile.SYMTYPE, "/etc"),
        _member("hard", tarfile.LNKTYPE, "/etc/passwd"),
        _member("device", tarfile.CHRTYPE),
        _member("fifo", tarfile.FIFOTYPE),
        _member("twice")[:512] + _member("twice"),
        b"this is no tar at all" * 100,
        bytes(1024),
        b"",
    ],
)
async def test_archives_with_anything_but_plain_files_are_refused(
    agent: AgentConnection, tmp_path: Path, archive: bytes
) -> None:
    with pytest.raises(Invalid):
        async with agent._exchange.call("stage", {"root": JOBS, "path": "job"}) as call:
            await agent._exchange.send_data(call, archive, 5)
            await agent._exchange.send_end(call)
            await call.answer(5)
    await soon(lambda: not list(tmp_path.iterdir()))
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize(
    "path", ["/etc", "../x", "a/../b", "a//b", ".", "a/./b", "a\0b", "x" * 300, "y/" * 3000 + "y"]
)
async def test_paths_that_are_not_plainly_below_the_root_are_refused(agent: AgentConnection, path: str) -> None:
    place = Place(JOBS, path)
    with pytest.raises(Invalid):
        await agent.measure(place)
    with pytest.raises(Invalid):
        await agent.remove(place)
    with pytest.raises(Invalid):
        await agent.read_slice(place, 0, 10)
    with pytest.raises(Invalid):
        await agent.find(Place(JOBS, "job"), [path])


async def test_links_that_lead_out_are_not_followed(agent: AgentConnection, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (tmp_path / "out").symlink_to(outside)
    (tmp_path / "file").symlink_to(outside / "secret")
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "batches").symlink_to(outside)

    for act in (
        agent.read_slice(Place(JOBS, "out/secret"), 0, 10),
        agent.read_slice(Place(JOBS, "file"), 0, 10),
        agent.stage(Place(JOBS, "out/new"), [StagedFile("a", b"")]),
        agent.measure(Place(JOBS, "out")),
        agent.remove(Place(JOBS, "out/secret")),
    ):
        with pytest.raises(Refused):
            await act
    # What units put into the place of a folder that the service needs is put aside.
    assert (await agent.revoke(Place(JOBS, "job"), ["00000"]))["00000"].claim.kind == "revoked"
    await agent.remove(Place(JOBS, "out"))
    assert [path.name for path in outside.iterdir()] == ["secret"]


async def test_an_unknown_root_is_refused_and_roots_cannot_change(agent: AgentConnection) -> None:
    with pytest.raises(Refused):
        await agent.measure(Place("etc", "passwd"))
    with pytest.raises(Refused):
        async with agent._exchange.call("hello", {"protocols": [1], "roots": {"jobs": "/"}}) as call:
            await call.answer(5)


async def test_reading_from_any_offset(agent: AgentConnection, tmp_path: Path) -> None:
    data = os.urandom(700_000)
    (tmp_path / "log").write_bytes(data)
    place = Place(JOBS, "log")

    piece = await agent.read_slice(place, 699_990, 100)
    assert (piece.size, piece.data) == (700_000, data[-10:])
    assert (await agent.read_slice(place, 800_000, 100)).data == b""
    async with agent.read(place, 5) as stream:
        assert b"".join([chunk async for chunk in stream]) == data[5:]
    with pytest.raises(NotFound):
        await agent.read_slice(Place(JOBS, "nothing"), 0, 1)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Refused):
        await agent.read_slice(Place(JOBS, "fifo"), 0, 1)


async def test_a_slow_reader_of_a_huge_log_does_not_block_others(agent: AgentConnection, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        for _ in range(200):
            log.write(b"x" * 999_999 + b"\n")
    async with agent.read(Place(JOBS, "log")) as slow:
        chunks = aiter(slow)
        await anext(chunks)
        async with asyncio.timeout(120):
            for _ in range(50):
                assert (await agent.read_slice(Place(JOBS, "log"), 199_999_990, 100)).data == b"xxxxxxxxx\n"
            async with agent.read(Place(JOBS, "log")) as quick:
                total = sum([len(chunk) async for chunk in quick])
        assert total == slow.size == 200_000_000
        assert len(await anext(chunks)) > 0
    assert (await agent.measure(Place(JOBS, ""))).files == 1


async def test_fetch_brings_regular_files_and_says_what_it_left_out(agent: AgentConnection, tmp_path: Path) -> None:
    job = tmp_path / "job"
    (job / "work" / ("n" * 200) / ("m" * 100)).mkdir(parents=True)
    contents = {
        "a": b"1",
        "work/large": os.urandom(1_000_000),
        f"work/{'n' * 200}/{'m' * 100}/deep": b"deep",
        "work/ü b\n$(x)": b"odd",
    }
    for name, data in contents.items():
        (job / name).write_bytes(data)
    (job / "skip").mkdir()
    (job / "skip" / "me").write_text("no")
    (job / "link").symlink_to("/etc/passwd")
    os.mkfifo(job / "fifo")

    fetched = {}
    async with agent.fetch(Place(JOBS, "job"), exclude=["skip"]) as files:
        async for file in files:
            fetched[file.name] = b"".join([chunk async for chunk in file.chunks])
            assert len(fetched[file.name]) == file.size
    assert fetched == contents
    assert files.end is not None
    assert {one.path: one.why for one in files.end.left_out} == {
        "link": "a symbolic link",
        "fifo": "not a regular file",
    }


async def test_files_of_a_fetch_may_be_left_unread(agent: AgentConnection, tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    for i in range(20):
        (tmp_path / "job" / f"{i:02}").write_bytes(bytes(100_000 + i))
    async with agent.fetch(Place(JOBS, "job")) as files:
        assert [(file.name, file.size) async for file in files] == [(f"{i:02}", 100_000 + i) for i in range(20)]


async def test_remove_frees_a_folder_whatever_its_modes_and_links(agent: AgentConnection, tmp_path: Path) -> None:
    job = tmp_path / "job"
    (job / "deep" / "er").mkdir(parents=True)
    (job / "deep" / "er" / "file").write_bytes(bytes(100_000))
    (job / "link").symlink_to(tmp_path.parent)
    (job / "deep" / "er").chmod(0o000)
    (job / "deep").chmod(0o500)
    (tmp_path / ".staging-job-123").mkdir()
    measured = await agent.measure(Place(JOBS, "job"))
    removal = await agent.remove(Place(JOBS, "job"))

    assert measured.files == 2
    assert removal.removed
    assert removal.bytes >= 100_000
    assert not list(tmp_path.iterdir())
    assert tmp_path.parent.exists()
    assert not (await agent.remove(Place(JOBS, "job"))).removed
    with pytest.raises(Invalid):
        await agent.remove(Place(JOBS, ""))


async def test_a_folder_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _, agent = await open_agent(tmp_path / "file" / "jobs")
    with pytest.raises(Refused, match=f"Not a directory.*: {tmp_path}/file/jobs/job"):
        await agent.stage(Place(JOBS, "job"), [StagedFile("a", b"")])
    await agent.close()


@NEEDS_ROOT
async def test_a_full_disk_refuses_staging_in_words_and_leaves_nothing(small_disk: Path) -> None:
    _, agent = await open_agent(small_disk)
    with pytest.raises(Refused, match=f"No space left on device: {small_disk}/job") as refused:
        await agent.stage(Place(JOBS, "job"), [StagedFile("a", b"1"), StagedFile("b", bytes(2_000_000))])
    assert refused.value.code == "ENOSPC"
    assert not list(small_disk.iterdir())
    await agent.close()


@NEEDS_ROOT
async def test_a_disk_that_is_full_at_launch_is_a_failed_launch_in_words(small_disk: Path) -> None:
    workshop = Workshop(small_disk)
    job = workshop.job()
    folder = job.add(["true"], [{}])
    before = sorted(path.name for path in folder.iterdir())
    _, agent = await open_agent(small_disk)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    launch = (await agent.launch(Place(JOBS, "job-0"), ["00000"]))["00000"]
    assert launch.state == "failed"
    assert f"No space left on device: {folder}" in launch.message
    assert sorted(path.name for path in folder.iterdir() if path.name != "runner.log") == before
    filler.unlink()
    assert (await agent.launch(Place(JOBS, "job-0"), ["00000"]))["00000"].state == "launched"
    await soon((folder / "end.json").exists)
    await agent.close()
    workshop.close()


@NEEDS_ROOT
async def test_a_disk_that_fills_half_way_ends_the_batch_honestly(small_disk: Path) -> None:
    workshop = Workshop(small_disk)
    job = workshop.job()
    script = "[ {unit} -lt 5 ] || head -c 3000 /dev/zero | tr '\\0' x; echo '[1]' > {out_json}"
    folder = job.add(["sh", "-c", script], [{}] * 2000)
    _, agent = await open_agent(small_disk)
    await agent.launch(Place(JOBS, "job-0"), ["00000"])
    await soon((folder / "end.json").exists)
    evidence = (await agent.find(Place(JOBS, "job-0"), ["00000"]))["00000"]
    assert evidence.end is not None
    assert evidence.end.how == "interrupted"
    assert "No space left on device" in evidence.end.reason
    results = results_of(folder)
    assert evidence.end.results == len(results)
    assert all(results[i]["outcome"] == "succeeded" for i in range(5))
    assert any(one["outcome"] == "interrupted" for one in results.values())
    assert (folder / "results.jsonl").read_bytes().endswith(b"\n")
    await agent.close()
    workshop.close()


@NEEDS_ROOT
async def test_an_unwritable_folder_is_refused_in_words() -> None:
    """As a user who may not write there: root may write everywhere."""
    script = """
import asyncio, os, sys
from shared.pipes import *
from shared.remote.bundle import agent_source
from shared.pipes.local import open_local_pipe
agent_source()  # imports what it needs while this user may still read the interpreter's own folder
os.setgid(65534); os.setuid(65534); os.environ["HOME"] = "/"
async def main():
    agent = await AgentConnection.open(await open_local_pipe("/usr/bin/python3"), {"jobs": sys.argv[1]})
    try:
        await agent.stage(Place("jobs", "job"), [StagedFile("a", b"")])
    except Refused as error:
        print(error.code, error.message)
    await agent.close()
asyncio.run(main())
"""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        command = [sys.executable, "-c", script, folder]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3]
        )
        assert f"EACCES Permission denied: {folder}/job" in done.stdout, done.stderr


async def test_the_agent_ends_when_its_input_ends(tmp_path: Path) -> None:
    pipe, agent = await open_agent(tmp_path)
    pid = pipe.pid
    await agent.close()
    assert not Path(f"/proc/{pid}").exists()
    assert pipe._process.returncode == 0, "it was not killed"  # type: ignore[attr-defined]


def test_a_tar_made_by_us_is_a_tar() -> None:
    async def collect() -> bytes:
        return b"".join(
            [piece async for piece in tar_stream([StagedFile("ü" * 90, b"x" * 1000), StagedFile("b", b"")])]
        )

    with tarfile.open(fileobj=io.BytesIO(asyncio.run(collect()))) as archive:
        assert archive.getnames() == ["ü" * 90, "b"]
