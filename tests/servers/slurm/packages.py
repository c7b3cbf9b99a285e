"""The Debian packages that a real SLURM needs: are they here, and how are they installed without starting anything?

Installing them enables system services on a SLURM port, a MariaDB port and a munge socket. The test clusters bring
daemons of their own, so `python -m tests.servers.slurm.packages` (as root; standard library only) installs what is
missing while starting is forbidden, and disables exactly the units that came with it. Units of packages that were
installed before are left as they are, and so is the machine's own configuration.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# A program that shows that a package is there, by package.
PACKAGES = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "slurmdbd": "slurmdbd",
    "slurm-client": "sbatch",
    "munge": "munged",
    "mariadb-server": "mariadbd",
    "sudo": "sudo",
}
_UNITS = {"slurmctld": "slurmctld", "slurmd": "slurmd", "slurmdbd": "slurmdbd", "munge": "munge"}
_UNITS |= {"mariadb-server": "mariadb"}
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_POLICY = Path("/usr/sbin/policy-rc.d")


def missing() -> list[str]:
    """Names of packages that are not installed."""
    return [package for package, program in PACKAGES.items() if shutil.which(program, path=_PATH) is None]


@contextlib.contextmanager
def _nothing_starts() -> Iterator[None]:
    """Packages' own scripts ask this file whether they may start a service; a policy that is already there stays."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def install() -> list[str]:
    """Install what is missing; returns it. Raises subprocess.CalledProcessError with apt's words on the terminal."""
    wanted = missing()
    if not wanted:
        return []
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _nothing_starts():
        subprocess.run(["/usr/bin/apt-get", "update", "-q"], env=environment, check=True)
        command = ["/usr/bin/apt-get", "install", "-y", "-q", "--no-install-recommends", *wanted]
        subprocess.run(command, env=environment, check=True)
    for package in wanted:
        if package in _UNITS and shutil.which("systemctl"):
            # A machine without systemd as its first process still has the links that a later boot would follow.
            subprocess.run(["/usr/bin/systemctl", "disable", _UNITS[package]], check=False, capture_output=True)
    return wanted


if __name__ == "__main__":
    sys.stdout.write(f"installed: {', '.join(install()) or 'nothing, all was there'}\n")
