"""A munge daemon with a key and a socket of its own, one for each cluster."""

import secrets
import socket
from pathlib import Path

from tests.servers.process import ServerProcess, program
from tests.servers.slurm.workspace import MARK, Workspace


class MungeDaemon:
    """`authentication` is what the daemons' configuration says to find it."""

    def __init__(self, workspace: Workspace, cluster: str) -> None:
        folder = workspace.folder / f"munge-{cluster}"
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
        self.socket = folder / "munge.socket"
        key = folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = [f"--{name}-file={folder / f'munge.{name}'}" for name in ("key", "log", "pid", "seed")]
        command = [*dies_with_the_tests(workspace.folder), program("munged", "munge"), "--foreground"]
        command += [f"--socket={self.socket}", "--num-threads=4", *files]
        self.process = ServerProcess(command, log=folder / "server.log", is_ready=self._answers)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.socket)) == 0


def dies_with_the_tests(folder: Path, **environment: str) -> list[str]:
    """Words to put before a daemon: a clean environment with the run's mark, and SIGKILL when the tests die."""
    settings = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", MARK: str(folder), **environment}
    words = [f"{name}={value}" for name, value in settings.items()]
    return [program("setpriv", "util-linux"), "--pdeathsig=KILL", program("env", "coreutils"), "-i", *words]
