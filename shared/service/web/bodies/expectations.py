"""What a valid value looks like, in words, from its msgspec type.

A type with a description in its `Meta` is described by that, and shown by its example.
"""

import re
from typing import Any

import msgspec
from msgspec import inspect

LONGEST_NAME = 100
"""Characters of a name from a body that are repeated in an answer."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SIMPLE: dict[type[inspect.Type], str] = {
    inspect.NoneType: "null",
    inspect.BoolType: "true or false",
    inspect.BytesType: "base64 (RFC 4648, padded)",
    inspect.DateTimeType: 'a time such as "2026-01-31T12:00:00Z"',
    inspect.ListType: "a list",
    inspect.SetType: "a list",
    inspect.FrozenSetType: "a list",
    inspect.VarTupleType: "a list",
    inspect.TupleType: "a list",
    inspect.DictType: "an object",
}


def join(path: str, name: str | int) -> str:
    """Return the path of a member: `units[3].path`, `versions["3.12"]`; the whole body is `$`. Long names are cut."""
    if isinstance(name, int):
        return f"{'' if path == '$' else path}[{name}]"
    name = cut(name)
    if _IDENTIFIER.match(name):
        return name if path == "$" else f"{path}.{name}"
    return f"{'' if path == '$' else path}[{shown(name)}]"


def cut(text: str, longest: int = LONGEST_NAME) -> str:
    """Return the text, or its beginning and an ellipsis."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def shown(value: object) -> str:
    """Return a value as JSON."""
    return msgspec.json.encode(value).decode()


def expected(kind: inspect.Type) -> str:  # noqa: PLR0911 - a table reads best as one
    """Return the valid form: `a whole number of at least 1`."""
    match kind:
        case inspect.Metadata():
            return _described(kind) or expected(kind.type)
        case inspect.IntType():
            return f"a whole number{_bounds(kind)}"
        case inspect.FloatType():
            return f"a number{_bounds(kind)}"
        case inspect.StrType():
            return _text(kind)
        case inspect.LiteralType():
            return f"one of {', '.join(map(shown, kind.values))}" if len(kind.values) > 1 else shown(kind.values[0])
        case inspect.UnionType():
            return " or ".join(dict.fromkeys(expected(member) for member in kind.types))
        case inspect.StructType():
            names = [kind.tag_field] if kind.tag_field else [field.encode_name for field in kind.fields]
            return f"an object with {', '.join(filter(None, names))}"
        case _:
            return _SIMPLE.get(type(kind), "another kind of value")


def _described(kind: inspect.Metadata) -> str:
    about: dict[str, Any] = kind.extra_json_schema or {}
    examples = about.get("examples", [])
    such_as = f", such as {' or '.join(map(shown, examples))}" if examples else ""
    return f"{about['description']}{such_as}" if "description" in about else ""


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    low = kind.ge if kind.ge is not None else kind.gt
    high = kind.le if kind.le is not None else kind.lt
    words = []
    if low is not None:
        words.append(f"{'of at least' if kind.ge is not None else 'greater than'} {low}")
    if high is not None:
        words.append(f"{'of at most' if kind.le is not None else 'less than'} {high}")
    if kind.multiple_of is not None:
        words.append(f"that is a multiple of {kind.multiple_of}")
    return f" {' and '.join(words)}" if words else ""


def _text(kind: inspect.StrType) -> str:
    words = "text"
    if kind.min_length == 1:
        words = "text that is not empty"
    elif kind.min_length:
        words = f"text of at least {kind.min_length} characters"
    if kind.max_length is not None:
        words += f" (at most {kind.max_length} characters)"
    return f"{words} matching {kind.pattern}" if kind.pattern else words
