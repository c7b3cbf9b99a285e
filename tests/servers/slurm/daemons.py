"""The daemons of one cluster: their files, their processes, and the order in which they need each other."""

import subprocess
from pathlib import Path

from tests.servers.process import ServerProcess, free_port, program
from tests.servers.slurm.configuration import (
    Addresses,
    ClusterPlan,
    Settings,
    gres_conf,
    slurm_conf,
    slurmdbd_conf,
)
from tests.servers.slurm.database import MariadbServer
from tests.servers.slurm.munge import MungeDaemon, dies_with_the_tests

_LISTENING = "0A"


def distinct_ports(count: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


def listens(port: int) -> bool:
    """Does a process listen on this TCP port? (Asked of the kernel: a trial connection is logged as an error.)"""
    ending = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(ending) and fields[3] == _LISTENING:
                return True
    return False


class Accounting:
    """slurmdbd and its database."""

    def __init__(self, *, workspace: Path, folder: Path, munge: MungeDaemon, addresses: Addresses) -> None:
        self._folder = folder
        self._munge = munge
        self._addresses = addresses
        self.database = MariadbServer(workspace=workspace, folder=folder, port=addresses.database)
        self.write({})
        command = [program("slurmdbd", "slurmdbd"), "-D"]
        where = {"SLURM_CONF": str(folder / "etc" / "slurm.conf")}
        self.process = ServerProcess(
            [*dies_with_the_tests(workspace, **where), *command],
            log=folder / "slurmdbd.out",
            is_ready=lambda: listens(addresses.accounting),
        )

    def write(self, changes: Settings) -> None:
        """Write slurmdbd.conf, the plan's with these changes."""
        path = self._folder / "etc" / "slurmdbd.conf"
        path.touch(mode=0o600)  # slurmdbd refuses a file that others may read
        path.write_text(
            slurmdbd_conf(
                folder=self._folder,
                munge_socket=self._munge.socket,
                addresses=self._addresses,
                password=self.database.password,
                changes=changes,
            )
        )

    def start(self) -> None:
        self.database.process.start()
        self.process.start()

    def stop(self) -> None:
        self.process.stop()
        self.database.process.stop()


class ClusterDaemons:
    """`accounting` (or None), `controller` and `nodes` may each be killed and started by a test."""

    def __init__(self, *, name: str, plan: ClusterPlan, workspace: Path, folder: Path, munge: MungeDaemon) -> None:
        self.name = name
        self.plan = plan
        self.folder = folder
        self.munge = munge
        controller, accounting, database, *nodes = distinct_ports(3 + len(plan.nodes))
        names = [node.name for node in plan.nodes]
        self._addresses = Addresses(controller, dict(zip(names, nodes, strict=True)), accounting, database)
        for path, mode in ((folder, 0o755), (folder / "etc", 0o755), (folder / "state", 0o700)):
            path.mkdir()
            path.chmod(mode)
        self.configuration = folder / "etc" / "slurm.conf"
        self.write({})
        (folder / "etc" / "gres.conf").write_text(gres_conf(plan, folder))
        for number in range(max(node.gpus for node in plan.nodes)):
            (folder / f"nvidia{number}").symlink_to("/dev/null")

        self._before = dies_with_the_tests(workspace, SLURM_CONF=str(self.configuration))
        self.accounting = (
            Accounting(workspace=workspace, folder=folder, munge=munge, addresses=self._addresses)
            if plan.accounting
            else None
        )
        self.controller = ServerProcess(
            [*self._before, program("slurmctld", "slurmctld"), "-D"],
            log=folder / "slurmctld.out",
            is_ready=self._controller_answers,
        )
        self.nodes = {name: self._node(name, port) for name, port in self._addresses.nodes.items()}

    def _node(self, name: str, port: int) -> ServerProcess:
        return ServerProcess(
            [*self._before, program("slurmd", "slurmd"), "-D", "-N", name],
            log=self.folder / f"slurmd-{name}.out",
            is_ready=lambda: listens(port),
        )

    def _controller_answers(self) -> bool:
        command = ["/usr/bin/scontrol", "ping"]
        environment = {"SLURM_CONF": str(self.configuration)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return " is UP" in done.stdout

    def write(self, changes: Settings) -> None:
        """Write slurm.conf, the plan's with these changes. Who reads it when is the caller's business."""
        text = slurm_conf(
            name=self.name,
            plan=self.plan,
            folder=self.folder,
            munge_socket=self.munge.socket,
            addresses=self._addresses,
            changes=changes,
        )
        # By rename: programs that users call at this moment read the old file or the new one.
        draft = self.configuration.with_suffix(".new")
        draft.write_text(text)
        draft.chmod(0o644)
        draft.rename(self.configuration)

    def start_controller_and_nodes(self) -> None:
        """Whatever is not running."""
        self.controller.start()
        for node in self.nodes.values():
            node.start()

    def stop(self) -> None:
        """Everything, quickly: nothing of it is needed again."""
        for process in (*self.nodes.values(), self.controller):
            process.kill()
        if self.accounting is not None:
            self.accounting.process.kill()
            self.accounting.database.process.kill()
        self.munge.process.kill()
