"""What a job on SLURM costs through SSH with a round trip of 50 ms: seconds, and how often the line is waited for.

`python bench/ssh_jobs.py [--quick]`, as root (it starts a private SLURM and sshd, with users of their own), prints a
table and writes bench/results/ssh_jobs.json. Turns are counted at the line: how often one of the services spoke after
it had been spoken to. They should depend neither on the number of units nor on that of batches, but for the looks
that are made each second while a job lasts. In the same run, through the same line, the same job is done the usual
way: one exec per command, SFTP file by file (a part of the files, scaled up).
"""

import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import paramiko

from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.configuration import FULL
from tests.servers.slurm.installation import PublicInstallation
from tests.servers.slurm.users import ClusterUsers
from tests.servers.slurm.workspace import Workspace
from tests.workshop.ssh_site import SshSite

RESULTS = Path(__file__).parent / "results" / "ssh_jobs.json"
DELAY_SECONDS = 0.025
SLOTS = 2
CASES = ((40, 1), (400, 1), (400, 4))
SFTP_FILES = 10
POLL_SECONDS = 1.0
BATCHING = {
    "target_cpus_per_job": SLOTS,
    "max_cpus_per_job": SLOTS,
    "target_mem_per_job": 200,
    "max_mem_per_job": 500,
    "target_num_jobs": 4,
    "max_num_jobs": 4,
}


@contextlib.contextmanager
def site() -> Iterator[SshSite]:
    """A cluster with its sshd behind a line, and the services on the near side."""
    workspace = Workspace()
    try:
        cluster = SlurmCluster(short_name="full", plan=FULL, workspace=workspace, users=ClusterUsers(workspace))
        folder = workspace.folder / "installation"
        folder.mkdir(mode=0o755)
        made = SshSite(cluster, PublicInstallation(folder))
        try:
            cluster.start()
            made.start()
            made.server.configure(MaxSessions=10)  # for those that do it the usual way
            yield made
        finally:
            made.stop()
            cluster.stop()
    finally:
        workspace.remove()


class Bench:
    """All measurements on one site."""

    def __init__(self, there: SshSite, *, quick: bool) -> None:
        self._site = there
        self._rounds = 1 if quick else 5
        self.measured: list[dict[str, object]] = []

    async def run(self) -> None:
        """Measure and print."""
        ada = self._site.cluster.users.ada
        profile = await self._site.profile_on(ada, jobs_runner_config={"batching_config": BATCHING})
        await self._site.run(ada, ["true"], profile_id=profile)  # the pipes are open
        self._site.line.set(delay_seconds=DELAY_SECONDS)
        ours = 0.0
        for units, batches in CASES:
            seconds, turns, calls = [], [], []
            for _ in range(self._rounds):
                taken, turned, called = await self._job(profile, units, batches)
                seconds.append(taken)
                turns.append(turned)
                calls.append(called)
            ours = statistics.median(seconds)
            self._note(
                f"{units} units, batches: {batches}",
                seconds=ours,
                turns=statistics.median(turns),
                turns_at_most=max(turns),
                scheduler_calls=statistics.median(calls),
            )
        units, batches = CASES[-1]
        seconds, turned = await asyncio.to_thread(self._usual, units, batches)
        self._note(f"{units} units, batches: {batches}, the usual way", seconds=seconds, turns=turned)
        self.measured[-1]["ratio"] = round(seconds / ours, 1)
        print(f"the usual way takes {seconds / ours:.1f} times as long")

    async def _job(self, profile: str, units: int, batches: int) -> tuple[float, int, int]:
        ada, line = self._site.cluster.users.ada, self._site.line
        self._site.cluster.commands.forget()
        before, began = line.counts()["turns"], time.perf_counter()
        job = await self._site.run(
            ada,
            ["true"],
            units,
            profile_id=profile,
            tasks_per_job=units // batches,
            parallel_tasks_per_job=SLOTS,
        )
        taken = time.perf_counter() - began
        if (job.state, len(await self._site.batches(job.id))) != ("succeeded", batches):
            sys.exit(f"the job did not go as planned: {job}")
        return taken, line.counts()["turns"] - before, len(self._site.cluster.commands.calls())

    def _usual(self, units: int, batches: int) -> tuple[float, float]:
        """Seconds and turns, those for files scaled up from a few."""
        ada, line = self._site.cluster.users.ada, self._site.line
        client = paramiko.Transport(("127.0.0.1", line.port))
        client.connect(username=ada.name, pkey=paramiko.Ed25519Key(filename=str(self._site.key_path(ada))))
        sftp = paramiko.SFTPClient.from_transport(client)
        if sftp is None:
            sys.exit("no SFTP")
        scale = units / SFTP_FILES
        before, began = line.counts()["turns"], time.perf_counter()
        _run(client, "mkdir -p usual")
        ids = []
        for batch in range(batches):
            numbers = f"seq {batch * units // batches} {(batch + 1) * units // batches - 1}"
            command = f"cd usual; {numbers} | xargs -P{SLOTS} -I% sh -c 'true; echo null > out-%'"
            with sftp.open(f"usual/script-{batch}", "w") as file:
                file.write(f"#!/bin/sh\n{command}\n")
            ids.append(_run(client, f"sbatch --parsable --mem=200 --cpus-per-task={SLOTS} usual/script-{batch}"))
        while _run(client, f"squeue -h -o %A -j {','.join(ids)} 2>/dev/null"):
            time.sleep(POLL_SECONDS)
        seconds, turns = time.perf_counter() - began, float(line.counts()["turns"] - before)
        before, began = line.counts()["turns"], time.perf_counter()
        with tempfile.NamedTemporaryFile() as local:
            for number in range(SFTP_FILES):
                with sftp.open(f"usual/args-{number}", "w") as file:
                    file.write("{}")
                sftp.get(f"usual/out-{number}", local.name)
        seconds += (time.perf_counter() - began) * scale
        turns += (line.counts()["turns"] - before) * scale
        client.close()
        return seconds, turns

    def _note(self, what: str, **figures: float) -> None:
        self.measured.append({"what": what, **{name: round(value, 3) for name, value in figures.items()}})
        print(f"{what:<40} " + "  ".join(f"{name} {value:.2f}" for name, value in figures.items()), flush=True)


def _run(client: paramiko.Transport, command: str) -> str:
    channel = client.open_session()
    channel.exec_command(command)
    said = b""
    while data := channel.recv(10_000):
        said += data
    channel.recv_exit_status()
    channel.close()
    return said.decode().strip()


def main() -> None:
    """Measure, print, write."""
    if os.geteuid() != 0:
        sys.exit("bench/ssh_jobs.py has to be run as root: it starts a cluster")
    with site() as there:
        bench = Bench(there, quick="--quick" in sys.argv)
        asyncio.run(bench.run())
    RESULTS.parent.mkdir(exist_ok=True)
    result = {"round_trip_seconds": 2 * DELAY_SECONDS, "poll_seconds": POLL_SECONDS, "measured": bench.measured}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
