"""A launch by SLURM, as the environment of its batch script tells it: which batch, launch and start it is."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping

from shared.remote.common.layout import BATCH

FOLDER_WAIT_SECONDS = 90.0
"""Network file systems may not show a new folder for a minute."""

_FIRST_LOOK_SECONDS = 0.05
_LONGEST_LOOK_SECONDS = 2.0
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)


class NotInSlurm(Exception):  # noqa: N818 - says what it is
    """The environment is not that of a batch script."""


class SlurmLaunch:
    """`folder` is that of the batch, `restart` how often SLURM has put this launch back into its queue.

    `node` is the cluster's name of this host; empty where SLURM does not say.
    """

    def __init__(self, batches: str, base: int, environment: Mapping[str, str]) -> None:
        task = environment.get("SLURM_ARRAY_TASK_ID", "")
        array = environment.get("SLURM_ARRAY_JOB_ID", "") if task else ""
        job = array or environment.get("SLURM_JOB_ID", "")
        if not _NUMBER.fullmatch(job):
            raise NotInSlurm("SLURM_JOB_ID is not set: this is started by SLURM's batch script only")
        if task and not _NUMBER.fullmatch(task):
            raise NotInSlurm(f"SLURM_ARRAY_TASK_ID is not a number: {task!r}")
        self.native_id = f"{job}_{task}" if task else job
        self.node = environment.get("SLURMD_NODENAME", "")
        restart = environment.get("SLURM_RESTART_COUNT", "")
        self.restart = int(restart) if _NUMBER.fullmatch(restart) else 0
        self.folder = os.path.join(os.path.realpath(batches), f"{base + int(task or 0):05d}")


def wait_for_folder(folder: str, seconds: float = FOLDER_WAIT_SECONDS) -> None:
    """Return when the batch is there, or the time is over; whoever opens it then says what is missing."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_LOOK_SECONDS
    while not os.path.exists(os.path.join(folder, BATCH)) and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(_LONGEST_LOOK_SECONDS, pause * 2)
        _look_anew(os.path.dirname(folder))


def _look_anew(folder: str) -> None:
    """Listing the folders on the way makes a network file system forget that something was not there."""
    for one in (os.path.dirname(folder), folder):
        try:
            os.listdir(one)
        except OSError:
            continue
