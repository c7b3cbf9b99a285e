"""The environment of units: a clean base, the job's own variables, and what marks the unit.

Nothing of the service.
"""

from __future__ import annotations

import contextlib
import os

from shared.remote.common.layout import MARK_VARIABLE
from shared.remote.runner.batch import Batch

INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ")
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
CACHE_VARIABLES = ("FRACTAL_CACHE_DIR", "STOKER_CACHE_DIR")


def base_environment(batch: Batch, *, in_slurm: bool = False) -> dict[str, str]:
    """Return what all units of the batch have in common; makes the user's cache folder when it can.

    In SLURM the batch script's environment is the user's own, with what the resource's lines in it have exported.
    """
    environment = {name: os.environ[name] for name in (os.environ if in_slurm else INHERITED) if name in os.environ}
    environment.setdefault("PATH", DEFAULT_PATH)
    cache = os.path.join(environment.get("HOME", "/tmp"), ".cache", "stoker")  # noqa: S108 - only where there is no home
    for name in CACHE_VARIABLES:
        environment.setdefault(name, cache)
    cache = batch.environment.get("STOKER_CACHE_DIR", environment["STOKER_CACHE_DIR"])
    environment.update({name: os.path.join(cache, path) for name, path in batch.exports.items()})
    environment.update(batch.environment)
    environment[MARK_VARIABLE] = batch.mark
    with contextlib.suppress(OSError):
        os.makedirs(environment["STOKER_CACHE_DIR"], exist_ok=True)
    return environment
