"""Findings of a check, and those that every kind of resource has in common."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Literal

from shared.pipes import JOBS, AgentConnection, PipeOpener, Place, Refused, StagedFile, roots_of, slurm_of
from shared.service.ids import new_id
from stoker.contracts.checks import Finding
from stoker.contracts.holds import Connection
from stoker.errors import StokerError

_SKEW_SECONDS = 30.0
_PROBE = b"written by a check"
_FILE_SYSTEM = frozenset({"EPERM", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "ENOLCK", "EMLINK", "EXDEV"})
"""What file systems without locks or hard links say (a folder that is not one's own is EACCES)."""

_FILE_SYSTEM_MEND = (
    "let the jobs folder be on a file system with both (Lustre: mount it with -o flock; FUSE, sshfs and CIFS have no "
    "hard links; NFS has both): jobs_remote_dir of the profile, or jobs_local_dir of the resource"
)


def finding(name: str, level: Literal["ok", "warning", "error"], detail: str, mend: str) -> Finding:
    """Something that is wrong, with the line that mends it."""
    return Finding(name=name, level=level, detail=detail, mend=mend)


def ok(name: str, detail: str) -> Finding:
    """Something that is as it should be."""
    return Finding(name=name, level="ok", detail=detail)


@asynccontextmanager
async def own_agent(
    connection: Connection, opener: PipeOpener, further_roots: Mapping[str, str]
) -> AsyncIterator[AgentConnection]:
    """An agent of one's own, so that reaching the resource from nothing is what is tried."""
    roots = {**roots_of(connection), **further_roots}
    agent = await AgentConnection.open(await opener(connection), roots, slurm=slurm_of(connection))
    try:
        yield agent
    finally:
        await agent.close()


async def agent_findings(agent: AgentConnection, opened_after: float) -> list[Finding]:
    """What an agent says of itself, and whether it can keep files. `opened_after`: epoch seconds, ours."""
    hello = agent.hello
    skew = max(0.0, opened_after - hello.clock, hello.clock - time.time())
    words = f"version {hello.version} on {hello.host} as {hello.user}, Python {hello.python}"
    return [ok("agent", words), _clock(skew), await _folder(agent, hello.roots.get(JOBS, ""))]


def _clock(skew_seconds: float) -> Finding:
    if skew_seconds <= _SKEW_SECONDS:
        return ok("clock", f"within {max(1, round(skew_seconds))} s of this machine's")
    return finding(
        "clock",
        "warning",
        f"{skew_seconds:.0f} s away from this machine's: times of units will not fit those of jobs",
        "synchronise the clocks (timedatectl set-ntp true)",
    )


async def _folder(agent: AgentConnection, path: str) -> Finding:
    """Do in the jobs folder what a job does there: stage, claim a batch, read back, remove."""
    probe = Place(JOBS, f".check-{new_id()}")
    try:
        await agent.stage(probe, [StagedFile("batches/00000/probe", _PROBE)])
        try:
            await agent.revoke(probe, ["00000"])
            found = (await agent.read_slice(probe / "batches/00000/probe", 0, 1024)).data
        finally:
            await agent.remove(probe)
    except Refused as error:
        if error.code in _FILE_SYSTEM:
            detail = f"{path}: the file system refuses locks or hard links ({error.message})"
            return finding("jobs folder", "error", detail, _FILE_SYSTEM_MEND)
        return _not_writable(agent, path, error)
    except StokerError as error:
        return _not_writable(agent, path, error)
    if found != _PROBE:
        return finding("jobs folder", "error", f"{path}: what was written reads differently", "check the file system")
    return ok("jobs folder", f"{path}: files can be written, locked, linked, read and removed")


def _not_writable(agent: AgentConnection, path: str, error: StokerError) -> Finding:
    mend = f"as an administrator: mkdir -p '{path}' && chown {agent.hello.user} '{path}'"
    return finding("jobs folder", "error", f"{path}: {error.message}", mend)
