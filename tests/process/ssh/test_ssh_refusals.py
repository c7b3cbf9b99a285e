"""Each way in which a connection cannot be made has words of its own, within the time limits, and mends by itself."""

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from shared.pipes import JOBS, Place
from shared.pipes.errors import CannotConnect
from shared.pipes.ssh import SshLimits
from shared.pipes.ssh.keys import load_key
from tests.servers.process import free_port
from tests.servers.slurm.users import ClusterUsers
from tests.servers.sshd import SshServer, make_key, write_as
from tests.waiting import until
from tests.workshop.ssh import PYTHON, SHORT, SshWorkshop

pytestmark = pytest.mark.anyio


async def refused(ssh: SshWorkshop, words: str, *, limits: SshLimits = SHORT, **changes: Any) -> CannotConnect:
    """Try to connect; the error says this."""
    async with asyncio.timeout(120):
        with pytest.raises(CannotConnect, match=words) as caught:
            await ssh.agent(ssh.connection(**changes), limits=limits)
    return caught.value


async def test_a_key_that_the_host_does_not_take(ssh: SshWorkshop) -> None:
    make_key(ssh.folder / "other")
    error = await refused(
        ssh, "does not let .*ada in with the key in .*other", ssh_key_path=str(ssh.folder / "other")
    )
    assert "authorized_keys" in error.mend


async def test_a_user_that_the_host_does_not_know(ssh: SshWorkshop) -> None:
    await refused(ssh, "does not let nobody-here in .* whether the user exists", username="nobody-here")


KEYS = {
    "missing": (None, "there is no key file"),
    "a folder": ("folder", "cannot be read: Is a directory"),
    "public": (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPvLJ3vDXuFQ4RrxkAyMtHJ2mVrKbWXf9cZb4jJ6q0Hx me\n",
        "holds a public key",
    ),
    "garbage": ("hello\n", "holds no private key"),
    "damaged": (
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        "is damaged, or of a type that is not served",
    ),
    "empty": ("", "holds no private key"),
}


@pytest.mark.parametrize("kind", KEYS)
async def test_a_key_file_that_is_none(ssh: SshWorkshop, kind: str) -> None:
    text, words = KEYS[kind]
    path = ssh.folder / "strange"
    if text == "folder":
        path.mkdir()
    elif text is not None:
        path.write_text(text)
    await refused(ssh, words, ssh_key_path=str(path))
    assert ssh.line.counts()["connections"] == 0, "the host is not troubled"


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
async def test_a_key_with_a_passphrase(ssh: SshWorkshop, kind: str) -> None:
    make_key(ssh.folder / "secret", kind=kind, passphrase="correct horse")
    error = await refused(ssh, "has a passphrase", ssh_key_path=str(ssh.folder / "secret"))
    assert "ssh-keygen -p" in error.mend


async def test_a_key_of_a_type_that_is_not_served(ssh: SshWorkshop) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - needed here alone
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey  # noqa: PLC0415

    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (ssh.folder / "ed448").write_bytes(Ed448PrivateKey.generate().private_bytes(*form))
    await refused(ssh, "of a type that is not served", ssh_key_path=str(ssh.folder / "ed448"))


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
async def test_keys_of_other_types_serve(ssh: SshWorkshop, kind: str) -> None:
    public = make_key(ssh.folder / "other", kind=kind)
    ssh.server.admit(ssh.users.ada, public)
    agent = await ssh.agent(ssh.connection(ssh_key_path=str(ssh.folder / "other")))
    await agent.close()


def test_a_key_that_the_service_may_not_read(slurm_users: ClusterUsers, tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    os.seteuid(slurm_users.stoker.uid)
    try:
        with pytest.raises(CannotConnect, match="cannot be read: Permission denied"):
            load_key(str(tmp_path / "key"))
    finally:
        os.seteuid(0)


async def test_a_host_name_that_nobody_knows(ssh: SshWorkshop) -> None:
    error = await refused(ssh, r"the host name no-such-host\.invalid is unknown", host="no-such-host.invalid")
    assert "host of the resource" in error.mend


async def test_a_port_that_nobody_listens_on(ssh: SshWorkshop) -> None:
    port = free_port()
    await refused(ssh, rf"nobody listens on 127\.0\.0\.1:{port}", port=port)


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port that takes no further connection: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003 - its form
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield listener.getsockname()[1]


async def test_a_host_that_does_not_answer(ssh: SshWorkshop, full_port: int) -> None:
    limits = SshLimits(connect=0.5)
    await refused(ssh, "does not answer within 0.5 seconds", limits=limits, host=f"127.0.0.1:{full_port}")


@contextlib.asynccontextmanager
async def stranger(*pieces: bytes, forever: bool = False, close: bool = False) -> AsyncIterator[int]:
    """A server that says this to whoever connects, and then nothing."""

    writers = []

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(OSError):
            for piece in pieces:
                writer.write(piece)
            while forever:
                writer.write(pieces[-1])
                await writer.drain()
                await asyncio.sleep(0.001)
            if close:
                writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def test_a_server_that_says_nothing(ssh: SshWorkshop) -> None:
    async with stranger() as port:
        limits = SshLimits(banner=0.5)
        await refused(ssh, "says nothing for 0.5 seconds", limits=limits, host=f"127.0.0.1:{port}")


async def test_a_server_of_another_kind(ssh: SshWorkshop) -> None:
    async with stranger(*[b"220 mail.example.org ESMTP\r\n"] * 150) as port:
        await refused(ssh, "is no SSH server", host=f"127.0.0.1:{port}")


@pytest.mark.parametrize("piece", [b"Welcome " * 100, b"line\r\n"], ids=["one line", "many lines"])
async def test_a_greeting_that_never_ends(ssh: SshWorkshop, piece: bytes) -> None:
    async with stranger(piece, forever=True) as port:
        limits = SshLimits(banner=2, open=3)
        words = "greeting took more than 3 seconds|is no SSH server"
        await refused(ssh, words, limits=limits, host=f"127.0.0.1:{port}")
    await until(
        lambda: not [one for one in threading.enumerate() if one.name.startswith("ssh ")], "no thread is left"
    )


async def test_a_server_that_stops_in_the_middle_of_the_handshake(ssh: SshWorkshop) -> None:
    async with stranger(b"SSH-2.0-Stalled\r\n") as port:
        limits = SshLimits(banner=1, login=1)
        await refused(
            ssh, "has not agreed on keys in|while keys were exchanged", limits=limits, host=f"127.0.0.1:{port}"
        )
    async with stranger(b"SSH-2.0-Gone\r\n", close=True) as port:
        await refused(ssh, "closed the connection while keys were exchanged", host=f"127.0.0.1:{port}")


async def test_too_many_logins_under_way(ssh: SshWorkshop) -> None:
    ssh.server.configure(MaxStartups="1")
    with contextlib.ExitStack() as stack:
        said = b""
        while not said.startswith(b"SSH-"):  # whoever looked whether it answers may still be at it
            other = stack.enter_context(socket.create_connection(("127.0.0.1", ssh.server.port)))
            said = other.recv(100)
        error = await refused(ssh, "closes the connection before it says anything")
        assert "MaxStartups" in error.mend
    await until(lambda: can_connect(ssh), "it lets us in again")


async def can_connect(ssh: SshWorkshop) -> bool:
    try:
        await (await ssh.agent()).close()
    except CannotConnect:
        return False
    return True


async def test_a_host_that_opens_no_session(ssh: SshWorkshop) -> None:
    ssh.server.configure(MaxSessions=0)
    error = await refused(ssh, "opens no channel")
    assert "MaxSessions" in error.mend


async def test_a_host_that_asks_for_a_password_too(ssh: SshWorkshop) -> None:
    ssh.server.configure(PasswordAuthentication="yes", AuthenticationMethods="publickey,password")
    await refused(ssh, r"asks for more than a key \(password\)")


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/dash", "/usr/bin/tcsh", "/usr/bin/fish"])
async def test_an_interpreter_that_is_not_there(ssh: SshWorkshop, shell: str) -> None:
    user = ssh.user(f"py{Path(shell).name}", shell=shell)
    changes: dict[str, Any] = {"username": user.name, "jobs_slurm_python_worker": "/opt/none/python3"}
    error = await refused(ssh, "there is no Python at /opt/none/python3 on 127", **changes)
    assert "jobs_slurm_python_worker" in error.mend


OLD = """#!/bin/sh
exec {python} -I -S -c '
import sys
sys.version_info = (3, 8, 18, "final", 0)
exec(sys.argv[1])' "$4"
"""
ANCIENT = """#!/bin/sh
echo "Unknown option: -I" >&2
exit 2
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OLD.format(python=PYTHON), r"is Python 3\.8, and 3\.9 is the oldest"),
        (ANCIENT, r"is no Python 3\.9 or newer"),
        ("#!/bin/sh\necho broken >&2; exit 3\n", r"ended with exit code 3 before an agent spoke: broken"),
    ],
    ids=["3.8", "2.7", "broken"],
)
async def test_an_interpreter_that_does_not_serve(ssh: SshWorkshop, text: str, words: str) -> None:
    python = ssh.folder / "python"
    python.write_text(text)
    python.chmod(0o755)
    error = await refused(ssh, words, jobs_slurm_python_worker=str(python))
    assert "jobs_slurm_python_worker" in error.mend


async def test_what_was_said_on_standard_error_is_awaited_before_an_end_is_explained(
    ssh: SshWorkshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = paramiko.Channel.recv_stderr

    def received_late(channel: paramiko.Channel, count: int) -> bytes:
        data = received(channel, count)
        time.sleep(0.3)
        return data

    monkeypatch.setattr(paramiko.Channel, "recv_stderr", received_late)
    error = await refused(ssh, r"there is no Python at \S+ on 127\S* \(.+\)", jobs_slurm_python_worker="/opt/none")
    assert "jobs_slurm_python_worker" in error.mend


async def test_an_interpreter_whose_path_shells_read_differently(ssh: SshWorkshop) -> None:
    await refused(ssh, "means different things to different shells", jobs_slurm_python_worker="/opt/it's/python")


async def test_a_login_shell_that_never_gets_to_the_command(ssh: SshWorkshop) -> None:
    user = ssh.user("stuck")
    write_as(user, user.home / ".bashrc", "sleep 1000\n")
    limits = SshLimits(first_word=1)
    await refused(ssh, r"started nothing in 1 s.*\.bashrc", limits=limits, username=user.name)


async def test_a_login_shell_that_prints_for_ever(ssh: SshWorkshop) -> None:
    user = ssh.user("flood")
    write_as(user, user.home / ".bashrc", "exec yes 'Welcome to the cluster'\n")
    await refused(ssh, r"printed 1,048,576 bytes and started nothing", username=user.name)


@pytest.mark.parametrize("form", ["[::1]:{port}", "[::1] and port"])
async def test_a_host_may_be_an_ipv6_address(ssh: SshWorkshop, form: str) -> None:
    server = SshServer(address="::1")
    try:
        server.process.start()
        ssh.known_hosts.write_text(server.known_hosts_line())
        changes: dict[str, Any] = {"host": form.format(port=server.port)}
        if form.endswith("port"):
            changes = {"host": "[::1]:1", "port": server.port}
        agent = await ssh.agent(ssh.connection(**changes))
        await agent.close()
    finally:
        server.close()


async def test_a_key_is_replaced_while_the_old_connection_works(ssh: SshWorkshop) -> None:
    """As the documentation has it: admit both, put the new key in place, take the old one away."""
    new = make_key(ssh.folder / "new")
    agent = await ssh.agent()
    ssh.server.admit(ssh.users.ada, ssh.public_key, new)
    (ssh.folder / "new").replace(ssh.key)
    second = await ssh.agent()
    ssh.server.admit(ssh.users.ada, new)
    third = await ssh.agent()
    for one in (agent, second, third):
        assert (await one.measure(Place(JOBS))).files == 0
        await one.close()
