"""A scientist's jobs on a real cluster, staged and submitted through a real agent that runs as the scientist."""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shared.pipes import AgentConnection, Place, StagedFile, SubmissionSeen
from shared.pipes.child import ChildPipe
from shared.remote.bundle import agent_source, runner_source
from shared.slurm.answers.submission import read_submission
from shared.slurm.requests.needs import UnitNeeds
from shared.slurm.requests.script import batch_script, launch_log, sbatch_arguments, script_path, split_array
from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.users import UnixUser, supplementary_groups
from tests.workshop import records, results_of

SYSTEM_PYTHON = "/usr/bin/python3"
NEEDS = UnitNeeds(cpus=1, memory_mb=100, partition="main")


class ClusterJob:
    """One staged job folder of a scientist, named `place` for the agent; root sees it at `path`."""

    def __init__(self, site: "ClusterSite", name: str) -> None:
        self._site = site
        self.place = Place("jobs", name)
        self.path = Path(site.agent.hello.roots["jobs"]) / name
        self.mark = f"test-batch-{secrets.token_hex(8)}"

    def batch(self, index: int = 0) -> Path:
        return self.path / "batches" / f"{index:05}"

    def results(self, index: int = 0) -> dict[int, dict[str, Any]]:
        return results_of(self.batch(index))

    def events(self, index: int = 0) -> list[dict[str, Any]]:
        return records(self.batch(index) / "events.jsonl")

    def end(self, index: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.batch(index) / "end.json").read_text())
        return found

    def log(self, index: int = 0, slot: int = 0) -> str:
        return (self.batch(index) / "logs" / f"slot-{slot}.log").read_text()

    def launch_log(self, native_id: str) -> str:
        return Path(launch_log(str(self.path), native_id)).read_text()

    async def submit(
        self,
        *,
        needs: UnitNeeds = NEEDS,
        batches: Sequence[int] = (0,),
        parallel: int = 1,
        requeue: bool = False,
        marker: str = "",
        options: Sequence[str] = (),
        **more: int,
    ) -> SubmissionSeen:
        """One sbatch through the agent; `options` are further arguments of sbatch."""
        (part,) = split_array(batches, 1001)
        marker = marker or f"stoker-{secrets.token_hex(6)}"
        folder = str(self.path)
        script = batch_script(
            needs, parallel=parallel, python=SYSTEM_PYTHON, job_folder=folder, part=part, requeue=requeue
        )
        path = script_path(folder, marker)
        arguments = [*options, *sbatch_arguments(part, script=path, job_folder=folder, marker=marker)]
        return await self._site.agent.submit(self.place, marker=marker, script=script, arguments=arguments, **more)

    async def run(self, **how: Any) -> str:
        """Submit and return the array's job id."""
        return accepted(await self.submit(**how))


class ClusterSite:
    """`agent` runs as `user`."""

    def __init__(self, cluster: SlurmCluster, user: UnixUser, agent: AgentConnection) -> None:
        self.cluster = cluster
        self.user = user
        self.agent = agent

    async def stage(
        self, command: list[str], units: list[dict[str, Any]], *, batches: int = 1, **more: Any
    ) -> ClusterJob:
        """Batches that each run `command` for all `units`; `more` goes into batch.json."""
        job = ClusterJob(self, f"job-{secrets.token_hex(6)}")
        files = [StagedFile("runner.py", runner_source())]
        for index in range(batches):
            files += _batch_files(job, index, command, units, more)
        assert await self.agent.stage(job.place, files)
        return job


def _batch_files(
    job: ClusterJob, index: int, command: list[str], units: list[dict[str, Any]], more: dict[str, Any]
) -> list[StagedFile]:
    batch = {
        "format": 1,
        "job_id": job.place.name,
        "batch_id": f"{job.mark}-{index}",
        "mark": f"{job.mark}-{index}",
        "index": index,
        "parallel": 1,
        "command": command,
        "environment": {},
        "work": "../../work",
        "kill_grace_seconds": 0.5,
    }
    lines = "".join(json.dumps({"unit": i, "attempt": 1, "args": args}) + "\n" for i, args in enumerate(units))
    contents = {
        "batch.json": json.dumps(batch | more),
        "units.jsonl": lines,
        "events.jsonl": '{"event":"staged"}\n',
        "results.jsonl": "",
    }
    return [StagedFile(f"batches/{index:05}/{name}", text.encode()) for name, text in contents.items()]


def accepted(seen: SubmissionSeen) -> str:
    """The job's id; fails with what sbatch said instead."""
    submission = read_submission(seen.exit_code, seen.stdout, seen.stderr)
    assert submission.job_id is not None, seen
    return str(submission.job_id)


async def start_agent(user: UnixUser, file: Path, path: str, **more: str) -> ChildPipe:
    """The agent's file, run as `user` with this PATH: what a login would start."""
    if not file.exists():
        file.write_bytes(agent_source())
        file.chmod(0o755)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        SYSTEM_PYTHON,
        "-I",
        "-S",
        str(file),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env={**user.environment, "PATH": path, **more},
        cwd="/",
        user=user.uid,
        group=user.gid,
        extra_groups=supplementary_groups(user),
        start_new_session=True,
    )
    return ChildPipe(process)


@asynccontextmanager
async def site_of(cluster: SlurmCluster, user: UnixUser) -> AsyncIterator[ClusterSite]:
    """The scientist's own agent, whose calls of SLURM's programs are counted."""
    pipe = await start_agent(user, cluster.folder / "agent.py", cluster.commands.path)
    agent = await AgentConnection.open(pipe, {"jobs": "~/stoker jobs%1"})
    try:
        yield ClusterSite(cluster, user, agent)
    finally:
        await agent.close()


async def ended(cluster: SlurmCluster, job_id: str, *states: str) -> dict[str, str]:
    """Wait without holding up the loop."""
    states = states or ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED")
    return await asyncio.to_thread(cluster.wait_for_job, job_id, *states)


def pid_of_agent(site: ClusterSite) -> int:
    """The process of the site's agent: to kill it."""
    pipe = site.agent._exchange._pipe
    assert isinstance(pipe, ChildPipe)
    return pipe.pid


def is_gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")  # noqa: PTH110 - a process, not a file
