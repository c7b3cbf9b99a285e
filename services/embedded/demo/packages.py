"""The packages of Python's standard library, as units of a job."""

import sysconfig
from pathlib import Path

_NOT_PACKAGES = {"__pycache__"}


def standard_library_packages() -> list[dict[str, str]]:
    """Return one unit per top-level package or module that has Python source: its name and its path."""
    library = Path(sysconfig.get_paths()["stdlib"])
    return [
        {"package": path.stem, "path": str(path)}
        for path in sorted(library.iterdir())
        if path.stem.isidentifier()
        and path.name not in _NOT_PACKAGES
        and (path.suffix == ".py" or _holds_source(path))
    ]


def _holds_source(folder: Path) -> bool:
    return folder.is_dir() and next(folder.rglob("*.py"), None) is not None
