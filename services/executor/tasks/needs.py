"""What a task's unit needs: what its package says, changed by the request."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from stoker.contracts.needs import Needs

_FIELDS = tuple(field.name for field in msgspec.structs.fields(Needs))


def needs_of(meta: Mapping[str, Any], where: str) -> tuple[Needs, list[str]]:
    """Return the needs in a manifest's `meta_…`, and a warning for each value that is not understood.

    Packages carry keys for other systems too: those are left out, and so is null, which means nothing.
    """
    known: dict[str, Any] = {}
    warnings = []
    for field in _FIELDS:
        value = meta.get(field)
        if value is None:
            continue
        try:
            msgspec.convert({field: value}, Needs)
        except msgspec.ValidationError as error:
            warnings.append(f"{where}.{field} is left out: {error}")
        else:
            known[field] = value
    return msgspec.convert(known, Needs), warnings


def merged(manifest: Needs | None, request: Needs) -> Needs:
    """Return the needs, the request's values winning over the manifest's."""
    if manifest is None:
        return request
    values = {name: getattr(request, name) for name in _FIELDS if name != "needs_gpu"}
    written = {name: value for name, value in values.items() if value is not UNSET}
    return msgspec.structs.replace(manifest, **written, needs_gpu=manifest.needs_gpu or request.needs_gpu)
