"""Wheels and source distributions made by hand, and a package index in a folder."""

import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

MANIFEST = "__FRACTAL_MANIFEST__.json"
TASK = """\
import argparse, json
parser = argparse.ArgumentParser()
parser.add_argument("--args-json")
parser.add_argument("--out-json")
options = parser.parse_args()
with open(options.args_json) as file:
    arguments = json.load(file)
with open(options.out_json, "w") as file:
    json.dump({"image_list_updates": [{"zarr_url": arguments["zarr_url"], "types": {"seen": True}}]}, file)
"""

SLOW_BACKEND = """\
import os, subprocess, sys, time, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    print("the build has begun", file=sys.stderr, flush=True)
    with open(os.path.join(FOLDER, "begun"), "a") as file:
        file.write(f"{os.getpid()}\\n")
    while not os.path.exists(os.path.join(FOLDER, "go-on")):
        time.sleep(0.02)
    if os.path.exists(os.path.join(FOLDER, "fail")):
        sys.exit("the compiler is not happy")
    name = os.path.basename(WHEEL)
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as archive, zipfile.ZipFile(WHEEL) as ready:
        for member in ready.namelist():
            archive.writestr(member, ready.read(member))
    return name
"""


def manifest(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A manifest with one parallel task, or with these."""
    one = {"name": "Look", "executable_parallel": "look.py", "meta_parallel": {"cpus_per_task": 2, "mem": 500}}
    return {"manifest_version": "2", "task_list": list(tasks) or [one], "has_args_schemas": False, **more}


def task_files(package: str, content: Any = None) -> dict[str, str]:
    """The files of an importable task package; `content` is its manifest (None: a good one, text: as it is)."""
    text = content if isinstance(content, str) else json.dumps(manifest() if content is None else content)
    return {f"{package}/__init__.py": "", f"{package}/look.py": TASK, f"{package}/{MANIFEST}": text}


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: dict[str, str],
    *,
    needs: tuple[str, ...] = (),
    extras: tuple[str, ...] = (),
) -> Path:
    """Write `NAME-VERSION-py3-none-any.whl` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    requirements = "".join(f"Requires-Dist: {need}\n" for need in needs)
    requirements += "".join(f"Provides-Extra: {extra}\n" for extra in extras)
    inside = {
        **files,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirements}",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*inside, f"{stem}.dist-info/RECORD"])
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in {**inside, f"{stem}.dist-info/RECORD": record}.items():
            archive.writestr(member, text)
    return path


def make_environment(folder: Path, name: str, version: str) -> Path:
    """A virtual environment with a task package, as somebody else would make it; returns its folder."""
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(folder)], check=True)
    wheel = make_wheel(folder / "wheels", name, version, task_files(name.replace("-", "_")))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(next(folder.glob("lib/python*/site-packages")))  # noqa: S202 - made just now
    return folder


def make_archive(path: Path, files: dict[str, str | bytes]) -> Path:
    """Write a .tar.gz of these files and return its path."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(data))
    return path


class Index:
    """A package index as pip and uv read it, in a folder: `url` names it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.url = folder.as_uri()

    def add(self, name: str, version: str, files: dict[str, str] | None = None, **more: tuple[str, ...]) -> Path:
        """One more wheel; by default of an importable package without anything in it."""
        module = name.replace("-", "_")
        inside = {f"{module}/__init__.py": ""} if files is None else files
        return self._listed(make_wheel(self.folder / name, name, version, inside, **more))

    def add_tasks(self, name: str, version: str, content: Any = None, **more: tuple[str, ...]) -> Path:
        """One more task package."""
        return self.add(name, version, task_files(name.replace("-", "_"), content), **more)

    def add_slow(self, control: Path, name: str = "slow-tasks") -> None:
        """A task package 1.0 whose build waits for the file `go-on` in `control`, and fails with `fail` there."""
        control.mkdir(exist_ok=True)
        module = name.replace("-", "_")
        ready = make_wheel(control, name, "1.0", task_files(module))
        folder = self.folder / name
        folder.mkdir()
        top = f"{module}-1.0"
        head = f"FOLDER = {str(control)!r}\nWHEEL = {str(ready)!r}\n"
        build_system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        files: dict[str, str | bytes] = {
            f"{top}/PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{top}/pyproject.toml": f'{build_system}[project]\nname = "{name}"\nversion = "1.0"\n',
            f"{top}/backend.py": head + SLOW_BACKEND,
        }
        self._listed(make_archive(folder / f"{top}.tar.gz", files))

    def add_real(self, requirement: str, python_version: str) -> None:
        """A package from PyPI with all that it needs, as wheels for this Python."""
        with tempfile.TemporaryDirectory() as folder:
            options = ["--quiet", "--only-binary=:all:", f"--python-version={python_version}", f"--dest={folder}"]
            subprocess.run([sys.executable, "-m", "pip", "download", *options, requirement], check=True)
            for wheel in Path(folder).iterdir():
                place = self.folder / re.sub(r"[-_.]+", "-", wheel.name.partition("-")[0]).lower()
                place.mkdir(exist_ok=True)
                self._listed(Path(shutil.copy(wheel, place)))

    def _listed(self, file: Path) -> Path:
        files = sorted(one.name for one in file.parent.iterdir() if one.suffix != ".html")
        links = "".join(f'<a href="{name}">{name}</a>\n' for name in files)
        (file.parent / "index.html").write_text(f"<!DOCTYPE html><html><body>\n{links}</body></html>\n")
        return file
