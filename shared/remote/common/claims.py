"""The fence: whoever makes the file `claim` in a batch folder first holds the batch, for ever.

A runner claims before it starts anything; the service claims with kind "revoked". The file gets its content under
another name and becomes `claim` by link(), which succeeds for exactly one. Network file systems may report an error
to the winner (a repeated request finds its own link), so the outcome is always read back, never believed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import time

from shared.remote.common import untrusted
from shared.remote.common.durable import write_new
from shared.remote.common.layout import CLAIM

RUNNER = "runner"
REVOKED = "revoked"
DAMAGED = "damaged"
"""Of a claim that nobody can read: nobody may run the batch from then on, and nobody knows who did."""

_LARGEST_BYTES = 16 * 1024
_MOST_ENTRIES = 100_000
"""Of a folder are looked at: there may be any number."""
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
    try:
        data = untrusted.read_small(folder, name, _LARGEST_BYTES)
    except OSError as error:
        if untrusted.is_somebodys_doing(error):
            raise ClaimUnreadable(f"the file {name} is damaged: {error.strerror}") from error
        raise
    if data is None:
        return None
    try:
        record = untrusted.decode(data)
    except ValueError as error:
        raise ClaimUnreadable(f"the file {name} is damaged: {error}") from error
    if not isinstance(record, dict) or not _is_sound(record):
        raise ClaimUnreadable(f"the file {name} is damaged: it is not what a claim is")
    if record["kind"] not in (RUNNER, REVOKED):
        raise ClaimUnreadable(f"the file {name} is of the unknown kind {record['kind']!r}")
    return Claim(**{slot: record[slot] for slot in Claim.__slots__})


def _is_sound(record: dict[str, object]) -> bool:
    texts = {"kind": 20, "host": 255, "boot_id": 64, "nonce": 64, "native_id": 128}
    counts = {"restart": 10**9, "pid": 2**31 - 1, "start_time": 2**63 - 1}
    return (
        all(untrusted.is_text(record.get(name), longest) for name, longest in texts.items())
        and all(untrusted.is_count(record.get(name), most) for name, most in counts.items())
        and (record["native_id"] == "" or untrusted.is_native_id(record["native_id"]))
        and untrusted.moment(record.get("at")) is not None
    )


def latest_restart(folder: int) -> int:
    """Return the highest restart that has a claim of its own; 0 without any."""
    with os.scandir(folder) as entries:
        found = [_RESTART.fullmatch(entry.name) for entry in itertools.islice(entries, _MOST_ENTRIES)]
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
