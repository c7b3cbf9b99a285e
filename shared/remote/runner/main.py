"""Start of the runner: `runner.py BATCH_FOLDER --native-id=ID [--detach] [--word=FD] [--umask=OCTAL]`.

In SLURM `runner.py BATCHES_FOLDER --slurm-base=N`: the environment says which launch this is, and its task number + N
is the batch.

Exit codes: 0 the end record is written (whatever the units did), 79 another launch or a revocation was first,
78 it could not start, 70 it could not write down how the batch ended.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys

from shared.remote.common import claims
from shared.remote.common.durable import write_new
from shared.remote.common.layout import CANNOT_START_EXIT, LOGS, LOST_CLAIM_EXIT, LOST_CLAIM_PREFIX
from shared.remote.common.processes import boot_id, start_time
from shared.remote.runner import batch as batches
from shared.remote.runner import guardian, reserve
from shared.remote.runner.notes import note
from shared.remote.runner.pool import Pool
from shared.remote.runner.records import NotRecorded
from shared.remote.runner.reports import Reports
from shared.remote.runner.restarts import SUPERSEDED, TOO_OFTEN, EarlierStarts, Restart, forget_end
from shared.remote.runner.slurm import NotInSlurm, SlurmLaunch, wait_for_folder
from shared.remote.runner.units.shares import SharesMissing
from shared.remote.runner.units.starting import Starter

NOT_REPORTED_EXIT = 70


class Options:
    """The command line."""

    def __init__(self, arguments: list[str]) -> None:
        values = {"slurm-base": "", "native-id": "", "word": "", "umask": "", "detach": ""}
        folders = []
        for argument in arguments:
            name, equals, value = argument[2:].partition("=")
            if not argument.startswith("--"):
                folders.append(argument)
            elif name in values:
                values[name] = value if equals else "yes"
            else:
                raise SystemExit(f"runner: unknown option {argument}")
        if len(folders) != 1 or not (values["native-id"] or values["slurm-base"]):
            raise SystemExit("usage: runner.py BATCH_FOLDER --native-id=ID | BATCHES_FOLDER --slurm-base=N")
        self.in_slurm = bool(values["slurm-base"])
        self.node = ""
        if self.in_slurm:
            launch = SlurmLaunch(folders[0], int(values["slurm-base"]), os.environ)
            self.folder, self.native_id, self.restart = launch.folder, launch.native_id, launch.restart
            self.node = launch.node
        else:
            self.folder, self.native_id, self.restart = os.path.realpath(folders[0]), values["native-id"], 0
        self.detach = bool(values["detach"])
        self.word = int(values["word"]) if values["word"] else None
        self.umask = int(values["umask"], 8) if values["umask"] else None


def main(arguments: list[str]) -> int:
    """Run a batch; returns the exit code."""
    try:
        options = Options(arguments)
    except (NotInSlurm, ValueError) as error:
        note(f"the runner cannot start: {error}")
        return CANNOT_START_EXIT
    _keep_descriptors_to_ourselves()
    if options.umask is not None:
        os.umask(options.umask)
    if options.detach and os.fork():
        os._exit(0)
    if options.detach:
        os.setsid()
    runner = guardian.split()
    if runner:
        if options.word is not None:
            os.close(options.word)
        return guardian.watch(runner)
    return _run(options)


def _keep_descriptors_to_ourselves() -> None:
    """Units must not inherit the lock that says that this launch lives, nor the pipe to whoever launched it."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(name) > 2:  # noqa: PLR2004 - standard input, output and error are for them
                os.set_inheritable(int(name), False)  # noqa: FBT003


def _run(options: Options) -> int:
    if options.in_slurm:
        wait_for_folder(options.folder)
    try:
        folder = os.open(options.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        batch = batches.load(options.folder)
        os.makedirs(batch.work, exist_ok=True)
        os.chdir(batch.work)
        os.makedirs(os.path.join(options.folder, LOGS), exist_ok=True)
        reserve.hold(folder, options.native_id)
        holder, ours = _claim(folder, options)
    except (OSError, batches.BatchInvalid, claims.ClaimUnreadable) as error:
        return _cannot_start(options, _words(error, options.folder))
    if not ours:
        reserve.release(folder, options.native_id)
        _leave_lost_claim(folder, options.native_id)
        _say(options, "lost")
        note(f"the batch is held by {holder.native_id or 'a revocation'}: nothing to do")
        return LOST_CLAIM_EXIT
    _say(options, "claimed")
    return _work(options, batch, folder)


def _work(options: Options, batch: batches.Batch, folder: int) -> int:
    try:
        forget_end(folder)
        reports = Reports(options.folder, folder, options.native_id, options.restart)
        reports.claimed(options.node or socket.gethostname())
        why_stopped = _run_units(options, batch, folder, reports)
        if why_stopped == SUPERSEDED:
            note(SUPERSEDED)
            reserve.release(folder, options.native_id)
            return LOST_CLAIM_EXIT
        reports.end("complete" if why_stopped is None else "interrupted", why_stopped or "")
    except (OSError, NotRecorded) as error:
        note(f"the end of the batch could not be recorded: {_words(error, options.folder)}")
        return NOT_REPORTED_EXIT
    return 0


def _run_units(options: Options, batch: batches.Batch, folder: int, reports: Reports) -> str | None:
    """Return why not all units were run; None when they were."""
    todo = batches.attempts(batch.folder)
    try:
        starter = Starter(batch, in_slurm=options.in_slurm)
        if options.restart:
            earlier = EarlierStarts(batch.folder)
            todo = earlier.remaining(todo)
            if earlier.begun > batch.max_restarts:
                return None if next(todo, None) is None else TOO_OFTEN
    except (SharesMissing, batches.BatchInvalid) as error:
        return str(error)
    restart = Restart(folder, options.restart) if options.in_slurm else None
    pool = Pool(batch, folder, reports, starter, todo, restart)
    pool.run()
    return SUPERSEDED if pool.superseded else pool.why_stopped


def _claim(folder: int, options: Options) -> tuple[claims.Claim, bool]:
    own = os.getpid()
    wanted = claims.Claim(
        kind=claims.RUNNER,
        native_id=options.native_id,
        restart=options.restart,
        host=socket.gethostname(),
        boot_id=boot_id(),
        pid=own,
        start_time=start_time(own),
    )
    holder = claims.take_again(folder, wanted) if options.in_slurm else claims.take(folder, wanted)
    return holder, holder.nonce == wanted.nonce


def _leave_lost_claim(folder: int, native_id: str) -> None:
    try:
        write_new(folder, LOST_CLAIM_PREFIX + native_id, b"")
    except OSError as error:
        note(f"no trace of the lost claim could be left: {error}")


def _cannot_start(options: Options, words: str) -> int:
    _say(options, f"error {words}")
    note(f"the runner cannot start: {words}")
    return CANNOT_START_EXIT


def _words(error: Exception, folder: str) -> str:
    if not isinstance(error, OSError):
        return str(error)
    place = os.path.join(folder, os.fsdecode(error.filename)) if error.filename else folder
    return f"{error.strerror or error}: {place}"


def _say(options: Options, word: str) -> None:
    """Tell whoever launched us, if anybody still listens."""
    if options.word is None:
        return
    try:
        os.write(options.word, word.encode() + b"\n")
    except OSError as error:
        note(f"nobody listened to the word {word!r}: {error}")
    os.close(options.word)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
