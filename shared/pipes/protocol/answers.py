"""What the agent answers, as typed structs. It is input from a stranger: every answer is decoded strictly by type.

Times are epoch seconds by the resource's clock, lengths and offsets are bytes.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

# What an honest agent says of files fits these; numbers fit the columns that they are stored in.
Length = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Moment = Annotated[float, Meta(ge=0, le=253402300799)]
Word = Annotated[str, Meta(max_length=255, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
Words = Annotated[str, Meta(max_length=16_000, pattern=r"\A[^\x00]*\Z")]


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """Who and what answers. `roots` are the absolute paths that the names of the roots stand for.

    `machine` and `libc` ("x86_64", "glibc 2.36") are empty where the agent is older, or has another C library.
    """

    protocol: int
    version: str
    user: str
    uid: int
    home: str
    host: str
    boot_id: str
    python: str
    clock: float
    roots: dict[str, str]
    machine: str = ""
    libc: str = ""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a batch, for ever. `kind` "revoked": nobody may run it any more.

    `damaged`: what is there makes no sense. Nobody may run it any more, and nobody knows whether somebody did.
    """

    kind: Literal["runner", "revoked", "damaged"]
    native_id: Word = ""
    restart: Number = 0
    host: Word = ""
    pid: Number = 0
    at: Moment = 0.0


class LaunchOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of launching one batch.

    `launched`: a runner holds (or is about to take) the batch's claim, `native_id` names it. `revoked`: the batch
    had been revoked, nothing runs. `failed`: no runner could start; `message` says why; launching again is safe.
    """

    state: Literal["launched", "revoked", "failed"]
    native_id: str = ""
    message: str = ""


class LaunchSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One launch of a batch that was tried. `alive`: its process still holds its lock (None: no evidence here)."""

    native_id: Word
    alive: bool | None


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The runner's own end record. `reason` says why it was interrupted, when it knows.

    `restart` is the start of the launch that wrote it.
    """

    how: Literal["complete", "interrupted"]
    at: Moment
    native_id: Word
    results: Length
    reason: Words = ""
    restart: Number = 0


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that the files say about one batch; verdicts are made of it.

    `alive` of the launches was looked at before everything else: a launch that was dead then has written
    whatever it will ever have written.
    """

    exists: bool
    launches: Annotated[list[LaunchSeen], Meta(max_length=1000)] = []
    claim: Claim | None = None
    ended: bool = False
    end: End | None = None
    events_length: Length | None = None
    results_length: Length | None = None
    runner_log_tail: str = ""
    """Last words of the runner itself (not of units): at most 2,000 characters."""
    damage: Annotated[list[Words], Meta(max_length=20)] = []
    """What in the folder is not what a runner, or the service, has put there, in words."""

    @property
    def claim_alive(self) -> bool | None:
        """Whether the launch that holds the claim lives (None: nobody holds it, or no evidence)."""
        if self.claim is None or self.claim.kind == "revoked":
            return None
        if self.claim.kind == "damaged":
            return any(seen.alive for seen in self.launches) if self.launches else None
        return next((seen.alive for seen in self.launches if seen.native_id == self.claim.native_id), None)


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of revoking one batch: `claim.kind` is "revoked" when nobody was first.

    `alive`: a runner holds the claim and lives. `strays_ended`: processes of a dead runner that were found and
    killed. `strays_left`: processes that carry the batch's mark and could not be ended.
    """

    claim: Claim
    alive: bool | None = None
    strays_ended: Length = 0
    strays_left: Length = 0


class Cancellation(msgspec.Struct, frozen=True, kw_only=True):
    """`signalled`: a living runner was told to stop; the stop file is there in any case when the folder exists."""

    claim: Claim | None = None
    alive: bool | None = None
    signalled: bool = False


class FollowTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One batch folder to follow, with the lengths that the caller knows already."""

    root: str
    path: str
    native_id: str = ""
    events_length: int = 0
    results_length: int = 0


class FollowSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Something of a target differs from what was last said. `target` is the index in the list that was asked for."""

    target: int
    exists: bool
    events_length: Length
    results_length: Length
    ended: bool
    alive: bool | None


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """`removed` is false when nothing was there. `bytes` were freed."""

    removed: bool
    bytes: Length = 0


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """Disk use of a folder (allocated blocks) and its number of files; zero when it is not there."""

    bytes: Length
    files: Length


class FileSlice(msgspec.Struct, frozen=True):
    """A piece of a file: `data` starts at `offset`; `size` is the file's whole length when it was opened."""

    size: int
    offset: int
    data: bytes


class LeftOut(msgspec.Struct, frozen=True):
    """Something that a fetch did not carry, and why (a link, a socket, unreadable, changed while read)."""

    path: str
    why: str


class FetchEnd(msgspec.Struct, frozen=True):
    """End of a fetch: what was left out (at most 1,000 entries named; `left_out_count` counts all)."""

    left_out: list[LeftOut] = []
    left_out_count: int = 0


class SubmissionSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What is recorded of one sbatch.

    `exit_code` is None while it is `under_way`, and for ever when its agent died before it could record it; `stdout`
    holds the job's id all the same when SLURM said yes. `submitted_at` is the moment before it was started.
    """

    exit_code: int | None
    stdout: str
    stderr: str
    submitted_at: Moment
    under_way: bool


class CommandSaid(msgspec.Struct, frozen=True):
    """What a command of SLURM said. `exit_code` None: it was given up, or is not there; `stderr` says why."""

    exit_code: int | None
    stdout: str
    stderr: str


class ClusterSaid(msgspec.Struct, frozen=True, kw_only=True):
    """`sbatch --version`, `scontrol show config`, `scontrol --oneliner show partition`, and of `sacctmgr` the user's
    associations: cluster, account, partition, QOS, default QOS, MaxJobs, MaxSubmitJobs, MaxWall; `|` between them.
    """  # noqa: D205 - one thought

    version: CommandSaid
    config: CommandSaid
    partitions: CommandSaid
    associations: CommandSaid


class CommandEnd(msgspec.Struct, frozen=True):
    """End of a command's output."""

    exit_code: int | None
    stderr: str


class LaunchAnswer(msgspec.Struct, frozen=True):
    """Per batch name."""

    batches: dict[str, LaunchOutcome]


class FindAnswer(msgspec.Struct, frozen=True):
    """Per batch name."""

    batches: dict[str, Evidence]


class RevokeAnswer(msgspec.Struct, frozen=True):
    """Per batch name."""

    batches: dict[str, Revocation]


class CancelAnswer(msgspec.Struct, frozen=True):
    """Per batch name."""

    batches: dict[str, Cancellation]


class StageAnswer(msgspec.Struct, frozen=True):
    """False: the folder was there already and was not touched."""

    created: bool


class ReadHead(msgspec.Struct, frozen=True):
    """Head of a read."""

    size: Length
    offset: Length


class AgentError(msgspec.Struct, frozen=True):
    """An error frame."""

    kind: str
    message: str
    code: str = ""
    field: str = ""


Arguments = dict[str, Any]
