"""`#SBATCH` lines that users add, and which options in them are not theirs to set."""

import shlex
from collections.abc import Iterator

from shared.slurm.requests.getopt import Option, read_options

_OWN = """
job-name comment output error input open-mode array chdir workdir nodes ntasks ntasks-per-node cpus-per-task mem
mem-per-cpu export export-file requeue no-requeue signal parsable wrap wait test-only uid gid clusters cluster
get-user-env propagate ignore-pbs ntasks-per-core ntasks-per-socket ntasks-per-gpu ntasks-per-tres tasks-per-node
cpus-per-gpu mem-per-gpu help usage version
"""
OWN_OPTIONS = frozenset(_OWN.split())
"""Options that Stoker sets itself, or that would take the job out of its sight."""

FIELD_OPTIONS = frozenset({"partition", "constraint", "gres", "exclude", "nodelist", "time", "account", "gpus"})
"""Options that a field of the same name sets: refused in a line only where the field is written too."""


def directive_options(line: str) -> Iterator[Option | str]:
    """Yield the options of a `#SBATCH` line, and what is wrong with it in words; nothing for other lines."""
    if not line.startswith("#SBATCH"):
        return
    try:
        words = shlex.split(line.removeprefix("#SBATCH"), comments=True)
    except ValueError:
        words = line.removeprefix("#SBATCH").split()
    yield from read_options(words)
