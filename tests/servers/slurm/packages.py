"""The Debian packages that a real SLURM needs: are they here?

They bring system services (munge, MariaDB, the three SLURM daemons) that nobody wants running: `.ci/packages`
installs packages without starting or enabling theirs. The test clusters have daemons, ports and sockets of their own.
"""

import shutil

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
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def missing() -> list[str]:
    """Names of packages that are not installed."""
    return [package for package, program in PACKAGES.items() if shutil.which(program, path=_PATH) is None]
