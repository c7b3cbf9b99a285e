"""What units of tasks may answer. Anything else is a failed unit, with these words as its reason."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from stoker.contracts.tasks import MAX_COMPUTE_UNITS, ComputeUnit, InitOutput, TaskOutput
from stoker.errors import Invalid

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


def read_init_output(output: Any) -> list[ComputeUnit]:
    """Return what a compound task's init asks for, in its order; nothing at all asks for nothing.

    What it asks for twice is done once. Raises Invalid in words that a task's author understands.
    """
    if output is None:
        return []
    elements = _converted(output, InitOutput, '{"parallelization_list": [{"zarr_url": …, "init_args": {…}}]}')
    found = _each_once(elements.parallelization_list or [])
    if len(found) > MAX_COMPUTE_UNITS:
        raise Invalid(f"the parallelization_list has {len(found):,} elements, the limit is {MAX_COMPUTE_UNITS:,}")
    return found


def read_task_output(output: Any) -> TaskOutput:
    """Return what a task says about images, the same twice once; nothing at all says nothing.

    Raises Invalid in words that a task's author understands.
    """
    if output is None:
        return TaskOutput()
    found = _converted(output, TaskOutput, '{"image_list_updates": […], "image_list_removals": […]}')
    if found.image_list_updates is not None:
        found = msgspec.structs.replace(found, image_list_updates=_each_once(found.image_list_updates))
    updated = [update.zarr_url for update in found.image_list_updates or []]
    twice = [url for url, count in Counter(updated).items() if count > 1]
    if twice:
        raise Invalid(f"image_list_updates names {twice[0]} more than once, and not with the same values")
    both = sorted(set(updated) & set(found.image_list_removals or []))
    if both:
        raise Invalid(f"{both[0]} is both in image_list_updates and in image_list_removals")
    return found


def _each_once(things: Sequence[S]) -> list[S]:
    """Without those that say exactly what an earlier one says; what is left out and what is empty are the same."""
    found: dict[bytes, S] = {}
    for thing in things:
        said = {name: value for name in thing.__struct_fields__ if (value := getattr(thing, name))}
        found.setdefault(msgspec.json.encode(said, order="deterministic"), thing)
    return list(found.values())


def _converted(output: Any, kind: type[T], expected: str) -> T:
    try:
        return msgspec.convert(output, kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"the output must be {expected}, or nothing: {error}") from error
