"""Configurations as files of today's users write them, turned into what the contract says.

Dumps of other systems write every optional key, with null where nobody set it, add their own bookkeeping, and hold
numbers as text. All of that has one clear meaning. What has none (an unknown field, a word where a number belongs)
is left as it is, and found by the checks that follow.
"""

import re
from functools import cache
from typing import Any

from msgspec import inspect

from services.registry.rules.pixi import PixiConfig
from shared.service.flags import read_flag
from shared.service.web.bodies.expectations import join, shown

BOOKKEEPING = frozenset({"id", "resource_id", "timestamp_created", "timestamp_last_modified"})
"""Top-level fields that an export of a database adds: they belong to the system that was left."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,15}", re.ASCII)
_PIXI = "tasks_pixi_config"
_type_info = cache(inspect.type_info)


def as_written(value: Any, kind: Any) -> tuple[Any, list[str]]:
    """Return the JSON value of a spec (`kind`: a union of tagged structs) in the contract's form, and what was done.

    Null in the place of a field that does not hold it means "not written", and is no news.
    """
    reader = _Reader(_fields_of_any(kind))
    return reader.value(value, _type_info(kind), "$"), reader.notes


@cache
def _fields_of_any(kind: Any) -> frozenset[str]:
    """The fields of all members: null in one that only others have is not written, too."""
    info = _type_info(kind)
    members = info.types if isinstance(info, inspect.UnionType) else (info,)
    return frozenset(field.encode_name for member in members for field in getattr(member, "fields", ()))


class _Reader:
    def __init__(self, elsewhere: frozenset[str]) -> None:
        self.notes: list[str] = []
        self._elsewhere = elsewhere

    def value(self, value: Any, kind: inspect.Type, path: str) -> Any:
        members = _members(kind)
        if isinstance(value, dict):
            return self._object(value, members, path)
        if isinstance(value, list):
            items = next((member.item_type for member in members if isinstance(member, inspect.ListType)), None)
            return value if items is None else [self.value(v, items, join(path, i)) for i, v in enumerate(value)]
        found = _plain(value, members)
        if type(found) is not type(value):
            self.notes.append(f"{path}: {shown(value)} was taken as {shown(found)}")
        return found

    def _object(self, value: dict[str, Any], members: list[inspect.Type], path: str) -> dict[str, Any]:
        structs = [member for member in members if isinstance(member, inspect.StructType)]
        chosen = [one for one in structs if one.tag_field is None or value.get(one.tag_field) == one.tag]
        if chosen:
            return self._struct(value, chosen[0], path)
        table = next((member for member in members if isinstance(member, inspect.DictType)), None)
        if table is None:
            return value
        return {k: self.value(v, table.value_type, join(path, k)) for k, v in value.items() if v is not None}

    def _struct(self, value: dict[str, Any], kind: inspect.StructType, path: str) -> dict[str, Any]:
        types = {field.encode_name: field.type for field in kind.fields}
        if path == "$" and _PIXI in types and value.get(_PIXI):
            types[_PIXI] = _type_info(PixiConfig)
        read = {}
        for name, item in value.items():
            place = join(path, name)
            if name in types:
                if item is not None or _holds_null(types[name]):
                    read[name] = self.value(item, types[name], place)
            elif path == "$" and name in BOOKKEEPING:
                self.notes.append(f"{place} was ignored: it belongs to the system that this was exported from")
            elif not (path == "$" and item is None and name in self._elsewhere):
                read[name] = item
        return read


def _members(kind: inspect.Type) -> list[inspect.Type]:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        return [one for member in kind.types for one in _members(member)]
    return [kind]


def _holds_null(kind: inspect.Type) -> bool:
    return any(isinstance(member, inspect.NoneType) for member in _members(kind))


def _plain(value: Any, members: list[inspect.Type]) -> Any:
    """A text, number or flag as the type writes it, where it has one such meaning; otherwise as it is."""
    kinds = {type(member) for member in members}
    if isinstance(value, float) and value.is_integer() and inspect.IntType in kinds:
        return int(value)
    if isinstance(value, str) and inspect.StrType in kinds:
        return value.strip()
    if isinstance(value, str) and inspect.IntType in kinds and _WHOLE.fullmatch(value.strip()):
        return int(value)
    flag = read_flag(value) if inspect.BoolType in kinds else None
    return value if flag is None else flag
