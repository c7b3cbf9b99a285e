"""Strict decoding of request bodies: a struct, or every wrong field with its path and the valid form."""

from functools import cache
from typing import Any, TypeVar, overload

import msgspec

from shared.service.web.bodies.errors import NO_RULES, Rules, find_errors
from stoker.contracts.problems import FieldError
from stoker.errors import Invalid

T = TypeVar("T")


@overload
def decode_body(body: bytes, kind: type[T], rules: Rules = NO_RULES) -> T: ...
@overload
def decode_body(body: bytes, kind: Any, rules: Rules = NO_RULES) -> Any: ...
def decode_body(body: bytes, kind: Any, rules: Rules = NO_RULES) -> Any:
    """Return the body as a `kind` (a struct, or a union of tagged structs).

    Raises Invalid: slug `malformed-body` for what is not JSON, else `invalid-request` with all errors. `rules` add
    checks that types cannot express.
    """
    if not rules:
        try:
            return _decoder(kind).decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return convert_body(decode_json(body), kind, rules)


def convert_body(value: Any, kind: Any, rules: Rules = NO_RULES) -> Any:
    """Do the same with decoded JSON."""
    errors = find_errors(value, kind, rules)
    if errors:
        raise _wrong(errors)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        # The walk found nothing, msgspec did: its own words are better than none.
        message, _, path = str(error).partition(" - at `")
        raise _wrong([FieldError(path.rstrip("`").removeprefix("$.") or "$", message)]) from error


def decode_json(body: bytes) -> Any:
    """Return any JSON value. Raises Invalid (`malformed-body`)."""
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        problem = "it is nested too deeply"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = str(error) if body else "it is empty"
    raise Invalid(f"the body is not JSON: {problem}", slug="malformed-body")


def merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` with an RFC 7396 patch applied: null removes a key, objects are merged, others replace."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _wrong(errors: list[FieldError]) -> Invalid:
    fields = "one field is" if len(errors) == 1 else f"{len(errors)} fields are"
    return Invalid(f"{fields} not valid", errors)
