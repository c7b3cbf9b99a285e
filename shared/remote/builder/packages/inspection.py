"""What is installed in an environment: run by the environment's own Python, alone, so it imports nothing of ours.

`python -I -c SOURCE PACKAGE` prints one line of JSON.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import sys

MANIFEST = "__FRACTAL_MANIFEST__.json"
NOT_FROZEN = frozenset(("pip",))


def normalised(name: str) -> str:
    """Return the one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def direct(distribution: importlib.metadata.Distribution) -> str:
    """Return where a distribution was taken from if that was not an index and others can reach it too."""
    text = distribution.read_text("direct_url.json")
    found = json.loads(text) if text else {}
    url = str(found.get("url", ""))
    if "vcs_info" in found:
        return "{}+{}@{}".format(found["vcs_info"]["vcs"], url, found["vcs_info"]["commit_id"])
    return "" if url.startswith("file:") else url


def manifests(distribution: importlib.metadata.Distribution) -> list[str]:
    """Return the manifest files of a distribution, also of one that is installed in place."""
    files = [str(distribution.locate_file(file)) for file in distribution.files or () if file.name == MANIFEST]
    if not files:
        tops = (distribution.read_text("top_level.txt") or "").split()
        for top in [*tops, normalised(distribution.metadata["Name"]).replace("-", "_")]:
            spec = importlib.util.find_spec(top) if top.isidentifier() else None
            folders = (spec.submodule_search_locations if spec else None) or []
            files += [os.path.join(folder, MANIFEST) for folder in folders]
    return sorted({os.path.realpath(file) for file in files if os.path.isfile(file)})


def inspect(package: str) -> dict[str, object]:
    """Return all distributions, and the manifests of one package."""
    found: dict[str, list[str]] = {}
    wanted = None
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name and normalised(name) not in found:
            found[normalised(name)] = [name, distribution.version, direct(distribution)]
            wanted = distribution if normalised(name) == normalised(package) else wanted
    return {
        "python_version": platform.python_version(),
        "distributions": [found[name] for name in sorted(found) if name not in NOT_FROZEN],
        "version": wanted.version if wanted else None,
        "manifests": manifests(wanted) if wanted else [],
    }


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(inspect(sys.argv[1])) + "\n")
