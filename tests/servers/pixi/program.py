"""`pixi install [--frozen]` and `pixi shell-hook`, with pixi's options as far as the builder uses them."""

import argparse
import asyncio
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

from rattler import Channel, Gateway, LockChannel, LockFile, LockPlatform, RepoDataRecord, install, solve
from rattler.platform import Subdir
from rattler.shell import ActivationVariables, Shell, activate

# What pixi is told by its environment; a builder that forgets one is found out here.
_NEEDED = (
    "PIXI_HOME",
    "PIXI_CACHE_DIR",
    "RATTLER_AUTH_FILE",
    "TOKIO_WORKER_THREADS",
)
_OTHERS = ("noarch",)


def main() -> None:
    parser = argparse.ArgumentParser(prog="pixi")
    parser.add_argument("verb", choices=["install", "shell-hook"])
    parser.add_argument("--manifest-path", type=Path, required=True)
    parser.add_argument("--environment", default="default")
    parser.add_argument("--frozen", action="store_true")
    parser.add_argument("--shell", choices=["bash"])
    parser.add_argument("--concurrent-solves", type=int)
    parser.add_argument("--concurrent-downloads", type=int)
    options = parser.parse_args()
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        sys.exit(f"not set: {', '.join(missing)}")
    if options.verb == "install" and not (options.concurrent_solves and options.concurrent_downloads):
        sys.exit("not said: how many solves and downloads at once")
    _warn(_pixi(options.manifest_path))
    project = options.manifest_path.parent
    prefix = project / ".pixi" / "envs" / options.environment
    if options.verb == "install":
        asyncio.run(_install(options.manifest_path, prefix, options.environment, frozen=options.frozen))
    else:
        # What would do harm in a script, were it taken for a part of one.
        sys.stderr.write(" WARN it's a word for people; exit 3\n")
        sys.stdout.write(activate(prefix, ActivationVariables(), Shell.bash).script)


async def _install(manifest: Path, prefix: Path, environment: str, *, frozen: bool) -> None:
    (platform,) = _pixi(manifest)["workspace"]["platforms"]
    lock = manifest.parent / "pixi.lock"
    if not frozen:
        await _solve(_pixi(manifest), platform, environment, lock)
    found = LockFile.from_path(lock).environment(environment)
    if found is None:
        sys.exit(f"the lock file has no environment {environment}")
    records = found.conda_repodata_records_for_platform(found.platforms()[0]) or []
    cache = Path(os.environ["PIXI_CACHE_DIR"]) / "pkgs"
    await install(records, prefix, cache_dir=cache, platform=Subdir(platform), show_progress=False)
    sys.stdout.write(f"The {environment} environment has been installed.\n")


async def _solve(pixi: dict[str, Any], platform: str, environment: str, lock: Path) -> None:
    channels = pixi["workspace"]["channels"]
    specs = [name if wanted == "*" else f"{name} {wanted}" for name, wanted in pixi["dependencies"].items()]
    cache = Path(os.environ["PIXI_CACHE_DIR"]) / "repodata"
    records: list[RepoDataRecord] = await solve(
        [Channel(url) for url in channels], specs, gateway=Gateway(cache_dir=cache), platforms=[platform, *_OTHERS]
    )
    place = LockPlatform(platform)
    written = LockFile([place])
    written.set_channels(environment, [LockChannel(url) for url in channels])
    for record in sorted(records, key=lambda record: record.name.normalized):
        written.add_conda_package(environment, place, record)
    written.to_path(lock)


def _warn(pixi: dict[str, Any]) -> None:
    """Say what pixi says of a project file that has more than its environments and platforms use."""
    used = {name for features in pixi.get("environments", {}).values() for name in features}
    for name in sorted(pixi.get("feature", {}).keys() - used):
        sys.stderr.write(f" WARN The feature '{name}' is defined but not used in any environment\n")
    for name in pixi.get("target", {}):
        if name not in {*pixi["workspace"]["platforms"], "linux", "unix"}:
            sys.stderr.write(f" WARN The target selector '{name}' does not match any of the platforms\n")


def _pixi(manifest: Path) -> dict[str, Any]:
    project = tomllib.loads(manifest.read_text())
    pixi: dict[str, Any] = project if manifest.name == "pixi.toml" else project["tool"]["pixi"]
    return pixi


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # noqa: BLE001 - said in words, as pixi does
        sys.exit(f"Error: {error}")
    sys.stdout.flush()
    os._exit(0)  # the engine's own threads may still be at work, and would crash an interpreter that goes away
