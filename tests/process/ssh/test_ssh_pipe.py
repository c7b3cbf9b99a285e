"""The agent at the end of a real SSH connection: every verb, through whatever the login shell is and prints."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.pipes import JOBS, AgentConnection, FollowTarget, Place, Refused, StagedFile
from stoker.errors import Unavailable
from tests.servers.slurm.users import UnixUser
from tests.servers.sshd import write_as
from tests.waiting import until
from tests.workshop import JobFolder
from tests.workshop.ssh import PYTHON, SshWorkshop

pytestmark = pytest.mark.anyio

PAGE = "Welcome to the cluster!\n" * 60


def job_files(folder: Path, command: list[str]) -> list[StagedFile]:
    """A job with one batch of two units, as files to be staged."""
    JobFolder(folder).add(command, [{}] * 2)
    names = [path for path in folder.rglob("*") if path.is_file()]
    files = [StagedFile(str(path.relative_to(folder)), path) for path in names]
    return [*files, StagedFile("work/here", b""), StagedFile("batches/00000/logs/here", b"")]


async def end_of(agent: AgentConnection, job: Place) -> None:
    async def ended() -> bool:
        evidence = (await agent.find(job, ["00000"]))["00000"]
        return evidence.ended and evidence.claim_alive is False

    await until(ended, "the batch has ended")


async def test_every_verb_works_on_one_channel_of_one_connection(ssh: SshWorkshop, tmp_path: Path) -> None:
    agent = await ssh.agent()
    job = Place(JOBS, "2026-01/job")
    ada = ssh.users.ada
    assert (agent.hello.user, agent.hello.uid) == (ada.name, ada.uid)
    assert agent.hello.roots == {"jobs": str(ada.home / "jobs"), "tasks": str(ada.home / "tasks")}

    assert await agent.stage(
        job, job_files(tmp_path / "job", ["sh", "-c", "id -un; until [ -e go ]; do sleep 0.02; done"])
    )
    assert not await agent.stage(job, [StagedFile("other", b"")])
    launch = (await agent.launch(job, ["00000"]))["00000"]
    assert launch.state == "launched", launch
    assert (await agent.launch(job, ["00000"]))["00000"] == launch
    target = FollowTarget(root=JOBS, path="2026-01/job/batches/00000", native_id=launch.native_id)
    async with agent.follow([target]) as seen:
        assert (await anext(seen)).exists
        assert await agent.stage(Place(JOBS, "other"), [StagedFile("a", bytes(1_000_000))]), "others are not held up"
        (ada.home / "jobs/2026-01/job/work/go").touch()
        async for one in seen:
            if one.ended:
                break
    await end_of(agent, job)
    log = await agent.read_slice(job / "batches/00000/logs/slot-0.log", 0, 1000)
    assert ada.name in log.data.decode()
    names = set()
    async with agent.fetch(job, exclude=["work"]) as files:
        async for file in files:
            names.add(file.name)
    assert "batches/00000/end.json" in names
    assert not any(name.startswith("work") for name in names)
    assert (await agent.revoke(job, ["00000"]))["00000"].claim.kind == "runner"
    assert (await agent.cancel(job, ["00000"]))["00000"].signalled is False
    assert (await agent.measure(Place(JOBS))).files > 5
    assert all(path.stat().st_uid == ada.uid for path in (ada.home / "jobs").rglob("*") if path.name != "go")
    assert (await agent.remove(job)).removed
    assert ssh.line.counts()["connections"] == 1
    await agent.close()
    await until(lambda: ssh.line.counts()["open"] == 0, "the connection is gone")


async def test_a_hundred_requests_at_once_take_about_one_round_trip(ssh: SshWorkshop) -> None:
    agent = await ssh.agent()
    ssh.line.set(delay_seconds=0.5)
    async with asyncio.timeout(90):  # one after the other: a hundred seconds
        await asyncio.gather(*(agent.find(Place(JOBS, f"job-{number}"), ["00000"]) for number in range(100)))
    await agent.close()


START_FILES = {
    "bash": ("/bin/bash", ".bashrc", f"cat <<'END'\n{PAGE}END\nsleep 1\nprintf 'no line end, and \\377 bytes'\n"),
    "dash": ("/bin/dash", ".profile", ""),
    "tcsh": (
        "/usr/bin/tcsh",
        ".tcshrc",
        "echo 'Welcome!'\nsleep 1\necho -n 'no line end'\necho problem >/dev/stderr\n",
    ),
    "fish": ("/usr/bin/fish", ".config/fish/config.fish", "echo Welcome; sleep 1; echo -n 'no line end'\n"),
}


@pytest.mark.parametrize("shell", START_FILES)
async def test_a_login_shell_may_be_any_and_print_and_be_slow(ssh: SshWorkshop, shell: str) -> None:
    path, name, text = START_FILES[shell]
    user = ssh.user(f"as{shell}", shell=path)
    write_as(user, user.home / name, text)
    agent = await ssh.agent(ssh.connection(user))
    assert agent.hello.user == user.name
    assert await agent.stage(Place(JOBS, "job"), [StagedFile("a", b"a")])
    assert (user.home / "jobs/job/a").read_bytes() == b"a"
    await agent.close()


@pytest.mark.parametrize("shell", START_FILES)
async def test_an_interpreter_may_have_a_space_in_its_path(ssh: SshWorkshop, shell: str) -> None:
    user = ssh.user(f"sp{shell}", shell=START_FILES[shell][0])
    folder = ssh.folder / "with a space"
    folder.mkdir(exist_ok=True)
    python = folder / "python $HOME *;~"
    python.symlink_to(PYTHON)
    agent = await ssh.agent(ssh.connection(user, jobs_slurm_python_worker=str(python)))
    await agent.close()


def install_agent(ssh: SshWorkshop, text: bytes | None = None) -> Path:
    from shared.remote.bundle import agent_source  # noqa: PLC0415

    path = ssh.folder / "agent.py"
    path.write_bytes(text or agent_source())
    path.chmod(0o644)
    return path


def force(ssh: SshWorkshop, agent: Path) -> None:
    options = f'restrict,command="{PYTHON} -I -S {agent}"'
    ssh.server.admit(ssh.users.ada, ssh.public_key, options=options)


@pytest.mark.parametrize("banner", ["", PAGE, "printf 'no line end'"], ids=["plain", "page", "unended"])
async def test_an_installed_agent_under_a_forced_command_serves(ssh: SshWorkshop, banner: str) -> None:
    force(ssh, install_agent(ssh))
    write_as(
        ssh.users.ada, ssh.users.ada.home / ".bashrc", banner if "printf" in banner else f"cat <<'E'\n{banner}E\n"
    )
    # What we ask for is ignored: also an interpreter that does not exist.
    agent = await ssh.agent(ssh.connection(jobs_slurm_python_worker="/no/such/python"))
    assert agent.hello.user == ssh.users.ada.name
    assert await agent.stage(Place(JOBS, "job"), [StagedFile("a", b"a")])
    assert ssh.line.counts()["connections"] == 1
    await agent.close()


def openssh(
    ssh: SshWorkshop, user: UnixUser, *words: str, program: str = "ssh"
) -> "subprocess.CompletedProcess[bytes]":
    options = ["-F", "none", "-i", str(ssh.key), "-o", f"UserKnownHostsFile={ssh.known_hosts}", "-o", "BatchMode=yes"]
    port = ["-P" if program == "sftp" else "-p", str(ssh.server.port)]
    command = [program, *options, *port, f"{user.name}@127.0.0.1", *words]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)


async def test_a_key_with_a_forced_agent_is_worth_nothing_else(ssh: SshWorkshop) -> None:
    force(ssh, install_agent(ssh))
    ada = ssh.users.ada
    shell = await asyncio.to_thread(openssh, ssh, ada, "touch ~/was-here; echo done")
    assert b"STOKER-AGENT" in shell.stdout
    assert b"done" not in shell.stdout
    assert not (ada.home / "was-here").exists()
    copied = await asyncio.to_thread(openssh, ssh, ada, program="sftp")
    assert copied.returncode != 0
    forwarded = await asyncio.to_thread(openssh, ssh, ada, "-W", f"127.0.0.1:{ssh.server.port}")
    assert forwarded.returncode != 0
    assert b"SSH-2.0" not in forwarded.stdout


async def test_an_installed_agent_of_another_protocol_is_told_apart(ssh: SshWorkshop) -> None:
    source = install_agent(ssh).read_bytes()
    assert source.count(b"PROTOCOL = 1\\n") == 1
    force(ssh, install_agent(ssh, source.replace(b"PROTOCOL = 1\\n", b"PROTOCOL = 0\\n")))
    with pytest.raises(Unavailable, match=r"speaks protocol 0 only.*stoker agent"):
        await ssh.agent()


async def test_two_profiles_act_each_as_its_own_user(ssh: SshWorkshop) -> None:
    grace = ssh.users.grace
    ssh.server.admit(grace, ssh.public_key)
    agents = await asyncio.gather(ssh.agent(), ssh.agent(ssh.connection(grace)))
    place = Place(JOBS, "job")
    assert await asyncio.gather(*(one.stage(place, [StagedFile("a", b"")]) for one in agents)) == [True, True]
    assert [(user.home / "jobs/job/a").stat().st_uid for user in (ssh.users.ada, grace)] == [
        ssh.users.ada.uid,
        grace.uid,
    ]
    for one in agents:
        await one.close()


@pytest.fixture
def small_home(ssh: SshWorkshop) -> Iterator[UnixUser]:
    """Ada's home is a disk of 200 kB that is nearly full."""
    ada = ssh.users.ada
    mount = ["mount", "-t", "tmpfs", "-o", f"size=200k,uid={ada.uid},gid={ada.gid},mode=0700", "tmpfs", str(ada.home)]
    subprocess.run(mount, check=True)
    try:
        ssh.server.admit(ada, ssh.public_key)
        write_as(ada, ada.home / "filler", "x" * 180_000)
        yield ada
    finally:
        subprocess.run(["umount", "-l", str(ada.home)], check=True)


async def test_a_home_on_a_full_disk_is_told_in_its_words_and_serves_again(
    ssh: SshWorkshop, small_home: UnixUser
) -> None:
    agent = await ssh.agent()
    with pytest.raises(Refused, match="No space left") as refused:
        await agent.stage(Place(JOBS, "job"), [StagedFile("a", bytes(150_000))])
    assert refused.value.code == "ENOSPC"
    (small_home.home / "filler").unlink()
    assert await agent.stage(Place(JOBS, "job"), [StagedFile("a", bytes(150_000))])
    await agent.close()
