"""What a check finds on this machine itself: room on the disk, interpreters, slots."""

import os
from pathlib import Path

from services.executor.checks.findings import finding, ok
from stoker.contracts.checks import Finding
from stoker.contracts.resources import LocalResourceSpec

_LITTLE_SPACE_BYTES = 1024**3


def local_findings(spec: LocalResourceSpec) -> list[Finding]:
    """What can be looked at directly, because the resource is this machine."""
    return [_space(spec.jobs_local_dir), *_interpreters(spec.tasks_python_config.versions)]


def _space(path: str) -> Finding:
    try:
        found = os.statvfs(path)
    except OSError as error:
        return finding("free space", "warning", f"{path}: {error.strerror}", "see the finding on the jobs folder")
    free, free_files = found.f_bavail * found.f_frsize, found.f_favail
    words = f"{free / 1024**3:.1f} GiB are free in {path}"
    if free < _LITTLE_SPACE_BYTES or (found.f_files and free_files < 1000):  # noqa: PLR2004
        return finding("free space", "warning", words, "remove old jobs (stoker jobs), or use another folder")
    return ok("free space", words)


def _interpreters(versions: dict[str, str]) -> list[Finding]:
    missing = [path for path in versions.values() if not (Path(path).is_file() and os.access(path, os.X_OK))]
    if not missing:
        return [ok("python", f"the interpreters for task environments are there: {', '.join(versions)}")]
    return [
        finding(
            "python",
            "warning",
            f"there is no executable {path}, which tasks_python_config names; jobs with a command of their own run",
            "install it, or correct tasks_python_config of the resource",
        )
        for path in missing
    ]


def slot_findings(spec: LocalResourceSpec, cpu_count: int) -> list[Finding]:
    """Whether more units run at once than there are CPUs."""
    slots = spec.jobs_runner_config.parallel_tasks_per_job
    if not isinstance(slots, int) or slots <= cpu_count:
        return []
    return [
        finding(
            "parallel units",
            "warning",
            f"parallel_tasks_per_job is {slots}, and there are {cpu_count} CPUs",
            f"set jobs_runner_config.parallel_tasks_per_job to at most {cpu_count}",
        )
    ]
