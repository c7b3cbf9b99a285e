"""One running cluster, as a test sees it: users submit, administrators interfere, daemons come and go."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import ServerNotUsableError
from tests.servers.slurm.accounts import make_accounts
from tests.servers.slurm.calls import CountedCommands
from tests.servers.slurm.configuration import ClusterPlan, Settings
from tests.servers.slurm.daemons import ClusterDaemons
from tests.servers.slurm.executions import Done, fields_of, run_command
from tests.servers.slurm.munge import MungeDaemon
from tests.servers.slurm.sudoers import Sudoers
from tests.servers.slurm.users import ClusterUsers, UnixUser
from tests.servers.slurm.workspace import Workspace

_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.05


class SlurmCluster:
    """Made by a fixture.

    `daemons`: controller, accounting (None on the bare cluster), nodes; each a process to kill, stall and start.
    `commands`: the folder of counted programs, for the front of a service's PATH.
    `users`, `sudoers`: the people, and what sudo lets them do.
    """

    def __init__(self, *, short_name: str, plan: ClusterPlan, workspace: Workspace, users: ClusterUsers) -> None:
        self.name = f"stk{workspace.tag}{short_name}"
        self.folder = workspace.folder / short_name
        self.plan = plan
        self.users = users
        self.sudoers = Sudoers(workspace)
        self._changed = False
        munge = MungeDaemon(workspace, short_name)
        self.daemons = ClusterDaemons(
            name=self.name, plan=plan, workspace=workspace.folder, folder=self.folder, munge=munge
        )
        self.commands = CountedCommands(self.folder, self.configuration)

    @property
    def configuration(self) -> Path:
        """The file that SLURM_CONF names."""
        return self.daemons.configuration

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.plan.nodes)

    def start(self) -> None:
        """Until every node is idle."""
        self.daemons.munge.process.start()
        if self.daemons.accounting is not None:
            self.daemons.accounting.start()
            make_accounts(self.name, self.users, self.administer)
        self.daemons.start_controller_and_nodes()
        self.wait_until(lambda: all(self.node_states(name) == {"IDLE"} for name in self.nodes), "every node is idle")

    def stop(self) -> None:
        self.daemons.stop()

    def tidy(self) -> None:
        """Undo what a test left: daemons up, settings as planned, no job, no stray of one, every node idle."""
        self.daemons.munge.process.start()
        if self.daemons.accounting is not None:
            self.daemons.accounting.start()
        if self._changed:
            self._configure({}, {}, restart=True)
        self.daemons.start_controller_and_nodes()
        self.wait_until(self._answers, "the controller answers")
        jobs = self.administer("squeue", "-h", "-o", "%A").stdout.split()
        if jobs:
            self.administer("scancel", "--quiet", *sorted(set(jobs)), check=False)
        # More than once: a process that is found may start another one before it dies.
        self.wait_until(lambda: self._kill_strays() == 0, "no process of a job is left")
        for name in self.nodes:
            if self.node_states(name) & {"DOWN", "DRAIN", "FAIL"}:
                self.resume_node(name)
        if any(self.node_states(name) != {"IDLE"} for name in self.nodes):
            self._nodes_report()
        self.wait_until(lambda: not self.administer("squeue", "-h").stdout, "no job is left")
        self.wait_until(lambda: all(self.node_states(name) == {"IDLE"} for name in self.nodes), "every node is idle")
        for user in self.users.scientists:
            # Files of jobs that were submitted in the home itself. A job of the next test may wait for one of this
            # name; and the other cluster, with the same homes, numbers its jobs from 1 too.
            for path in user.home.iterdir():
                if path.is_file() and not path.name.startswith("."):
                    path.unlink()
        self.commands.forget()

    def _kill_strays(self) -> int:
        """Without cgroups, processes that left their job's session outlive it; returns how many there were."""
        mark = f"SLURM_CLUSTER_NAME={self.name}".encode()
        found = 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        os.kill(int(entry.name), signal.SIGKILL)
                        found += 1
        return found

    def administer(self, *command: str, check: bool = True) -> Done:
        """A command as root, past the counting programs: `cluster.administer("scontrol", "requeue", job)`."""
        return run_command(command, user=None, configuration=self.configuration, check=check)

    def run(self, *command: str, user: UnixUser, standard_input: str = "", check: bool = True) -> Done:
        """A command in the user's login environment, past the counting programs."""
        configuration = self.configuration
        return run_command(
            command, user=user, configuration=configuration, standard_input=standard_input, check=check
        )

    def run_counted(self, *command: str, user: UnixUser, standard_input: str = "", check: bool = True) -> Done:
        """The same with `commands.path` and without SLURM_CONF: as a service of this cluster's host would."""
        return run_command(
            command,
            user=user,
            configuration=None,
            path=self.commands.path,
            standard_input=standard_input,
            check=check,
        )

    def lead_sudo_here(self, command: str) -> None:
        """Let `command` (as it stands in a sudoers rule) find this cluster's programs when sudo starts it.

        sudo passes no environment and sets PATH itself. A real host has one cluster, in /etc/slurm; this one has
        several, and the command's own PATH says which: that of `commands`. It allows nothing.
        """
        alias = f"{self.name.upper()}_AGENT"
        text = f'Cmnd_Alias {alias} = {command}\nDefaults!{alias} secure_path="{self.commands.path}"\n'
        self.sudoers.write(f"path-{self.folder.name}", text)

    def submit(self, script: str, *options: str, user: UnixUser) -> str:
        """Id of a new batch job; `script` without its first line. Output goes to the user's home as sbatch has it."""
        text = f"#!/bin/sh\n{script}\n"
        done = self.run("sbatch", "--parsable", *options, user=user, standard_input=text)
        return done.stdout.strip().partition(";")[0]

    def job(self, job_id: str) -> dict[str, str]:
        """What `scontrol show job` says of one job or array element; ServerNotUsableError when it is forgotten."""
        return fields_of(self.administer("scontrol", "-o", "show", "job", job_id).stdout.splitlines()[0])

    def wait_for_job(self, job_id: str, *states: str, seconds: float = _WAIT_SECONDS) -> dict[str, str]:
        """Look until the job is in one of the states; returns what `job` says then."""
        seen: dict[str, str] = {}

        def arrived() -> bool:
            seen.clear()
            seen.update(self.job(job_id))
            return seen["JobState"] in states

        self.wait_until(arrived, f"job {job_id} is {' or '.join(states)}", seconds=seconds, but=seen)
        return seen

    def records(self, job_id: str) -> list[dict[str, str]]:
        """What `sacct` has of one job, steps included, all requeued runs included."""
        wanted = "JobID,JobIDRaw,JobName,User,State,ExitCode,DerivedExitCode,NodeList,Submit,Start,End,Elapsed"
        wanted += ",Account,Partition,QOS,Reason,ReqTRES,AllocTRES,MaxRSS,TotalCPU,Comment,AdminComment"
        done = self.administer(
            "sacct", "--parsable2", "--duplicates", "-S", "1970-01-01", "-j", job_id, f"--format={wanted}"
        )
        head, *lines = done.stdout.splitlines()
        return [dict(zip(head.split("|"), line.split("|"), strict=True)) for line in lines]

    def wait_for_record(self, job_id: str, *states: str, seconds: float = _WAIT_SECONDS) -> dict[str, str]:
        """Accounting lags: look until the job's newest own record begins with one of the states."""
        seen: dict[str, str] = {}

        def arrived() -> bool:
            own = [record for record in self.records(job_id) if record["JobID"] == job_id]
            seen.clear()
            seen.update(own[-1] if own else {})
            return seen.get("State", "").startswith(states)

        self.wait_until(arrived, f"sacct says {' or '.join(states)} of job {job_id}", seconds=seconds, but=seen)
        return seen

    def end_by_time_limit(self, job_id: str) -> None:
        """Let a running job's limit pass now. The controller looks for such jobs every 30 s: TIMEOUT within 31 s."""
        command = ("scontrol", "update", f"JobId={job_id}", "EndTime=now")
        # In the very second of its start there is no such time.
        self.wait_until(
            lambda: self.administer(*command, check=False).returncode == 0, "the limit is set", seconds=10
        )

    def node_states(self, name: str) -> set[str]:
        """As scontrol has them, without the marks for "does not respond" and the like: {"DOWN", "DRAIN"}."""
        fields = fields_of(self.administer("scontrol", "-o", "show", "node", name).stdout)
        return {word.rstrip("*~#$!%@^-") + ("*" if word.endswith("*") else "") for word in fields["State"].split("+")}

    def fail_node(self, name: str) -> None:
        """The administrator's `down`: its jobs end with NODE_FAIL, or are requeued, at once."""
        self.administer("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=test")

    def resume_node(self, name: str) -> None:
        self.administer("scontrol", "update", f"NodeName={name}", "State=RESUME", check=False)

    def start_controller(self) -> None:
        """After a stop or a kill; nodes are of use at once.

        A controller that is killed (not stopped) has forgotten the last jobs that it accepted, up to some five
        seconds of them, and gives their ids to others.
        """
        self.daemons.controller.start()
        self._nodes_report()

    def _nodes_report(self) -> None:
        """A controller that has just started would ask its nodes only after four seconds."""
        self.administer("scontrol", "reconfigure")
        # It reads everything anew, and may refuse a connection meanwhile.
        self.wait_until(self._answers, "the controller answers")

    def _answers(self) -> bool:
        return self.administer("squeue", "-h", "-o", "%A", check=False).returncode == 0

    @contextmanager
    def settings(
        self, accounting: Settings | None = None, *, restart: bool = False, **changes: str | int
    ) -> Iterator[None]:
        """Inside, the cluster has these changes of slurm.conf, and of slurmdbd.conf (whose daemon is restarted).

        Most are taken over without a restart of the controller; those that are not (MaxArraySize) want `restart`.
        """
        self._configure(changes, accounting or {}, restart=restart)
        try:
            yield
        finally:
            self._configure({}, {}, restart=restart)

    def _configure(self, changes: Settings, accounting: Settings, *, restart: bool) -> None:
        was_changed, self._changed = self._changed, bool(changes or accounting)
        self.daemons.write(changes)
        if self.daemons.accounting is not None and (accounting or was_changed):
            self.daemons.accounting.write(accounting)
            self.daemons.accounting.process.stop()
            self.daemons.accounting.start()
        if restart:
            self.daemons.controller.stop()
        self.start_controller()

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Inside, programs that are started give up on a silent controller after two seconds, not after twenty."""
        self.daemons.write({"MessageTimeout": 2})
        try:
            yield
        finally:
            self.daemons.write({})

    def wait_until(
        self,
        condition: Callable[[], bool],
        what: str,
        *,
        seconds: float = _WAIT_SECONDS,
        but: object = "it is not so",
    ) -> None:
        """Look again and again; ServerNotUsableError says what did not happen, `but` what was seen last."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise ServerNotUsableError(f"after {seconds:.0f} s, waited until {what}, but {but}")
            time.sleep(_LOOK_SECONDS)
