"""How long an environment of a real package takes to make, to deactivate and to make again.

`python bench/environments.py [--quick] [--package NAME]` compares the builder (with uv, and with pip) with
`python -m venv` and `pip install` of the same versions, in the same run, with an empty cache and with a full one;
prints a table and writes bench/results/environments.json. Every environment that is timed can be imported.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from shared.remote.bundle import builder_source

RESULTS = Path(__file__).parent / "results" / "environments.json"
UV = str(Path(sys.executable).with_name("uv"))
AIM_WARM = 0.1
PACKAGE, QUICK_PACKAGE = "fractal-tasks-core", "testing-tasks-mock"


class Bench:
    """One run: all of it below one temporary folder, on one file system."""

    def __init__(self, folder: Path, package: str) -> None:
        self.folder = folder
        self.package = package
        self.times: dict[str, float] = {}
        self.version = ""
        (folder / "builder.py").write_bytes(builder_source())

    def timed(self, name: str, action: Callable[[], Any]) -> Any:
        """Do it, and note how long it took."""
        start = time.perf_counter()
        result = action()
        self.times[name] = time.perf_counter() - start
        print(f"{name:<40} {self.times[name]:8.2f} s", flush=True)
        return result

    def build(self, action: str, uv: str | None, **more: Any) -> dict[str, Any]:
        """Run the builder to its end."""
        request = {
            "format": 1,
            "action": action,
            "root": str(self.folder / "tasks"),
            "environment_id": "bench",
            "source": {"type": "pypi"},
            "package": self.package,
            "version": self.version or None,
            "python": sys.executable,
            "uv": uv,
            "pip_cache_dir": str(self.folder / f"cache-{'uv' if uv else 'pip'}"),
            **more,
        }
        arguments, out = self.folder / "args.json", self.folder / "out.json"
        arguments.write_text(json.dumps(request))
        command = [sys.executable, "-I", "-S", str(self.folder / "builder.py"), "--args-json", str(arguments)]
        subprocess.run([*command, "--out-json", str(out)], check=True, stdout=subprocess.DEVNULL)
        result: dict[str, Any] = json.loads(out.read_text())
        assert result["outcome"] == "done", result
        environment: dict[str, Any] = result["environment"]
        return environment

    def by_hand(self, freeze: str) -> None:
        """What anybody would type: a virtual environment, and the same versions by pip."""
        venv = self.folder / "by-hand"
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        wanted = self.folder / "wanted.txt"
        wanted.write_text(freeze)
        environment = os.environ | {
            "PIP_CACHE_DIR": str(self.folder / "cache-hand"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        command = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", wanted]
        subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)

    def run(self) -> None:
        """Everything, in an order in which nothing warms another's cache."""
        made = self.timed("uv, cold: create", lambda: self.build("create", UV))
        self.version = made["version"]
        self.remove_and_rebuild("uv", UV, made)
        self.timed("uv, warm: create", lambda: self.build("create", UV))
        self.build("remove", UV)
        self.timed("uv, warm: create, compiled", lambda: self.build("create", UV, compiled=True))
        self.timed("uv: delete", lambda: self.build("remove", UV))
        made = self.timed("pip, cold: create", lambda: self.build("create", None))
        self.remove_and_rebuild("pip", None, made)
        self.timed("by hand, cold", lambda: self.by_hand(made["freeze"]))
        self.timed("by hand, warm", lambda: self.by_hand(made["freeze"]))

    def remove_and_rebuild(self, name: str, uv: str | None, made: dict[str, Any]) -> None:
        """Deactivate, reactivate (it must be the same), delete."""
        self.timed(f"{name}: deactivate", lambda: self.build("remove", uv, keep=True))
        again = self.timed(f"{name}, warm: reactivate", lambda: self.build("rebuild", uv))
        assert again["freeze"] == made["freeze"]
        self.build("remove", uv)


def main() -> None:
    """Run it and say how it compares."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PACKAGE}, which is small")
    parser.add_argument("--package", default=PACKAGE)
    options = parser.parse_args()
    package = QUICK_PACKAGE if options.quick else options.package
    with tempfile.TemporaryDirectory(prefix="stoker-bench-") as folder:
        bench = Bench(Path(folder), package)
        bench.run()
    times = bench.times
    shares = {
        "create, cold": times["uv, cold: create"] / times["by hand, cold"],
        "create, warm": times["uv, warm: create"] / times["by hand, warm"],
        "reactivate, warm": times["uv, warm: reactivate"] / times["by hand, warm"],
    }
    for name, share in shares.items():
        print(f"{name}: {share:.2f} of the time by hand (aim when warm: {AIM_WARM})")
    RESULTS.parent.mkdir(exist_ok=True)
    found = {"package": package, "version": bench.version, "seconds": times, "shares": shares, "aim_warm": AIM_WARM}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
