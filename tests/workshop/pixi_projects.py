"""What pixi projects need: a channel with packages, the stand-in for pixi, and archives that ask for the packages."""

import sys
from pathlib import Path
from typing import Any

from tests.servers.pixi.channel import CondaChannel, make_pixi_home
from tests.workshop.packages import make_archive, task_files

PIXI_VERSION = "0.50.0"
SLOW_VERSION = "0.51.0"


class PixiProjects:
    """A channel with a Python, a task package and something that it needs; and archives that ask for them.

    `program` runs the stand-in, `interpreter` is what the channel's Python is made of. Whoever can run both and look
    into `folder` can make environments.
    """

    def __init__(self, folder: Path, *, program: str = sys.executable, interpreter: Path | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.channel = CondaChannel(folder / "channel")
        self.channel.add_python(interpreter)
        self.channel.add("some-tasks", "1.0", task_files("some_tasks"), needs=("some-needs",))
        self.publish_needs("1.0")
        self.home = make_pixi_home(folder / "pixi" / PIXI_VERSION, program)
        _open_cache(self.home)

    def publish_needs(self, version: str) -> None:
        """One more version of what the task package needs."""
        self.channel.add("some-needs", version, {"some_needs/__init__.py": ""})
        self.channel.index()

    def project(self, wanted: str = "1.0.*") -> str:
        """A project file."""
        return (
            f'[workspace]\nname = "some-tasks"\nchannels = ["{self.channel.url}"]\nplatforms = ["linux-64"]\n'
            f'[dependencies]\npython = "*"\nsome-tasks = "{wanted}"\n'
        )

    def archive(self, *, stem: str = "some-tasks-1.0", **files: str) -> Path:
        """An archive of these files; of a project file alone when none are given."""
        files = files or {"pixi.toml": self.project()}
        inside: dict[str, str | bytes] = {f"{stem}/{name}": text for name, text in files.items()}
        return make_archive(self.folder / f"{stem}.tar.gz", inside)

    def config(self, **more: Any) -> dict[str, Any]:
        """A resource's `tasks_pixi_config`."""
        return {"default_version": PIXI_VERSION, "versions": {PIXI_VERSION: str(self.home)}, **more}

    def add_slow_version(self, control: Path) -> None:
        """One more version, which waits for the file `go-on` in `control` before it installs anything."""
        control.mkdir()
        control.chmod(0o777)
        program = self.home.parent / SLOW_VERSION / "bin/pixi"
        program.parent.mkdir(parents=True)
        waiting = (
            f'echo "the solver waits"\ntouch "{control}/begun"\nwhile [ ! -e "{control}/go-on" ]; do sleep 0.1; done'
        )
        program.write_text(f'#!/bin/sh\n{waiting}\nexec "{self.home}/bin/pixi" "$@"\n')
        program.chmod(0o755)
        _open_cache(program.parents[1])

    def slow_config(self, **more: Any) -> dict[str, Any]:
        """The same with both versions, of which the slow one is the default."""
        versions = {version: str(self.home.parent / version) for version in (PIXI_VERSION, SLOW_VERSION)}
        return {"default_version": SLOW_VERSION, "versions": versions, **more}


def _open_cache(home: Path) -> None:
    """Whoever runs this pixi may fill its cache."""
    cache = home / "cache"
    cache.mkdir()
    cache.chmod(0o777)
