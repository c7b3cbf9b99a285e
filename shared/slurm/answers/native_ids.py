"""SLURM's names of jobs: `4711`, `4711_3`, `4711_[3-7,9%2]` (tasks that still wait share a line), `4711_3.batch`."""

import math
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

import msgspec

_ID = re.compile(
    r"(?P<job>\d{1,12})(?:\+\d{1,6})?(?:_(?P<tasks>\d{1,9}|\[[^\[\]]*\]))?(?:\.(?P<step>\S{1,64}))?", re.ASCII
)
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9})(?::(\d{1,9}))?)?", re.ASCII)
_TASK = re.compile(r"(\d{1,12})_(\d{1,9})", re.ASCII)
_LAUNCH = re.compile(r"(\d{1,12})(?:_(\d{1,9}))?", re.ASCII)
_THROTTLE = re.compile(r"%\d{1,9}", re.ASCII)


class JobId(msgspec.Struct, frozen=True):
    """What one line is about. `tasks` is empty where it is not about an array; `step` is empty for the job itself.

    `truncated`: SLURM cut the list of tasks short, so that nothing follows from a task's absence.
    """

    job: int
    tasks: tuple[range, ...] = ()
    step: str = ""
    truncated: bool = False

    @property
    def native_id(self) -> str | None:
        """The one launch that this is about; None for several."""
        if not self.tasks and not self.truncated:
            return str(self.job)
        if len(self.tasks) == 1 and len(self.tasks[0]) == 1 and not self.truncated:
            return f"{self.job}_{self.tasks[0].start}"
        return None

    def covers(self, native_id: str) -> bool:
        """Whether this line is (also) about the launch `4711_3` or `4711`."""
        if found := _TASK.fullmatch(native_id):
            return int(found[1]) == self.job and any(int(found[2]) in tasks for tasks in self.tasks)
        return not self.tasks and native_id == str(self.job)

    def may_cover(self, native_id: str) -> bool:
        """Whether this is the line of a whole array that `native_id` is a task of.

        An array that is cancelled before any of its tasks began may be shown without its tasks.
        """
        return not self.tasks and not self.step and native_id.startswith(f"{self.job}_")

    def native_ids(self) -> Iterator[str]:
        """Every launch that this is about, one by one: the list may be long."""
        if not self.tasks and not self.truncated:
            yield str(self.job)
        for tasks in self.tasks:
            for task in tasks:
                yield f"{self.job}_{task}"


def read_job_id(text: str) -> JobId | None:
    """Read one id; None where it is not one. Never raises."""
    found = _ID.fullmatch(text)
    if found is None:
        return None
    tasks = _read_tasks((found["tasks"] or "").strip("[]"))
    if tasks is None:
        return None
    ranges, truncated = tasks
    return JobId(int(found["job"]), ranges, found["step"] or "", truncated)


def array_job(native_id: str) -> int | None:
    """Return the job number in a native id; None where it is not one of SLURM's."""
    head = native_id.partition("_")[0]
    return int(head) if re.fullmatch(r"\d{1,12}", head, re.ASCII) else None


def compressed(native_ids: Iterable[str]) -> list[str]:
    """Return the same launches in few words, as scancel takes them: `4711_[0-2,7]`.

    ValueError for what is not one launch (`4711`, `4711_3`).
    """
    words: dict[str, None] = {}
    tasks: dict[str, set[int]] = {}
    for one in native_ids:
        found = _LAUNCH.fullmatch(one)
        if found is None:
            raise ValueError(f"not a launch of SLURM: {one!r}")
        if found[2] is None:
            words[one] = None
        else:
            tasks.setdefault(found[1], set()).add(int(found[2]))
    return [*words, *(_word(job, sorted(numbers)) for job, numbers in tasks.items())]


def _word(job: str, numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"{job}_{numbers[0]}"
    starts = [one for before, one in pairwise((-2, *numbers)) if one != before + 1]
    ends = [one for one, after in pairwise((*numbers, math.inf)) if after != one + 1]
    ranges = (str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
    return f"{job}_[{','.join(ranges)}]"


def _read_tasks(text: str) -> tuple[tuple[range, ...], bool] | None:
    if not text:
        return (), False
    body, percent, throttle = text.partition("%")
    if percent and not _THROTTLE.fullmatch(percent + throttle):
        return None
    ranges, truncated = [], False
    for part in body.split(","):
        if part.endswith("..."):
            # What stands before the dots may have lost digits.
            truncated = True
            continue
        found = _RANGE.fullmatch(part)
        if found is None:
            return None
        first = int(found[1])
        step = int(found[3] or 1)
        if step == 0:
            return None
        ranges.append(range(first, int(found[2] or first) + 1, step))
    return tuple(ranges), truncated
