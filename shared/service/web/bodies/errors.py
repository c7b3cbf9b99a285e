"""Finding every wrong field of a JSON value, where msgspec stops at the first.

The walk agrees with msgspec's strict decoding: it finds something exactly when decoding fails (a property that is
tested). It ends at its hundredth error, so that a body full of them makes no more work than others. On top of types,
a rule per struct can look at the fields that have the right type.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import inspect

from shared.service.web.bodies.expectations import LONGEST_NAME, expected, join, shown
from stoker.contracts.problems import FieldError

MAX_ERRORS = 100

Rule = Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]]
"""Gets the fields of one object that were written and have the right type; yields (path inside it, message)."""
Rules = Mapping[type[msgspec.Struct], Rule]
NO_RULES: Rules = {}

_LISTS = (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType)
_CONTAINERS = (inspect.StructType, inspect.DictType, *_LISTS)
_type_info = cache(inspect.type_info)


def find_errors(value: Any, kind: Any, rules: Rules = NO_RULES) -> list[FieldError]:
    """Return what is wrong with `value` (decoded JSON) as a `kind`; after MAX_ERRORS it is only said that more is."""
    walk = _Walk(rules)
    try:
        walk.check(value, _type_info(kind), "$")
    except _EnoughError:
        walk.errors.append(FieldError("$", "more fields are wrong"))
    return walk.errors


class _EnoughError(Exception):
    """As many errors were found as anybody reads."""


class _Walk:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.errors: list[FieldError] = []

    def wrong(self, path: str, message: str) -> bool:
        if len(self.errors) >= MAX_ERRORS:
            raise _EnoughError
        self.errors.append(FieldError(path, message))
        return False

    def check(self, value: Any, kind: inspect.Type, path: str) -> bool:
        """Report what is wrong; say whether nothing is."""
        described = kind
        while isinstance(kind, inspect.Metadata):
            kind = kind.type
        match kind:
            case inspect.UnionType():
                return self._union(value, kind, described, path)
            case inspect.StructType():
                return self._struct(value, kind, path)
            case inspect.DictType() if isinstance(value, dict):
                return self._dict(value, kind, path)
            case inspect.ListType() | inspect.SetType() | inspect.FrozenSetType() | inspect.VarTupleType() if (
                isinstance(value, list)
            ):
                return self._list(value, kind, path)
            case _ if _fits(value, kind) and _within(value, kind):
                return True
        return self.wrong(path, f"must be {expected(described)}")

    def _list(self, value: list[Any], kind: Any, path: str) -> bool:
        fine = [self.check(item, kind.item_type, join(path, index)) for index, item in enumerate(value)]
        return self._length(value, kind, path, "items") and all(fine)

    def _dict(self, value: dict[str, Any], kind: inspect.DictType, path: str) -> bool:
        fine = []
        for key, item in value.items():
            fine.append(self.check(key, kind.key_type, join(path, key)))
            fine.append(self.check(item, kind.value_type, join(path, key)))
        return self._length(value, kind, path, "entries") and all(fine)

    def _length(self, value: Any, kind: Any, path: str, noun: str) -> bool:
        if kind.min_length is not None and len(value) < kind.min_length:
            return self.wrong(path, f"must have at least {kind.min_length} {noun}")
        if kind.max_length is not None and len(value) > kind.max_length:
            return self.wrong(path, f"must have at most {kind.max_length} {noun}")
        return True

    def _union(self, value: Any, kind: inspect.UnionType, described: inspect.Type, path: str) -> bool:
        structs = [member for member in kind.types if isinstance(member, inspect.StructType)]
        if isinstance(value, dict) and len(structs) > 1:
            return self._tagged(value, structs, path)
        fitting = [member for member in kind.types if _fits(value, member)]
        if len(fitting) == 1 and isinstance(fitting[0], _CONTAINERS):
            return self.check(value, fitting[0], path)
        if any(_within(value, member) for member in fitting):
            return True
        return self.wrong(path, f"must be {expected(described)}")

    def _tagged(self, value: dict[str, Any], structs: list[inspect.StructType], path: str) -> bool:
        field = str(structs[0].tag_field)
        chosen = [struct for struct in structs if field in value and struct.tag == value[field]]
        if chosen:
            return self._struct(value, chosen[0], path)
        choices = ", ".join(shown(struct.tag) for struct in structs)
        return self.wrong(join(path, field), f"{'must be' if field in value else 'is required:'} one of {choices}")

    def _struct(self, value: Any, kind: inspect.StructType, path: str) -> bool:
        if not isinstance(value, dict):
            return self.wrong(path, f"must be {expected(kind)}")
        before = len(self.errors)
        view: dict[str, Any] = {}
        for field in kind.fields:
            if field.encode_name not in value:
                if field.required:
                    self.wrong(join(path, field.encode_name), f"is required: {expected(field.type)}")
            elif self.check(value[field.encode_name], field.type, join(path, field.encode_name)):
                view[field.encode_name] = value[field.encode_name]
        self._others(value, kind, path)
        if (rule := self.rules.get(kind.cls)) is not None:
            for name, message in rule(view):
                self.wrong(name if path == "$" else path + (name if name.startswith("[") else f".{name}"), message)
        return before == len(self.errors)

    def _others(self, value: dict[str, Any], kind: inspect.StructType, path: str) -> None:
        known = [field.encode_name for field in kind.fields]
        if kind.tag_field is not None:
            if kind.tag_field in value and value[kind.tag_field] != kind.tag:
                self.wrong(join(path, kind.tag_field), f"must be {shown(kind.tag)}")
            known = [kind.tag_field, *known]
        if not kind.forbid_unknown_fields:
            return
        for name in value:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1) if len(name) <= LONGEST_NAME else []
                hint = f"did you mean {close[0]}?" if close else f"known fields are {', '.join(known)}"
                self.wrong(join(path, name), f"unknown field; {hint}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_JSON_KIND: Mapping[type[inspect.Type], Callable[[Any], bool]] = {
    inspect.NoneType: lambda value: value is None,
    inspect.BoolType: lambda value: isinstance(value, bool),
    inspect.IntType: _is_whole,
    inspect.FloatType: lambda value: isinstance(value, float) or _is_whole(value),
    inspect.StrType: lambda value: isinstance(value, str),
    inspect.BytesType: lambda value: isinstance(value, str),
    inspect.DateTimeType: lambda value: isinstance(value, str),
    inspect.LiteralType: lambda value: value is None or isinstance(value, str) or _is_whole(value),
    inspect.StructType: lambda value: isinstance(value, dict),
    inspect.DictType: lambda value: isinstance(value, dict),
    inspect.AnyType: lambda _: True,
    inspect.RawType: lambda _: True,
    **{kind: lambda value: isinstance(value, list) for kind in _LISTS},
}


def _fits(value: Any, kind: inspect.Type) -> bool:
    """Say whether the JSON kind of the value is one that this type is written as."""
    if isinstance(kind, inspect.Metadata):
        return _fits(value, kind.type)
    if type(kind) not in _JSON_KIND:
        raise NotImplementedError(f"request bodies with {type(kind).__name__}")
    return _JSON_KIND[type(kind)](value)


def _within(value: Any, kind: inspect.Type) -> bool:  # noqa: PLR0911 - one for each kind of bound
    """Say whether a value of the right JSON kind keeps the type's bounds."""
    match kind:
        case inspect.Metadata():
            return _within(value, kind.type)
        case inspect.IntType() | inspect.FloatType():
            return _between(value, kind)
        case inspect.StrType():
            longest = math.inf if kind.max_length is None else kind.max_length
            matches = kind.pattern is None or re.search(kind.pattern, value) is not None
            return (kind.min_length or 0) <= len(value) <= longest and matches
        case inspect.LiteralType():
            return value in kind.values
        case inspect.BytesType():
            return _is_base64(value)
        case inspect.DateTimeType():
            return _is_datetime(value, kind)
        case _:
            return True


def _between(value: float, kind: inspect.IntType | inspect.FloatType) -> bool:
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
        and (kind.multiple_of is None or value % kind.multiple_of == 0)
    )


def _is_base64(value: str) -> bool:
    try:
        msgspec.convert(value, bytes)
    except msgspec.ValidationError:
        return False
    return True


def _is_datetime(value: str, kind: inspect.DateTimeType) -> bool:
    try:
        msgspec.convert(value, Annotated[datetime, msgspec.Meta(tz=kind.tz)])
    except msgspec.ValidationError:
        return False
    return True
