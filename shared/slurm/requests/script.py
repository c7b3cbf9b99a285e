"""The batch script, and how sbatch is called with it.

Of what people write, exactly this reaches a shell: the shebang line, the shell lines among the extra lines, and
`worker_init`. Everything else is a checked value in an `#SBATCH` line, a quoted word, or an argument of sbatch.
"""

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from shared.remote.common.slurm import LAUNCH_LOGS, LAUNCHES
from shared.slurm.requests.amounts import multiplied_option
from shared.slurm.requests.gpus import multiply_gpus, multiply_gres
from shared.slurm.requests.needs import UnitNeeds
from shared.slurm.requests.times import format_limit
from stoker.errors import Invalid

WARNING_SIGNAL = "USR1"
"""Announces the time limit. Not TERM, so that the runner can tell it from a cancellation and a preemption."""

WARNING_SECONDS = 30
WARN_FROM_SECONDS = 600
"""Shorter limits get no warning: SLURM may send it a minute early. At the limit itself TERM comes in any case."""

_MARKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


class ArrayPart(msgspec.Struct, frozen=True):
    """The batches of one sbatch: task number t of the array is batch `base` + t.

    Without tasks: batch `base` alone, as a job that is no array.
    """

    base: int
    tasks: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many batches it has."""
        return len(self.tasks) or 1

    @property
    def option(self) -> str:
        """The tasks as sbatch takes them: "0-4,7"."""
        starts = [task for before, task in pairwise((-2, *self.tasks)) if task != before + 1]
        ends = [task for task, after in pairwise((*self.tasks, math.inf)) if after != task + 1]
        return ",".join(str(one) if one == last else f"{one}-{last}" for one, last in zip(starts, ends, strict=True))

    def batch_index(self, task: int) -> int:
        """Return the batch that a task number stands for."""
        return self.base + task

    def covers(self, batch_index: int) -> bool:
        """Whether a batch is in it."""
        return batch_index - self.base in (self.tasks or (0,))

    def native_id(self, job_id: int, batch_index: int) -> str:
        """Return SLURM's name of the launch of a batch, when the job that sbatch made is `job_id`."""
        return f"{job_id}_{batch_index - self.base}" if self.tasks else str(job_id)

    def first(self, count: int) -> "ArrayPart":
        """Return the first so many batches of it, one at least."""
        return ArrayPart(self.base, self.tasks[: max(1, count)])


ONE = ArrayPart(0, (0,))
"""A single batch."""


def split_array(batch_indices: Sequence[int], max_array_size: int) -> list[ArrayPart]:
    """Divide batches (any indices, in ascending order) over as few arrays as MaxArraySize allows.

    Task numbers must be below MaxArraySize, so each array counts from its own first batch. 0: the cluster takes no
    arrays, and each batch is a job of its own.
    """
    if max_array_size < 1:
        return [ArrayPart(index, ()) for index in batch_indices]
    parts: list[ArrayPart] = []
    base, tasks = 0, list[int]()
    for index in batch_indices:
        if tasks and index - base >= max_array_size:
            parts.append(ArrayPart(base, tuple(tasks)))
            tasks = []
        if not tasks:
            base = index
        tasks.append(index - base)
    return [*parts, ArrayPart(base, tuple(tasks))] if tasks else parts


def launch_log(job_folder: str, native_id: str) -> str:
    """Return the file that holds what the script and the runner of one launch printed, and what SLURM added."""
    return f"{job_folder}/{LAUNCH_LOGS}/{native_id}.log"


def script_path(job_folder: str, marker: str) -> str:
    """Return the file that the agent's verb `submit` writes the script of a launch to."""
    return f"{job_folder}/{LAUNCHES}/{marker}.sh"


def batch_script(
    needs: UnitNeeds, *, parallel: int, python: str, job_folder: str, part: ArrayPart = ONE, requeue: bool = False
) -> str:
    """Return the script for batches that each run `parallel` units at once.

    `python` and `job_folder` are absolute paths on the cluster. The process of the
    script becomes the runner, which gets SLURM's signals itself. `requeue`: SLURM may start a launch again after a
    failure of its node or a preemption. Raises Invalid where a path cannot be given to SLURM.
    """
    _check_paths(python, job_folder)
    options = [*_options(needs, parallel), _output(job_folder, part), "--open-mode=append"]
    options.append("--requeue" if requeue else "--no-requeue")
    lines = [needs.shebang_line, *(f"#SBATCH {option}" for option in options)]
    # sbatch looks for options until the first line that is neither empty nor a comment: this one.
    lines.append(":")
    lines += needs.shell_lines
    if needs.worker_init:
        lines.append(needs.worker_init.rstrip("\n"))
    words = [python, "-I", "-S", f"{job_folder}/runner.py", f"--slurm-base={part.base}", f"{job_folder}/batches"]
    lines.append(f"exec {' '.join(shlex.quote(word) for word in words)}")
    return "\n".join(lines) + "\n"


def sbatch_arguments(
    part: ArrayPart, *, script: str, job_folder: str, marker: str, at_once: int | None = None
) -> list[str]:
    """Return the arguments of sbatch for one part; `script` is the path of the script's file.

    `marker` becomes the job's name and comment, by which a launch is found again; `at_once` limits how many
    batches of an array run at the same time. Call it with an environment made for it (PATH, HOME, USER, LOGNAME,
    SHELL, LANG, and SLURM_CONF where the site sets it): it becomes the job's. `--export=ALL` is said because
    every other value makes SLURM run the user's login profile for each job. The service's resource limits are
    left behind.
    """
    if not _MARKER.fullmatch(marker):
        raise ValueError("a marker is letters, digits, dots, dashes and underscores")
    throttle = f"%{at_once}" if at_once else ""
    return [
        "--parsable",
        *([f"--array={part.option}{throttle}"] if part.tasks else []),
        f"--job-name={marker}",
        f"--comment={marker}",
        f"--chdir={job_folder}",
        "--export=ALL",
        "--propagate=NONE",
        "--ignore-pbs",
        script,
    ]


def _options(needs: UnitNeeds, parallel: int) -> Iterator[str]:
    # Several nodes: each has the CPUs and the memory of one unit, whose business the other nodes are.
    yield f"--nodes={needs.nodes}"
    yield f"--ntasks={needs.nodes}"
    yield f"--cpus-per-task={needs.cpus * parallel}"
    yield from _memory(needs, parallel)
    if needs.time_seconds is not None:
        yield f"--time={format_limit(needs.time_seconds)}"
        if needs.time_seconds >= WARN_FROM_SECONDS:
            yield f"--signal=B:{WARNING_SIGNAL}@{WARNING_SECONDS}"
    for name in ("partition", "account", "constraint", "nodelist", "exclude"):
        value = getattr(needs, name)
        if value is not None:
            yield f"--{name}={value}"
    # Where units run one at a time, what they ask for is passed on as it was written: it need not be understood.
    if needs.gres is not None:
        yield f"--gres={needs.gres if parallel == 1 else multiply_gres(needs.gres, parallel)}"
    if needs.gpus is not None:
        yield f"--gpus={needs.gpus if parallel == 1 else multiply_gpus(needs.gpus, parallel)}"
    for option in needs.options:
        yield " ".join(multiplied_option(option, parallel) or option)


def _memory(needs: UnitNeeds, parallel: int) -> Iterator[str]:
    if needs.whole_memory:
        yield "--mem=0"
    elif needs.memory_mb is not None and needs.memory_per_cpu:
        yield f"--mem-per-cpu={math.ceil(needs.memory_mb / needs.cpus)}M"
    elif needs.memory_mb is not None:
        yield f"--mem={needs.memory_mb * parallel}M"


def _output(job_folder: str, part: ArrayPart) -> str:
    """A file per launch: two launches of one batch must not write over each other's words."""
    native_id = "%A_%a" if part.tasks else "%j"
    return f"--output={_quoted(job_folder.replace('%', '%%'))}/{LAUNCH_LOGS}/{native_id}.log"


def _quoted(path: str) -> str:
    """Return a path as sbatch reads it in an `#SBATCH` line (its own quoting, not a shell's)."""
    return path if re.fullmatch(r"[\w./%@+,:=~-]+", path, re.ASCII) else f'"{path}"'


def _check_paths(python: str, job_folder: str) -> None:
    for path in (python, job_folder):
        if not path.startswith("/") or re.search(r"[\x00-\x1f\x7f]", path):
            raise Invalid(f"{path!r} is not an absolute path")
    # A backslash in an output path switches SLURM's %A and %a off; quotes end its own quoting.
    if found := re.search(r"[\"\\]", job_folder):
        raise Invalid(f"SLURM cannot write into folders with {found[0]} in their path: {job_folder}")
