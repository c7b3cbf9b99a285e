"""The real builder, started by hand as the runner would start it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from shared.remote.bundle import builder_source
from tests.workshop.packages import Index

UV = str(Path(sys.executable).with_name("uv"))
FOREVER_SECONDS = 120


class Build:
    """One run of the builder."""

    def __init__(
        self,
        folder: Path,
        request: dict[str, Any],
        environment: dict[str, str],
        interpreter: str = sys.executable,
        **more: Any,
    ) -> None:
        self.out = folder / "out.json"
        self._log = folder / "log"
        (folder / "args.json").write_text(json.dumps(request))
        program = folder.parent / "builder.py"
        command = [interpreter, "-I", "-S", str(program), "--args-json", str(folder / "args.json")]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--out-json", str(self.out)],
                cwd=folder.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **more,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def result(self) -> dict[str, Any]:
        """Wait for its end and return the content of the out file."""
        code = self.process.wait(FOREVER_SECONDS)
        assert code == 0, f"exit code {code}\n{self.log}"
        found: dict[str, Any] = json.loads(self.out.read_text())
        return found

    def done(self) -> dict[str, Any]:
        """Wait for its end and return the environment that it made."""
        result = self.result()
        assert result["outcome"] == "done", result["error"]["text"] + "\n" + self.log
        environment: dict[str, Any] = result["environment"]
        return environment

    def failed(self) -> tuple[str, str]:
        """Wait for its end and return the code and the words of its failure."""
        result = self.result()
        assert result["outcome"] == "failed", self.log
        return result["error"]["code"], result["error"]["text"]

    def kill(self) -> None:
        """End the builder alone, as the kernel would: nothing is tidied up."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(FOREVER_SECONDS)


class BuildingSite:
    """A tasks folder, a package index, a cache, and builders that work there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "tasks"
        self.cache = folder / "cache"
        self.index = Index(folder / "index")
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder / "home"), "LANG": "C.UTF-8"}
        (folder / "home").mkdir(parents=True)
        (folder / "work").mkdir()
        (folder / "work" / "builder.py").write_bytes(builder_source())
        self._builds: list[Build] = []

    def start(self, environment_id: str = "env1", *, more: dict[str, Any] | None = None, **request: Any) -> Build:
        """Start a builder; what the request leaves out is a creation from the index, with uv."""
        folder = self.folder / "work" / str(len(self._builds))
        folder.mkdir()
        if more:
            folder.chmod(0o777)
        defaults = {
            "format": 1,
            "action": "create",
            "root": str(self.root),
            "environment_id": environment_id,
            "source": {"type": "pypi"},
            "python": sys.executable,
            "uv": UV,
            "pip_cache_dir": str(self.cache),
            "index_urls": [self.index.url],
        }
        self._builds.append(Build(folder, defaults | request, self.environment, **(more or {})))
        return self._builds[-1]

    def sent(self, file: Path, **fields: Any) -> dict[str, Any]:
        """The source of an environment that is made of a file."""
        kind = "wheel" if file.suffix == ".whl" else "pixi"
        return {"type": kind, "file": str(file), **fields}

    def left(self) -> list[str]:
        """All that is below the tasks folder."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))

    def close(self) -> None:
        for build in self._builds:
            build.kill()
        # What a killed builder had started must not wait for ever.
        if (self.folder / "control").exists():
            (self.folder / "control" / "go-on").touch()
