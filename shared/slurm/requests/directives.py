"""`#SBATCH` lines that users add, and which options in them are not theirs to set."""

import shlex
from collections.abc import Iterator

OWN_OPTIONS: dict[str, str] = {
    "job-name": "J",
    "comment": "",
    "output": "o",
    "error": "e",
    "input": "i",
    "open-mode": "",
    "array": "a",
    "chdir": "D",
    "nodes": "N",
    "ntasks": "n",
    "ntasks-per-node": "",
    "cpus-per-task": "c",
    "mem": "",
    "mem-per-cpu": "",
    "export": "",
    "export-file": "",
    "requeue": "",
    "no-requeue": "",
    "signal": "",
    "parsable": "",
    "wrap": "",
    "wait": "W",
    "test-only": "",
    "uid": "",
    "gid": "",
    "clusters": "M",
    "get-user-env": "",
    "propagate": "",
    "ignore-pbs": "",
    "ntasks-per-core": "",
    "ntasks-per-socket": "",
    "ntasks-per-gpu": "",
    "tasks-per-node": "",
    "cpus-per-gpu": "",
    "mem-per-gpu": "",
}
"""Options that Stoker sets itself, or that would take the job out of its sight; with their one-letter spelling."""

FIELD_OPTIONS: dict[str, tuple[str, str]] = {
    "partition": ("partition", "p"),
    "constraint": ("constraint", "C"),
    "gres": ("gres", ""),
    "exclude": ("exclude", "x"),
    "nodelist": ("nodelist", "w"),
    "time": ("time", "t"),
    "account": ("account", "A"),
    "gpus": ("gpus", "G"),
}
"""Options that a field of the configuration sets: refused in a line only where the field is written too."""


def directive_options(line: str) -> Iterator[str]:
    """Yield the option names of a `#SBATCH` line (`gres`, or `J` for a one-letter one); nothing for other lines."""
    if not line.startswith("#SBATCH"):
        return
    try:
        words = shlex.split(line.removeprefix("#SBATCH"), comments=True)
    except ValueError:
        words = line.removeprefix("#SBATCH").split()
    for word in words:
        if word.startswith("--") and len(word) > len("--"):
            yield word[2:].partition("=")[0]
        elif word.startswith("-") and len(word) > 1:
            yield word[1]


def own_option(name: str) -> str | None:
    """Return the option of Stoker's that this name sets, or None. sbatch takes unambiguous beginnings of a name."""
    for option, letter in OWN_OPTIONS.items():
        if (letter and name == letter) or (len(name) > 1 and option.startswith(name)):
            return option
    return None


def field_option(name: str) -> str | None:
    """Return the configuration field that this option is also set by, or None."""
    for field, (option, letter) in FIELD_OPTIONS.items():
        if (letter and name == letter) or (len(name) > 1 and option.startswith(name)):
            return field
    return None
