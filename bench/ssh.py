"""What SSH costs through a line with a round trip of 50 ms: requests, and files as streams.

`python bench/ssh.py [--quick]`, as root (it starts a private sshd with users of its own), prints a table with the
ratios and writes bench/results/ssh.json. Each comparison is made in the same run through the same line: requests on
the held channel against one exec per command; a fetch against one raw `ssh … cat` or `ssh … tar` of OpenSSH's client,
and against SFTP file by file (a part of the files, scaled up: all of them would take a quarter of an hour).
"""

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import paramiko

from shared.pipes import JOBS, AgentConnection, Place
from shared.pipes.ssh import SshLimits
from tests.servers.slurm.users import ClusterUsers
from tests.servers.slurm.workspace import Workspace
from tests.workshop.ssh import PYTHON, SshWorkshop

RESULTS = Path(__file__).parent / "results" / "ssh.json"
SSH = "/usr/bin/ssh"
DELAY_SECONDS = 0.025
AIM_FETCH = 1.2
REQUESTS = 40
SMALL_FILES = 5000
SFTP_FILES = 5
LINES = {"100 Mbit/s": 12.5e6, "1 Gbit/s": 125e6}


@contextlib.contextmanager
def cluster() -> Iterator[SshWorkshop]:
    """A private sshd with users, behind a line."""
    workspace = Workspace()
    try:
        ssh = SshWorkshop(ClusterUsers(workspace))
        try:
            ssh.start()
            ssh.server.configure(MaxSessions=10)  # for those that do it the usual way
            yield ssh
        finally:
            ssh.close()
    finally:
        workspace.remove()


class Bench:
    """All measurements on one cluster."""

    def __init__(self, ssh: SshWorkshop, *, quick: bool) -> None:
        self._ssh = ssh
        self._rounds = 1 if quick else 3
        self._megabytes = 20 if quick else 200
        self._home = ssh.users.ada.home
        self.measured: list[dict[str, object]] = []

    async def run(self) -> None:
        """Measure and print."""
        self._make_files()
        self._ssh.line.set(delay_seconds=DELAY_SECONDS)
        began = time.perf_counter()
        agent = await self._ssh.agent(limits=SshLimits())
        self._note("open a pipe with an agent", seconds=time.perf_counter() - began)
        await self._requests(agent)
        for name, bandwidth in LINES.items():
            self._ssh.line.set(delay_seconds=DELAY_SECONDS, bandwidth=bandwidth)
            await self._fetches(agent, name)
        await agent.close()

    def _make_files(self) -> None:
        ada = self._ssh.users.ada
        script = (
            "import os\nfor folder in ('jobs', 'jobs/large', 'jobs/small'): os.mkdir(folder)\n"
            f"open('jobs/large/f', 'wb').write(os.urandom({self._megabytes}_000_000))\n"
            f"for i in range({SMALL_FILES}): open(f'jobs/small/{{i}}', 'wb').write(os.urandom(1000))"
        )
        command = [PYTHON, "-I", "-S", "-c", script]
        subprocess.run(command, cwd=self._home, user=ada.uid, group=ada.gid, env=ada.environment, check=True)

    async def _requests(self, agent: AgentConnection) -> None:
        async def find(number: int) -> None:
            await agent.find(Place(JOBS, f"job-{number}"), ["00000"])

        began = time.perf_counter()
        for number in range(REQUESTS):
            await find(number)
        held = (time.perf_counter() - began) / REQUESTS
        began = time.perf_counter()
        await asyncio.gather(*(find(number) for number in range(100)))
        hundred = time.perf_counter() - began
        execs = await asyncio.to_thread(self._execs)
        trip = 2 * DELAY_SECONDS
        self._note("one request, held channel", seconds=held, round_trips=held / trip)
        self._note("one exec on an open connection", seconds=execs, round_trips=execs / trip, ratio=execs / held)
        self._note("a hundred requests at once", seconds=hundred, round_trips=hundred / trip)

    def _client(self) -> paramiko.Transport:
        transport = paramiko.Transport(("127.0.0.1", self._ssh.line.port))
        transport.connect(username=self._ssh.users.ada.name, pkey=paramiko.Ed25519Key(filename=str(self._ssh.key)))
        return transport

    def _execs(self) -> float:
        client = self._client()
        began = time.perf_counter()
        for _ in range(REQUESTS):
            channel = client.open_session()
            channel.exec_command("ls jobs/nothing")
            while channel.recv(1000):
                pass
            channel.recv_exit_status()
            channel.close()
        seconds = (time.perf_counter() - began) / REQUESTS
        client.close()
        return seconds

    async def _fetches(self, agent: AgentConnection, line: str) -> None:
        for what, raw_command, sftp_folder in (
            (f"{self._megabytes} MB in one file", "cat jobs/large/f", ""),
            (f"{SMALL_FILES} files of 1 kB", "tar -C jobs/small -cf - .", "jobs/small"),
        ):
            folder = "small" if sftp_folder else "large"
            ours, theirs, cpu = [], [], []
            for _ in range(self._rounds):
                began, busy = time.perf_counter(), time.process_time()
                await self._fetch(agent, Place(JOBS, folder))
                ours.append(time.perf_counter() - began)
                cpu.append(time.process_time() - busy)
                theirs.append(await asyncio.to_thread(self._raw, raw_command))
            fetch, raw = statistics.median(ours), statistics.median(theirs)
            verdict = "reached" if fetch / raw <= AIM_FETCH else "MISSED"
            self._note(f"{line}: {what}, raw ssh", seconds=raw)
            self._note(
                f"{line}: {what}, fetch", seconds=fetch, ratio=fetch / raw, cpu=statistics.median(cpu), aim=verdict
            )
            if sftp_folder:
                sftp = await asyncio.to_thread(self._sftp)
                self._note(f"{line}: {what}, SFTP one by one (scaled)", seconds=sftp, ratio=sftp / raw)

    async def _fetch(self, agent: AgentConnection, place: Place) -> None:
        async with agent.fetch(place) as files:
            async for file in files:
                async for _ in file.chunks:
                    pass

    def _raw(self, command: str) -> float:
        options = ["-F", "none", "-i", str(self._ssh.key), "-o", f"UserKnownHostsFile={self._ssh.known_hosts}"]
        target = ["-p", str(self._ssh.line.port), f"{self._ssh.users.ada.name}@127.0.0.1"]
        # It waits for a word of ours: the price of connecting is not the stream's.
        words = [SSH, *options, *target, f"echo ready; head -n 1 >/dev/null; {command}"]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as ssh:
            assert ssh.stdin is not None
            assert ssh.stdout is not None
            assert ssh.stdout.read(6) == b"ready\n"
            began = time.perf_counter()
            ssh.stdin.write(b"go\n")
            while ssh.stdout.read(1024**2):
                pass
            return time.perf_counter() - began

    def _sftp(self) -> float:
        client = self._client()
        sftp = paramiko.SFTPClient.from_transport(client)
        assert sftp is not None
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            for number in range(SFTP_FILES):
                sftp.get(f"jobs/small/{number}", f"{folder}/{number}")
            seconds = (time.perf_counter() - began) / SFTP_FILES * SMALL_FILES
        client.close()
        return seconds

    def _note(self, what: str, *, aim: str = "", **figures: float) -> None:
        self.measured.append({"what": what, **{name: round(value, 4) for name, value in figures.items()}})
        shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        print(f"{what:<62} {shown}  {f'aim {aim}' if aim else ''}".rstrip(), flush=True)


def main() -> None:
    """Measure, print, write."""
    if os.geteuid() != 0:
        sys.exit("bench/ssh.py has to be run as root: it makes users")
    with cluster() as ssh:
        bench = Bench(ssh, quick="--quick" in sys.argv)
        asyncio.run(bench.run())
    RESULTS.parent.mkdir(exist_ok=True)
    result = {"round_trip_seconds": 2 * DELAY_SECONDS, "aim_fetch_ratio": AIM_FETCH, "measured": bench.measured}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
