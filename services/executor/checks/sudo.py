"""What a check finds about the way to a user through sudo: whether nobody but root can change what sudo starts."""

import asyncio
import os
import pwd
import secrets
import shlex
from pathlib import Path

from services.executor.checks.findings import finding, ok
from shared.pipes import AgentConnection, Place
from shared.pipes.sudo.sudoers import rule_or_reason
from shared.pipes.sudo.trust import untrusted_parts
from stoker.contracts.checks import Finding
from stoker.contracts.resources import SlurmSudoResourceSpec
from stoker.errors import StokerError

_PROBE = b"written by the service"
TASKS = "tasks"


def trust_findings(spec: SlurmSudoResourceSpec, agent_file: str) -> list[Finding]:
    """Whether interpreter and agent, and every folder on the way to them, are root's alone (blocks)."""
    install = f"as root: stoker agent > {shlex.quote(agent_file)}"
    found = []
    for name, path, missing in (
        ("interpreter's file", spec.jobs_slurm_python_worker, "mend jobs_slurm_python_worker of the resource"),
        ("agent's file", agent_file, install),
    ):
        doubts = untrusted_parts(path)
        found += [finding(name, "error", one.detail, one.mend or missing) for one in doubts]
        if not doubts:
            found.append(ok(name, f"{path}: nobody but root can change it"))
    return found


def rule_for(username: str, spec: SlurmSudoResourceSpec, agent_file: str) -> str:
    """The sudoers line that lets this service reach a user."""
    service = pwd.getpwuid(os.getuid()).pw_name
    return rule_or_reason(service, [username], spec.jobs_slurm_python_worker, agent_file)


async def shared_folder_findings(agent: AgentConnection, spec: SlurmSudoResourceSpec) -> list[Finding]:
    """Whether the user reads what the service writes into the folder of task environments.

    `agent` was opened with that folder as its root `tasks`.
    """
    folder = Path(spec.tasks_local_dir)
    probe = f".check-{secrets.token_hex(8)}"
    try:
        await asyncio.to_thread(_write, folder / probe)
    except OSError as error:
        mend = f"mkdir -p '{folder}' && chown {pwd.getpwuid(os.getuid()).pw_name} '{folder}' && chmod 755 '{folder}'"
        detail = f"{folder}: {error.strerror}; jobs with a command of their own run"
        return [finding("tasks folder", "warning", detail, mend)]
    try:
        seen = (await agent.read_slice(Place(TASKS, probe), 0, 1024)).data
    except StokerError as error:
        detail = f"{agent.hello.user} cannot read what the service writes into {folder}: {error.message}"
        return [finding("tasks folder", "warning", detail, f"chmod a+rx '{folder}' and the folders above it")]
    finally:
        await asyncio.to_thread((folder / probe).unlink, missing_ok=True)
    if seen != _PROBE:
        return [finding("tasks folder", "error", f"{folder}: service and user see different files", "share it")]
    return [ok("tasks folder", f"{folder}: what the service writes is seen by {agent.hello.user}")]


def _write(path: Path) -> None:
    path.write_bytes(_PROBE)
    path.chmod(0o644)
