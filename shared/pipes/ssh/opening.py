"""Opening a pipe: connect, start Python there, and find out who speaks.

With nothing installed on the cluster our command starts a bootstrap, which announces itself and is sent the agent.
Where `authorized_keys` forces a command, ours is ignored and an installed agent greets at once.
"""

import asyncio

import paramiko

from shared.pipes.errors import CannotConnect, PipeLost
from shared.pipes.pipe import with_last_words
from shared.pipes.protocol.frames import GREETING, LONGEST_BANNER_BYTES, GreetingFinder
from shared.pipes.ssh.command import ANNOUNCEMENT, check_version, remote_command, source_message
from shared.pipes.ssh.line import SshLine
from shared.pipes.ssh.pipe import SshPipe
from shared.pipes.ssh.target import SshLimits, SshTarget
from shared.pipes.ssh.threads import in_thread
from stoker.contracts.holds import Connection

_NO_SUCH_COMMAND = (126, 127)
_FIELD = "jobs_slurm_python_worker of the resource"


async def open_ssh_pipe(connection: Connection, known_hosts: str, limits: SshLimits | None = None) -> SshPipe:
    """Return a pipe at whose end an agent is about to greet. Raises CannotConnect, in words for each cause."""
    limits = limits or SshLimits()
    target = SshTarget.of(connection, known_hosts)
    line = SshLine(target, limits)
    try:
        async with asyncio.timeout(limits.open):
            pipe = await _start(line, limits)
    except TimeoutError:
        message = f"{target.shown}: {line.doing} took more than {limits.open:g} seconds"
        raise CannotConnect(message) from None
    return pipe


async def _start(line: SshLine, limits: SshLimits) -> SshPipe:
    command = remote_command(line.target.python)

    def connect() -> paramiko.Channel:
        line.log_in()
        return line.run(command)

    pipe = None
    try:
        channel = await in_thread(connect, f"ssh {line.target.shown}")
        line.doing = "the login shell"
        pipe = SshPipe(line, channel, limits)
        await _find_out_who_speaks(pipe, line.target, limits.first_word)
    except BaseException:
        if pipe is not None:
            await pipe.close()
        else:
            await in_thread(line.abandon, "ssh close")
        raise
    return pipe


async def _find_out_who_speaks(pipe: SshPipe, target: SshTarget, timeout_seconds: float) -> None:
    finder = GreetingFinder(GREETING, ANNOUNCEMENT)
    shell = f"the login shell of {target.username} on {target.shown}"
    try:
        async with asyncio.timeout(timeout_seconds):
            data = b"-"
            while data and (found := finder.feed(data := await pipe.read())) is None:
                pass
    except TimeoutError:
        message = await with_last_words(f"{shell} started nothing in {timeout_seconds:g} s", pipe)
        raise CannotConnect(message, "see what its start files wait for (~/.bashrc and the like)") from None
    except PipeLost as error:
        message = f"{shell} printed {LONGEST_BANNER_BYTES:,} bytes and started nothing"
        raise CannotConnect(message, "see what its start files print (~/.bashrc and the like)") from error
    if found is None:
        raise await _ended(pipe, target)
    line, rest = found
    if line.startswith(GREETING):
        pipe.put_back(line + b"\n" + rest)
        return
    check_version(line.removeprefix(ANNOUNCEMENT), target.python)
    pipe.put_back(rest)
    try:
        await pipe.write(source_message())
    except PipeLost as error:
        message = f"{target.python} on {target.shown} ended while the agent was sent"
        raise CannotConnect(await with_last_words(message, pipe), f"see {_FIELD}") from error


async def _ended(pipe: SshPipe, target: SshTarget) -> CannotConnect:
    """The command ended without a word of ours."""
    status = await pipe.exit_status()
    words = await pipe.diagnosis()
    if status in _NO_SUCH_COMMAND or "ommand not found" in words or "o such file" in words:
        return CannotConnect(
            f"there is no Python at {target.python} on {target.shown} ({words})", f"correct {_FIELD}"
        )
    if "nknown option" in words:
        message = f"{target.python} on {target.shown} is no Python 3.9 or newer ({words})"
        return CannotConnect(message, f"correct {_FIELD}")
    if status is None:
        return CannotConnect(
            await with_last_words(f"{target.shown} closed the connection before an agent spoke", pipe)
        )
    message = f"{target.python} on {target.shown} ended with exit code {status} before an agent spoke"
    message = await with_last_words(message, pipe)
    return CannotConnect(message, f"see {_FIELD}, and what is forced in ~/.ssh/authorized_keys")
