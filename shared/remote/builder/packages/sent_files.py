"""Files that were sent with a request: found beside it, and kept with the environment."""

from __future__ import annotations

import os
import shutil
import urllib.parse

from shared.remote.builder.failures import Failure
from shared.remote.builder.places import SENT, Place
from shared.remote.builder.request import Request


def sent_file(request: Request) -> str:
    """Return the path of the request's wheel or archive; Failure when it is not there."""
    path = request.source.optional_path("file")
    if path is None or not os.path.isfile(path):
        raise Failure("request_invalid", f"the file that was sent is not there: {path}")
    return path


def keep(file: str, place: Place) -> str:
    """Have a file in the environment's own folder, whole; return its path there."""
    kept = place.path(SENT, os.path.basename(file))
    if file != kept:
        os.makedirs(place.path(SENT), exist_ok=True)
        shutil.copyfile(file, kept + ".part")
        os.replace(kept + ".part", kept)
    return kept


def kept_file(place: Place) -> str | None:
    """Return the file that was kept, None where there is none."""
    try:
        kept = [name for name in sorted(os.listdir(place.path(SENT))) if not name.endswith(".part")]
    except FileNotFoundError:
        return None
    return place.path(SENT, kept[0]) if kept else None


def url_of(path: str) -> str:
    """Return a path as installers want it in a requirement."""
    return "file://" + urllib.parse.quote(path)
