"""sbatch's answer: accepted, refused, not now, or nobody knows."""

import re
from typing import Literal

import msgspec

from shared.slurm.answers.calls import last_words, why_no_answer
from shared.slurm.answers.reasons import limit_refusal

_ACCEPTED = re.compile(r"(\d{1,12})(?:;([\w.-]{1,255}))?", re.ASCII)
_LIMIT = re.compile(r"\b(?:QOS|Assoc)(?:Max|Grp|Min)[A-Za-z]+", re.ASCII)
"""The limit that a policy names. Its general words ("job submit limit, user's size and/or time limits") are the same
for all of them."""

_SUBMISSIONS = re.compile(r"Submit", re.ASCII)
"""In the names of limits on how many jobs may be queued, which pass; what one job asks for does not shrink."""

_NOT_NOW = re.compile(
    r"job submit limit|temporarily unable to accept job|resource temporarily unavailable|too many (?:jobs|requests)"
    r"|job queue is full|max(?:imum)? ?job ?count|rate limit",
    re.IGNORECASE,
)


class Submission(msgspec.Struct, frozen=True):
    """What became of one sbatch.

    `accepted`: the array is `job_id`. `refused`: it will never be accepted as it is; `text` is SLURM's reason.
    `not_now`: a limit is reached: try again later. `doubtful`: it may be queued all the same: find out before
    anything is submitted again.
    """

    outcome: Literal["accepted", "refused", "not_now", "doubtful"]
    job_id: int | None = None
    cluster: str = ""
    text: str = ""


def read_submission(exit_code: int | None, stdout: str, stderr: str) -> Submission:
    """Read what `sbatch --parsable` answered ("4711", "4711;cluster").

    `exit_code` None or negative: it was killed, or given up.
    """
    accepted = next(
        (found for line in reversed(stdout.splitlines()) if (found := _ACCEPTED.fullmatch(line.strip()))), None
    )
    if accepted is not None:
        # The id is printed when the controller has said yes: whatever went wrong after that, the job is there.
        return Submission("accepted", int(accepted[1]), accepted[2] or "")
    if exit_code is None or exit_code < 0:
        return Submission("doubtful", text="sbatch was ended before it had answered")
    if exit_code == 0:
        return Submission(
            "doubtful", text=f"sbatch said neither yes nor no: {last_words(stderr) or last_words(stdout)}"
        )
    return _refusal(stderr, last_words(stderr) or f"sbatch failed with exit code {exit_code} and said nothing")


def _refusal(stderr: str, words: str) -> Submission:
    named = _LIMIT.findall(stderr)
    never = [limit for limit in named if not _SUBMISSIONS.search(limit)]
    if never:
        return Submission("refused", text=f"{limit_refusal(never[0])} ({words})")
    if named or _NOT_NOW.search(stderr):
        return Submission("not_now", text=words)
    if (why := why_no_answer(stderr)) is not None:
        return Submission("doubtful", text=f"{why} ({words})")
    return Submission("refused", text=words)
