"""The fence: whoever makes the file `claim` in a batch folder first holds the batch, for ever.

A runner claims before it starts anything; the service claims with kind "revoked". The file gets its content under
another name and becomes `claim` by link(), which succeeds for exactly one. Network file systems may report an error
to the winner (a repeated request finds its own link), so the outcome is always read back, never believed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time

from shared.remote.common.durable import read_small, write_new
from shared.remote.common.layout import CLAIM

RUNNER = "runner"
REVOKED = "revoked"
_RESTART = re.compile(re.escape(CLAIM) + r"\.r(\d{1,9})", re.ASCII)


class ClaimUnreadable(Exception):  # noqa: N818 - says what it is
    """The claim file is there and makes no sense: nobody may conclude anything from it."""


class Claim:
    """Content of the file.

    `nonce` tells two claims of one launch apart; (pid, start_time, boot_id) name a process.
    """

    __slots__ = ("at", "boot_id", "host", "kind", "native_id", "nonce", "pid", "restart", "start_time")

    def __init__(
        self,
        *,
        kind: str,
        native_id: str = "",
        restart: int = 0,
        host: str = "",
        boot_id: str = "",
        pid: int = 0,
        start_time: int = 0,
        nonce: str = "",
        at: float = 0.0,
    ) -> None:
        self.kind = kind
        self.native_id = native_id
        self.restart = restart
        self.host = host
        self.boot_id = boot_id
        self.pid = pid
        self.start_time = start_time
        self.nonce = nonce or os.urandom(12).hex()
        self.at = at or time.time()

    def record(self) -> dict[str, object]:
        """As JSON-able data."""
        return {name: getattr(self, name) for name in self.__slots__}


def read(folder: int, name: str = CLAIM) -> Claim | None:
    """Return the claim of the batch folder, None while nobody has it."""
    data = read_small(folder, name)
    if data is None:
        return None
    try:
        record = json.loads(data)
        claim = Claim(**{name: record[name] for name in Claim.__slots__})
    except (ValueError, KeyError, TypeError) as error:
        raise ClaimUnreadable(f"the file {name} is damaged: {error}") from error
    if claim.kind not in (RUNNER, REVOKED):
        raise ClaimUnreadable(f"the file {name} is of the unknown kind {claim.kind!r}")
    return claim


def latest_restart(folder: int) -> int:
    """Return the highest restart that has a claim of its own; 0 without any."""
    found = [_RESTART.fullmatch(name) for name in os.listdir(folder)]
    return max((int(one[1]) for one in found if one), default=0)


def current(folder: int) -> Claim | None:
    """Return the claim that counts now: the latest start of the launch that holds the batch."""
    holder = read(folder)
    if holder is None or holder.kind != RUNNER:
        return holder
    latest = latest_restart(folder)
    return holder if latest <= holder.restart else read(folder, restart_name(latest)) or holder


def restart_name(restart: int) -> str:
    """Return the name of the claim of a later start."""
    return f"{CLAIM}.r{restart}"


def take_again(folder: int, wanted: Claim) -> Claim:
    """`take`, by a launch that SLURM may have started before; return the claim that counts from now on.

    A later start of the launch that holds the batch goes before an earlier one.
    """
    holder = take(folder, wanted)
    if holder.nonce == wanted.nonce or holder.kind != RUNNER:
        return holder
    if holder.native_id != wanted.native_id or holder.restart >= wanted.restart:
        return holder
    if latest_restart(folder) <= wanted.restart:
        take(folder, wanted, restart_name(wanted.restart))
    return current(folder) or holder


def take(folder: int, wanted: Claim, name: str = CLAIM) -> Claim:
    """Try to hold the batch; return the claim that holds it from now on: ours if its nonce is that of `wanted`.

    OSError when nobody holds it and it could not be taken (disk full, folder gone …).
    """
    holder = read(folder, name)
    if holder is not None:
        return holder
    temporary = f".{name}-{wanted.nonce}"
    write_new(folder, temporary, json.dumps(wanted.record()).encode())
    failure = None
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        failure = error
    with contextlib.suppress(OSError):
        os.unlink(temporary, dir_fd=folder)
    holder = read(folder, name)
    if holder is None:
        raise failure or FileNotFoundError(f"the file {name} vanished")
    os.fsync(folder)
    return holder
