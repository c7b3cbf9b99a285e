"""Start of the runner: `runner.py BATCH_FOLDER --native-id=ID [--restart=N] [--detach] [--word=FD] [--umask=OCTAL]`.

Exit codes: 0 the end record is written (whatever the units did), 79 another launch or a revocation was first,
78 it could not start, 70 it could not write down how the batch ended.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys

from shared.resource_side import claims
from shared.resource_side.durable import write_new
from shared.resource_side.layout import CANNOT_START_EXIT, LOGS, LOST_CLAIM_EXIT, LOST_CLAIM_PREFIX
from shared.resource_side.processes import boot_id, start_time
from shared.runner import batch as batches
from shared.runner import guardian, reserve
from shared.runner.notes import note
from shared.runner.pool import Pool
from shared.runner.records import NotRecorded
from shared.runner.reports import Reports

NOT_REPORTED_EXIT = 70


class Options:
    """The command line."""

    def __init__(self, arguments: list[str]) -> None:
        values = {"restart": "0", "native-id": "", "word": "", "umask": "", "detach": ""}
        folders = []
        for argument in arguments:
            name, equals, value = argument[2:].partition("=")
            if not argument.startswith("--"):
                folders.append(argument)
            elif name in values:
                values[name] = value if equals else "yes"
            else:
                raise SystemExit(f"runner: unknown option {argument}")
        if len(folders) != 1 or not values["native-id"]:
            raise SystemExit("usage: runner.py BATCH_FOLDER --native-id=ID")
        self.folder = os.path.realpath(folders[0])
        self.native_id = values["native-id"]
        self.restart = int(values["restart"])
        self.detach = bool(values["detach"])
        self.word = int(values["word"]) if values["word"] else None
        self.umask = int(values["umask"], 8) if values["umask"] else None


def main(arguments: list[str]) -> int:
    """Run a batch; returns the exit code."""
    options = Options(arguments)
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
        reports = Reports(options.folder, folder, options.native_id)
        reports.claimed(socket.gethostname())
        pool = Pool(batch, folder, reports)
        pool.run()
        how = "complete" if pool.why_stopped is None else "interrupted"
        reports.end(how, pool.why_stopped or "")
    except (OSError, NotRecorded) as error:
        note(f"the end of the batch could not be recorded: {_words(error, options.folder)}")
        return NOT_REPORTED_EXIT
    return 0


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
    holder = claims.take(folder, wanted)
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
