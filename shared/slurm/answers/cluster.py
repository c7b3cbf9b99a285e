"""scontrol: the cluster's settings that matter here, and its partitions."""

import re
from collections.abc import Iterable

import msgspec

from shared.slurm.requests.times import read_limit

_SETTING = re.compile(r"^(\w+(?:\[\d+\])?)\s*= ?(.*)$", re.ASCII | re.MULTILINE)
_NUMBER = re.compile(r"(\d{1,12})(?: (?:sec|min|usec))?", re.ASCII)
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})", re.ASCII)
_NOTHING = frozenset({"", "none", "(null)", "N/A"})

DEFAULT_MAX_ARRAY_SIZE = 1001
DEFAULT_MIN_JOB_AGE_SECONDS = 300
DEFAULT_KILL_WAIT_SECONDS = 30


class ClusterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What `scontrol show config` says; SLURM's own defaults where it does not say it.

    `max_array_size`: task numbers are below it. `min_job_age_seconds`: how long squeue remembers. `private_data`:
    what users do not see of each other ("jobs": absence from the queue is then no evidence about other users' jobs).
    """

    name: str = ""
    version: tuple[int, int] | None = None
    max_array_size: int = DEFAULT_MAX_ARRAY_SIZE
    max_job_count: int | None = None
    min_job_age_seconds: int = DEFAULT_MIN_JOB_AGE_SECONDS
    kill_wait_seconds: int = DEFAULT_KILL_WAIT_SECONDS
    accounting: bool = False
    stores_comments: bool = False
    enforces_associations: bool = False
    private_data: frozenset[str] = frozenset()
    gres_types: frozenset[str] = frozenset()


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """One partition. `max_time_seconds` is infinite without a limit, None where SLURM does not say."""

    name: str
    default: bool
    up: bool
    max_time_seconds: float | None
    default_time_seconds: float | None


def read_cluster_config(text: str) -> ClusterConfig:
    """Read `scontrol show config`. Never raises: what cannot be read keeps its default."""
    written = {found[1].lower(): found[2].strip() for found in _SETTING.finditer(text)}
    version = _VERSION.match(written.get("slurm_version", ""))
    return ClusterConfig(
        name=written.get("clustername", ""),
        version=(int(version[1]), int(version[2])) if version else None,
        max_array_size=_number(written, "maxarraysize", DEFAULT_MAX_ARRAY_SIZE),
        max_job_count=_number(written, "maxjobcount", 0) or None,
        min_job_age_seconds=_number(written, "minjobage", DEFAULT_MIN_JOB_AGE_SECONDS),
        kill_wait_seconds=_number(written, "killwait", DEFAULT_KILL_WAIT_SECONDS),
        accounting=written.get("accountingstoragetype", "").rpartition("/")[2] == "slurmdbd",
        stores_comments="job_comment" in _words(written, "accountingstoreflags"),
        enforces_associations="associations" in _words(written, "accountingstorageenforce"),
        private_data=_words(written, "privatedata"),
        gres_types=_words(written, "grestypes"),
    )


def read_partitions(text: str) -> list[Partition]:
    """Read `scontrol --all --oneliner show partition`. Never raises; lines without a name are left out."""
    partitions = []
    for line in text.splitlines():
        written = dict(part.partition("=")[::2] for part in line.split())
        if name := written.get("PartitionName"):
            partitions.append(
                Partition(
                    name=name,
                    default=written.get("Default") == "YES",
                    up=written.get("State") == "UP",
                    max_time_seconds=read_limit(written.get("MaxTime", "")),
                    default_time_seconds=read_limit(written.get("DefaultTime", "")),
                )
            )
    return partitions


def partition_of(partitions: Iterable[Partition], name: str | None) -> Partition | None:
    """Return the partition of this name, or the default one; None where it is not there, or there are several."""
    return next((one for one in partitions if (one.default if name is None else one.name == name)), None)


def _number(written: dict[str, str], name: str, default: int) -> int:
    found = _NUMBER.fullmatch(written.get(name, ""))
    return int(found[1]) if found else default


def _words(written: dict[str, str], name: str) -> frozenset[str]:
    return frozenset(word.strip().lower() for word in written.get(name, "").split(",")) - {
        w.lower() for w in _NOTHING
    }
