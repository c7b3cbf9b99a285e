"""`remove`: a folder is gone under its name at once, then its files go. `measure`: what it takes."""

from __future__ import annotations

import os

from shared.remote.agent import trees
from shared.remote.agent.exchange import Exchange
from shared.remote.agent.places import Place
from shared.remote.agent.verbs import staging

PREFIX = ".removed-"


def remove(place: Place, exchange: Exchange) -> dict[str, object]:
    """Run the verb; also deletes what an interrupted staging or removal of the same name left."""
    try:
        parent, name = place.open_parent()
    except FileNotFoundError:
        return {"removed": False, "bytes": 0}
    try:
        freed = trees.delete_leftovers(parent, f"{staging.PREFIX}{name}-", exchange.moved)
        aside = f"{PREFIX}{name}-{os.urandom(6).hex()}"
        try:
            os.rename(name, aside, src_dir_fd=parent, dst_dir_fd=parent)
            removed = True
        except FileNotFoundError:
            removed = False
        for entry in os.listdir(parent):
            if entry.startswith(f"{PREFIX}{name}-"):
                freed += _delete(parent, entry, exchange)
        return {"removed": removed, "bytes": freed}
    finally:
        os.close(parent)


def _delete(parent: int, name: str, exchange: Exchange) -> int:
    try:
        return trees.delete(parent, name, exchange.moved)
    except FileNotFoundError:
        return 0  # somebody else deletes it too


def measure(place: Place, exchange: Exchange) -> dict[str, object]:
    """Run the verb."""
    try:
        folder = place.open()
    except FileNotFoundError:
        return {"bytes": 0, "files": 0}
    try:
        size, files = trees.measure(folder, exchange.moved)
    finally:
        os.close(folder)
    return {"bytes": size, "files": files}
