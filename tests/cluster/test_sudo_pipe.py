"""The sudo pipe with the real sudo, from the unprivileged user that services run as."""

import asyncio
import os
import secrets
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from shared.pipes import JOBS, AgentConnection, Place
from shared.pipes.roots import JOBS_BELOW_HOME
from shared.pipes.sudo.pipe import open_sudo_pipe
from shared.pipes.sudo.sudoers import sudoers_rule
from shared.pipes.sudo.trust import Doubt, untrusted_parts
from shared.remote.bundle import agent_source
from shared.slurm.answers.queue import read_queue, squeue_arguments
from stoker.errors import Invalid, StokerError, Unavailable
from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.users import UnixUser
from tests.workshop.service_user import as_user
from tests.workshop.slurm_site import SYSTEM_PYTHON, ClusterSite

T = TypeVar("T")
Work = Callable[[AgentConnection], Awaitable[T]]


class SudoHost:
    """A host with the agent installed and the rule that the documentation gives."""

    def __init__(self, cluster: SlurmCluster) -> None:
        self.cluster = cluster
        self.service = cluster.users.stoker
        self.folder = cluster.folder / f"installed-{secrets.token_hex(4)}"
        self.folder.mkdir(mode=0o755)
        self.agent_file = self.folder / "agent.py"
        self.install(agent_source())

    def install(self, source: bytes) -> None:
        self.agent_file.write_bytes(source)
        self.agent_file.chmod(0o755)

    def allow(self, runas: str = "", python: str = SYSTEM_PYTHON, agent_file: str = "", more: str = "") -> None:
        group = runas or f"%{self.cluster.users.group}"
        rule = sudoers_rule(self.service.name, [group], python, agent_file or str(self.agent_file))
        self.cluster.sudoers.write("services", f"{more}{rule}\n")
        self.cluster.lead_sudo_here(rule.partition("NOSETENV: ")[2])

    def forbid(self) -> None:
        for name in ("services", f"path-{self.cluster.folder.name}"):
            self.cluster.sudoers.remove(name)

    def sudo(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """What the service's user gets from sudo."""
        return subprocess.run(
            ["/usr/bin/sudo", "-n", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            user=self.service.uid,
            group=self.service.gid,
            extra_groups=[],
            env={**self.service.environment, **environment},
            cwd="/",
            timeout=60,
            check=False,
        )

    def through(self, work: Work[T], user: UnixUser | None = None, *, umask: int = 0o022, **environment: str) -> T:
        """The result of `work` with a connection through sudo, in a process of the service's user."""
        name = (user or self.cluster.users.ada).name

        async def connected() -> T:
            pipe = await open_sudo_pipe(name, python=SYSTEM_PYTHON, agent_file=str(self.agent_file))
            agent = await AgentConnection.open(pipe, {JOBS: JOBS_BELOW_HOME}, answer_timeout_seconds=20)
            try:
                return await work(agent)
            finally:
                await agent.close()

        return as_user(self.service, connected, path=self.cluster.commands.path, umask=umask, **environment)

    def refusal(self, name: str, python: str = SYSTEM_PYTHON, path: str = "") -> str:
        """Why no connection comes about."""

        async def fails() -> str:
            try:
                pipe = await open_sudo_pipe(name, python=python, agent_file=str(self.agent_file))
                agent = await AgentConnection.open(pipe, {JOBS: JOBS_BELOW_HOME}, answer_timeout_seconds=20)
            except StokerError as error:
                kind = "invalid" if isinstance(error, Invalid) else "unavailable"
                return f"{kind}: {error.message}"
            await agent.close()
            return "it was opened"

        return as_user(self.service, fails, path=path or self.cluster.commands.path)


@pytest.fixture
def host(slurm_cluster: SlurmCluster) -> Iterator[SudoHost]:
    made = SudoHost(slurm_cluster)
    made.allow()
    yield made
    made.forbid()


def test_a_job_lives_its_life_as_the_scientist_in_a_home_that_the_service_cannot_read(host: SudoHost) -> None:
    ada = host.cluster.users.ada

    async def work(agent: AgentConnection) -> tuple[str, str, str, str, bool]:
        site = ClusterSite(host.cluster, ada, agent)
        job = await site.stage(["sh", "-c", "id -un; echo {unit} > made-{unit}"], [{}] * 3)
        array = await job.run()
        nonce = secrets.token_hex(16)
        while not (await agent.find(job.place, ["00000"]))["00000"].ended:
            await asyncio.sleep(0.05)
        log = await agent.read_slice(job.place / "batches/00000/logs/slot-0.log", 0, 1000)
        queue = read_queue((await agent.queue(squeue_arguments(nonce))).stdout, nonce)
        accounts = await agent.account(["--noheader", "--parsable2", "--format=JobID"])
        waiting = await site.stage(["true"], [{}])
        held = await waiting.run(options=["--hold"])
        assert (await agent.scancel([f"{held}_0"])).exit_code == 0
        assert accounts.exit_code == 0
        unreadable = not os.access(ada.home, os.R_OK | os.X_OK)
        return agent.hello.user, log.data.decode(), job.place.name, queue.of(f"{array}_0")[0].user, unreadable

    user, log, name, owner, unreadable = host.through(work)
    assert user == owner == ada.name
    assert log == f"{ada.name}\n" * 3
    assert unreadable
    folder = ada.home / "stoker" / "jobs" / name
    assert {path.stat().st_uid for path in folder.rglob("*")} == {ada.uid}
    assert len(host.cluster.commands.calls("sudo")) == 1
    assert {call.uid for call in host.cluster.commands.calls("sbatch")} == {ada.uid}


def test_one_rule_serves_every_scientist_of_the_group_and_nobody_else(host: SudoHost) -> None:
    async def who(agent: AgentConnection) -> str:
        return agent.hello.user

    for user in host.cluster.users.scientists:
        assert host.through(who, user) == user.name
    outsider = host.cluster.users.create("outsider", scientist=False)
    assert "sudo lets this service start no agent" in host.refusal(outsider.name)


def test_the_rule_allows_this_command_and_nothing_else(host: SudoHost) -> None:
    ada = host.cluster.users.ada
    agent, python = str(host.agent_file), SYSTEM_PYTHON
    other = host.folder / "other.py"
    other.write_text("print('ran')")
    evil = host.folder / "evil"
    evil.mkdir()
    (evil / "agent.py").write_text("print('ran')")
    as_ada = ("-u", ada.name)
    forbidden = [
        (*as_ada, "--", "/usr/bin/id"),
        (*as_ada, "--", "/bin/sh"),
        (*as_ada, "-s"),
        (*as_ada, "-i"),
        (*as_ada, "--", python),
        (*as_ada, "--", python, "-I", "-S"),
        (*as_ada, "--", python, agent),
        (*as_ada, "--", python, "-I", agent),
        (*as_ada, "--", python, "-S", "-I", agent),
        (*as_ada, "--", python, "-I", "-S", "-i", agent),
        (*as_ada, "--", python, "-I", "-S", agent, "--allow-root"),
        (*as_ada, "--", python, "-I", "-S", str(other)),
        (*as_ada, "--", python, "-I", "-S", f"{host.folder}/evil/../agent.py"),
        (*as_ada, "--", python, "-I", "-S", f"{host.folder}/evil/agent.py"),
        (*as_ada, "--", python, "-I", "-S", f"{agent} "),
        (*as_ada, "--", python, "-I", "-S", "-c", "print('ran')"),
        (*as_ada, "-E", "--", python, "-I", "-S", agent),
        (*as_ada, "PYTHONPATH=/tmp", "--", python, "-I", "-S", agent),
        (*as_ada, "PYTHONPATH=/tmp", python, "-I", "-S", agent),
        (*as_ada, "LD_PRELOAD=/tmp/x.so", python, "-I", "-S", agent),
        (*as_ada, "-D", "/tmp", "--", python, "-I", "-S", agent),
        (*as_ada, "-g", "root", "--", python, "-I", "-S", agent),
        ("-u", "root", "--", python, "-I", "-S", agent),
        ("-u", "#0", "--", python, "-I", "-S", agent),
        ("-u#0", "--", python, "-I", "-S", agent),
        ("-u", "#-1", "--", python, "-I", "-S", agent),
        ("--", python, "-I", "-S", agent),
        ("-e", agent),
    ]
    for words in forbidden:
        done = host.sudo(*words)
        assert (done.returncode, done.stdout) == (1, ""), (words, done)
    allowed = host.sudo(*as_ada, "--", python, "-I", "-S", agent)
    assert (allowed.returncode, "STOKER-AGENT 1 " in allowed.stdout) == (0, True), allowed


def test_an_environment_variable_does_not_get_through_where_everybody_may_set_them(host: SudoHost) -> None:
    host.allow(more="Defaults setenv\n")
    words = ("-u", host.cluster.users.ada.name, "PYTHONPATH=/tmp", SYSTEM_PYTHON, "-I", "-S", str(host.agent_file))
    done = host.sudo(*words)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("name", ["-u", "-s", "--user=root", "#0", "root", "", "a b", "%group", "ada;id", "a\nb"])
def test_what_is_no_users_name_never_reaches_sudo(host: SudoHost, name: str) -> None:
    assert host.refusal(name) == f"invalid: no agent can be started as {name!r}"
    assert host.cluster.commands.calls("sudo") == []


def test_nothing_that_sudo_passes_on_reaches_the_agent_or_a_job(host: SudoHost) -> None:
    ada = host.cluster.users.ada
    passed = ("SECRET", "PYTHONPATH", "SBATCH_ACCOUNT", "HOME", "LANG", "USER", "STOKER_SERVICE_KEY", "TZ")
    host.allow(more=f'Defaults env_keep += "{" ".join(passed)}"\n')

    async def work(agent: AgentConnection) -> tuple[str, str, str]:
        site = ClusterSite(host.cluster, ada, agent)
        job = await site.stage(["sh", "-c", "umask; env; touch made"], [{}])
        array = await job.run()
        while not (await agent.find(job.place, ["00000"]))["00000"].ended:
            await asyncio.sleep(0.05)
        log = await agent.read_slice(job.place / "batches/00000/logs/slot-0.log", 0, 100_000)
        return array, job.place.name, log.data.decode()

    leaked = dict.fromkeys(passed, "leaked")
    array, name, log = host.through(work, umask=0o000, **leaked)
    assert log.startswith("0022\n")
    assert "leaked" not in log
    assert f"HOME={ada.home}\n" in log
    assert f"USER={ada.name}\n" in log
    job = host.cluster.job(f"{array}_0")
    assert job["Account"] == "science"
    folder = ada.home / "stoker" / "jobs" / name
    assert job["WorkDir"] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "work" / "made").stat().st_mode & 0o777 == 0o644


def test_the_agent_itself_refuses_to_be_root(host: SudoHost) -> None:
    command = [SYSTEM_PYTHON, "-I", "-S", str(host.agent_file)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (77, b"", b"the agent does not run as root\n")
    allowed = subprocess.run([*command, "--allow-root"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert b"STOKER-AGENT" in allowed.stdout


def test_each_reason_for_silence_has_its_words_and_what_mends_it(host: SudoHost) -> None:
    ada, file = host.cluster.users.ada.name, host.agent_file
    assert host.refusal("nobody-there") == (
        "unavailable: this host has no user nobody-there; mend the profile's username (it said: sudo: unknown user "
        "nobody-there / sudo: error initializing audit plugin sudoers_audit)"
    )
    assert "apt-get install sudo" in host.refusal(ada, path="/nowhere")
    host.forbid()
    rule = sudoers_rule(host.service.name, [ada], SYSTEM_PYTHON, str(file))
    assert f"mend it with this line in /etc/sudoers.d/stoker: {rule} (it said: " in host.refusal(ada)
    host.allow(python="/usr/bin/python9")
    assert "the interpreter /usr/bin/python9 is not there" in host.refusal(ada, python="/usr/bin/python9")
    host.allow()
    host.folder.chmod(0o700)
    assert f"{ada} may not read the agent {file}; mend it as root with: chmod 0755 {file}" in host.refusal(ada)
    host.folder.chmod(0o755)
    file.chmod(0o600)
    assert f"{ada} may not read the agent {file}" in host.refusal(ada)
    file.unlink()
    assert f"the agent is not installed as {file}; mend it as root with: stoker agent > {file}" in host.refusal(ada)
    host.install(agent_source().replace(b"PROTOCOL = 1", b"PROTOCOL = 2"))
    words = host.refusal(ada)
    assert words.startswith("unavailable: the agent there is of another version of Stoker")
    assert "protocol 2 only" in words
    assert "stoker agent >" in words


def test_a_home_that_its_user_may_not_write_to_is_told(host: SudoHost) -> None:
    user = host.cluster.users.create("shut-out")  # whose home holds nothing yet

    async def work(agent: AgentConnection) -> str:
        try:
            await ClusterSite(host.cluster, user, agent).stage(["true"], [{}])
        except StokerError as error:
            return error.message
        return "it was staged"

    user.home.chmod(0o500)
    try:
        words = host.through(work, user)
    finally:
        user.home.chmod(0o700)
    assert words.startswith("Permission denied (the profile's jobs_remote_dir may name a folder")
    assert str(user.home / "stoker") in words


def test_characters_that_sudoers_gives_a_meaning_are_allowed_in_paths(host: SudoHost) -> None:
    python = host.folder / "p y:t,h=o#n" / "python3"
    python.parent.mkdir(mode=0o755)
    python.symlink_to(SYSTEM_PYTHON)
    agent = host.folder / "a,g:e=nt#.py"
    agent.write_bytes(agent_source())
    agent.chmod(0o755)
    host.allow(python=str(python), agent_file=str(agent))
    words = ("-u", host.cluster.users.ada.name, "--", str(python), "-I", "-S")
    done = host.sudo(*words, str(agent))
    assert (done.returncode, "STOKER-AGENT" in done.stdout) == (0, True), done
    assert host.sudo(*words, str(host.folder / "a,g:e=nt.py")).returncode == 1


def test_an_agent_that_scientists_may_exchange_is_found(host: SudoHost) -> None:
    file, folder, ada = str(host.agent_file), host.folder, host.cluster.users.ada
    assert untrusted_parts(file) == []
    os.chown(folder, ada.uid, -1)
    assert untrusted_parts(file) == [
        Doubt(f"{folder} is owned by uid {ada.uid}, not by root", f"chown -h root {folder}")
    ]
    os.chown(folder, 0, -1)
    folder.chmod(0o775)
    assert untrusted_parts(file) == [Doubt(f"{folder} is writable by others than root", f"chmod go-w {folder}")]
    # With the sticky bit nobody exchanges what is root's; what is another's, its owner does.
    folder.chmod(0o1777)
    assert untrusted_parts(file) == []
    link = folder / "link.py"
    link.symlink_to(host.agent_file)
    assert untrusted_parts(str(link)) == []
    os.lchown(link, ada.uid, -1)
    assert [one.mend for one in untrusted_parts(str(link))] == [f"chown -h root {link}"]
    assert untrusted_parts(str(folder / "nothing")) == [Doubt(f"{folder}/nothing: No such file or directory")]


def test_a_file_where_the_service_may_not_look_is_told_from_one_that_is_missing(host: SudoHost) -> None:
    ada = host.cluster.users.ada

    async def found() -> list[str]:
        return [one.detail for one in untrusted_parts(f"{ada.home}/bin/python3")]

    assert as_user(host.service, found, path=host.cluster.commands.path) == [
        f"{ada.home} is owned by uid {ada.uid}, not by root",
        f"{ada.home}/bin: Permission denied",
    ]


_STRANGER = """
import json, os, struct, sys, time
HEAD = struct.Struct("!IBI")
def say(kind, request, payload=b""):
    os.write(1, HEAD.pack(len(payload), ord(kind), request) + payload)
def take():
    data = b""
    while len(data) < HEAD.size:
        data += os.read(0, HEAD.size - len(data)) or sys.exit(0)
    length, kind, request = HEAD.unpack(data)
    data = b""
    while len(data) < length:
        data += os.read(0, length - len(data))
    return chr(kind), request, data
os.write(1, b"STOKER-AGENT 1 ab\\n")
_, request, data = take()
hello = dict(protocol=1, version="1", user="u", uid=1, home="/", host="h", boot_id="b", python="3", clock=1.0)
say("A", request, json.dumps(dict(hello, roots=json.loads(data)["roots"])).encode())
_, request, _ = take()
"""
_STRANGE = {
    "endless frames": 'say("A", request, b"{}")\nwhile True: say("D", request, bytes(60000))',
    "deep json": 'say("A", request, b"[" * 500000 + b"]" * 500000)\ntime.sleep(1000)',
    "an over-long frame": 'os.write(1, HEAD.pack(2**31, ord("A"), request) + bytes(1000))\ntime.sleep(1000)',
    "bad names": """
import tarfile
head = tarfile.TarInfo("../evil"); head.name = "../evil"
say("A", request, b"{}"); say("D", request, head.tobuf(tarfile.GNU_FORMAT) + bytes(1024)); say("F", request, b"{}")
time.sleep(1000)
""",
    "an endless error": 'say("E", request, b"{\\"kind\\":" + b"[" * 400000)\ntime.sleep(1000)',
}


@pytest.mark.parametrize("what", _STRANGE)
def test_a_hostile_agent_is_refused_and_the_service_unharmed(host: SudoHost, what: str) -> None:
    """What answers is the scientist's process, and need not be what was installed."""
    host.install((_STRANGER + _STRANGE[what]).encode())

    async def work(agent: AgentConnection) -> tuple[str, float]:
        began = time.monotonic()
        try:
            async with agent.fetch(Place("jobs", "job")) as files:
                await asyncio.sleep(0.1)
                async for _ in files:
                    pass
        except Unavailable as error:
            return error.message, time.monotonic() - began
        return "it was believed", 0.0

    words, _ = host.through(work)
    assert words != "it was believed"
    assert not list(host.service.home.glob("evil"))
    host.install(agent_source())

    async def who(agent: AgentConnection) -> str:
        return agent.hello.user

    assert host.through(who) == host.cluster.users.ada.name


def test_an_agent_that_does_not_end_holds_nobody_up(host: SudoHost) -> None:
    host.install((_STRANGER + "import signal\nwhile True: time.sleep(1)").encode())

    async def work(agent: AgentConnection) -> bool:
        async with asyncio.timeout(120):
            await agent.close()
        return True

    assert host.through(work)
    host.cluster.run("pkill", "-KILL", "-u", host.cluster.users.ada.name, user=host.cluster.users.ada, check=False)
