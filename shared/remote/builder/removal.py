"""Removing what is installed (and keeping what it can be made of again), or everything."""

from __future__ import annotations

from shared.remote.builder import answers
from shared.remote.builder.answers import Answer
from shared.remote.builder.commands import say
from shared.remote.builder.failures import Failure
from shared.remote.builder.packages.names import package_name
from shared.remote.builder.places import PROJECT, VENV, WRAPPER, Place, attempts
from shared.remote.builder.request import Request
from shared.remote.builder.steps import Steps

PIXI_ENVIRONMENTS = ".pixi"


def remove(request: Request) -> Answer:
    """Remove an environment; where it is not there (any more) that is the answer too."""
    if request.source_type == "existing":
        return {"disk_bytes": None, "files": None}
    places = _places(request)
    steps = Steps(max(1, len(places)))
    for place in places:
        steps.next(f"remove {place.folder}")
        place.mark_not_ready()
        if request.keep:
            for parts in ((VENV,), (WRAPPER,), (PROJECT, PIXI_ENVIRONMENTS)):
                place.discard(*parts)
        else:
            place.discard()
    if not places:
        say("there is nothing to remove")
    if request.keep and places:
        return answers.placed(places[0])
    return {"disk_bytes": 0, "files": 0}


def measure(request: Request) -> Answer:
    """Return what an environment takes on disk."""
    place = Place(request.root, *request.known_package(), request.environment_id)
    if place.ready() is None:
        raise Failure("environment_not_found", f"there is no complete environment at {place.folder}")
    return answers.placed(place)


def _places(request: Request) -> list[Place]:
    """Return where it is; without a version (an attempt that was cancelled knew none) it is looked for."""
    return [
        place
        for place in attempts(request.root, package_name(request.package), request.environment_id)
        if request.version in (None, place.version)
    ]
