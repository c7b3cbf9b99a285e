"""A conda channel in a folder with packages made by hand, and a folder with `bin/pixi` as administrators make it."""

import asyncio
import hashlib
import io
import json
import sys
import sysconfig
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rattler.index import index_fs

PROGRAM = Path(__file__).with_name("program.py")
PLATFORM = "linux-64"
_VERSION = sysconfig.get_python_version()


class CondaChannel:
    """Packages are seen once `index()` was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / PLATFORM).mkdir(parents=True)
        (folder / "noarch").mkdir()
        self.url = folder.as_uri()

    def add_python(self, interpreter: Path | None = None) -> None:
        """A package `python`, as far as that goes: this machine's interpreter (or another one of the same version)
        by a link, looking into the prefix."""
        real = interpreter or Path(sys.base_prefix) / "bin" / f"python{_VERSION}"
        settings = f"home = {real.parent}\ninclude-system-site-packages = false\nversion = {_VERSION}\n"
        links = {f"bin/python{_VERSION}": str(real), "bin/python": f"python{_VERSION}"}
        self._write("python", f"{_VERSION}.0", {"pyvenv.cfg": settings}, links=links, subdir=PLATFORM)

    def add(self, name: str, version: str, files: Mapping[str, str], *, needs: tuple[str, ...] = ()) -> None:
        """A noarch Python package; its files are those of site-packages."""
        module = name.replace("-", "_")
        info = f"{module}-{version}.dist-info"
        inside = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/RECORD": "".join(f"{path},,\n" for path in [*files, f"{info}/METADATA", f"{info}/RECORD"]),
        }
        placed = {f"site-packages/{path}": text for path, text in inside.items()}
        self._write(name, version, placed, needs=("python", *needs))

    def add_behind_activation(self, name: str, version: str, files: Mapping[str, str]) -> None:
        """A package whose files only an activated environment's Python finds: outside of site-packages."""
        info = f"opt/{name.replace('-', '_')}-{version}.dist-info"
        placed = {f"opt/{path}": text for path, text in files.items()}
        placed[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        placed[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in files)
        placed["etc/conda/activate.d/paths.sh"] = (
            'echo "a word of the activation"\nexport PYTHONPATH="$CONDA_PREFIX/opt"\n'
        )
        self._write(name, version, placed, needs=("python",), subdir=PLATFORM)

    def index(self) -> None:
        """Write the list of packages that solvers read."""
        asyncio.run(index_fs(self.folder, force=True))

    def _write(
        self,
        name: str,
        version: str,
        files: Mapping[str, str],
        *,
        links: Mapping[str, str] | None = None,
        needs: tuple[str, ...] = (),
        subdir: str = "noarch",
    ) -> None:
        paths: list[dict[str, Any]] = [
            {
                "_path": path,
                "path_type": "hardlink",
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
                "size_in_bytes": len(text.encode()),
            }
            for path, text in files.items()
        ]
        nothing = hashlib.sha256(b"").hexdigest()
        paths += [
            {"_path": path, "path_type": "softlink", "sha256": nothing, "size_in_bytes": 0} for path in links or {}
        ]
        record: dict[str, Any] = {
            "name": name,
            "version": version,
            "build": "0",
            "build_number": 0,
            "depends": list(needs),
            "subdir": subdir,
            "timestamp": 1_700_000_000_000,
        }
        info = {"info/paths.json": json.dumps({"paths": paths, "paths_version": 1})}
        if subdir == "noarch":
            record |= {"noarch": "python", "arch": None, "platform": None}
            info["info/link.json"] = json.dumps({"noarch": {"type": "python"}, "package_metadata_version": 1})
        info["info/index.json"] = json.dumps(record)
        with tarfile.open(self.folder / subdir / f"{name}-{version}-0.tar.bz2", "w:bz2") as archive:
            for path, text in {**info, **files}.items():
                member = tarfile.TarInfo(path)
                member.size = len(text.encode())
                member.mode = 0o644
                archive.addfile(member, io.BytesIO(text.encode()))
            for path, target in (links or {}).items():
                member = tarfile.TarInfo(path)
                member.type = tarfile.SYMTYPE
                member.linkname = target
                archive.addfile(member)


def make_pixi_home(folder: Path, python: str = sys.executable) -> Path:
    """Return a folder with `bin/pixi`, as `tasks_pixi_config.versions` names them; `python` has the engine."""
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "program.py"
    program.write_bytes(PROGRAM.read_bytes())
    pixi = folder / "bin" / "pixi"
    pixi.write_text(f'#!/bin/sh\nexec "{python}" "{program}" "$@"\n')
    pixi.chmod(0o755)
    return folder
