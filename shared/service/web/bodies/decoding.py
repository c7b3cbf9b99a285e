"""Strict decoding of request bodies: a struct, or every wrong field with its path and the valid form."""

from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple, TypeVar, overload

import msgspec

from shared.service.web.bodies.errors import NO_RULES, Rules, find_errors
from shared.service.web.bodies.expectations import cut
from shared.service.web.bodies.large import LARGE_BYTES, count_values, off_the_loop
from stoker.contracts.problems import FieldError
from stoker.errors import Invalid

T = TypeVar("T")

# Of a body with more in it, only the first wrong field is named: finding all would make an object of each value.
_WALKED_BYTES = 8 * 1024 * 1024
_WALKED_VALUES = 250_000
_LONGEST_WORDS = 300
_A_PART = 2000


class LongList(NamedTuple):
    """A field of a body that may have very many items: they are counted before they are made, in parts."""

    field: str
    longest: int


@overload
async def read_body(
    body: bytes, kind: type[T], rules: Rules = NO_RULES, *, long_list: LongList | None = None
) -> T: ...
@overload
async def read_body(body: bytes, kind: Any, rules: Rules = NO_RULES, *, long_list: LongList | None = None) -> Any: ...
async def read_body(body: bytes, kind: Any, rules: Rules = NO_RULES, *, long_list: LongList | None = None) -> Any:
    """Do the same as `decode_body`; a large body does not hold up the event loop."""
    return await off_the_loop(len(body), _read, body, kind, rules, long_list)


def _read(body: bytes, kind: Any, rules: Rules, long_list: LongList | None) -> Any:
    if long_list is not None and len(body) > LARGE_BYTES:
        heavy = _is_heavy(body)
        try:
            outline = _outline(kind, long_list.field).decode(body)
        except msgspec.ValidationError as error:
            if heavy:
                raise _wrong([_first(error)]) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _malformed(error, body) from None
        else:
            with suppress(msgspec.ValidationError):
                return _completed(outline, kind, long_list)
    return decode_body(body, kind, rules)


@overload
def decode_body(body: bytes, kind: type[T], rules: Rules = NO_RULES) -> T: ...
@overload
def decode_body(body: bytes, kind: Any, rules: Rules = NO_RULES) -> Any: ...
def decode_body(body: bytes, kind: Any, rules: Rules = NO_RULES) -> Any:
    """Return the body as a `kind` (a struct, or a union of tagged structs).

    Raises Invalid: slug `malformed-body` for what is not JSON, else `invalid-request` with all errors. `rules` add
    checks that types cannot express.
    """
    heavy = _is_heavy(body)
    if not rules or heavy:
        try:
            decoded = _decoder(kind).decode(body)
        except msgspec.ValidationError as error:
            if heavy:
                raise _wrong([_first(error)]) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _malformed(error, body) from None
        else:
            if not rules:
                return decoded
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
        raise _wrong([_first(error)]) from error


def decode_json(body: bytes) -> Any:
    """Return any JSON value. Raises Invalid (`malformed-body`)."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error, body) from None


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


def _is_heavy(body: bytes) -> bool:
    """Whether to name only the first wrong field. Raises Invalid for a body that is too much to be decoded at all."""
    return len(body) > LARGE_BYTES and (count_values(body) > _WALKED_VALUES or len(body) > _WALKED_BYTES)


def _completed(outline: msgspec.Struct, kind: Any, long_list: LongList) -> Any:
    """Decode the items of the long list some at a time: other threads, and the event loop's, have their turn."""
    values = msgspec.structs.asdict(outline)
    raw = values[long_list.field]
    if len(raw) > long_list.longest:
        words = f"has {len(raw):,} {long_list.field}, the limit is {long_list.longest:,}"
        raise _wrong([FieldError(long_list.field, words)])
    decoder = _decoder(_types(kind)[long_list.field])
    items: list[Any] = []
    for start in range(0, len(raw), _A_PART):
        items += decoder.decode(b"[%b]" % b",".join(raw[start : start + _A_PART]))
    return kind(**values | {long_list.field: items})


def _types(kind: Any) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


@cache
def _outline(kind: Any, field: str) -> msgspec.json.Decoder[Any]:
    """A decoder that leaves the items of one field, a list, as they are written."""
    as_written = {"__annotations__": {field: list[msgspec.Raw]}, field: []}
    return msgspec.json.Decoder(type("Outline", (kind,), as_written, kw_only=True))


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _first(error: msgspec.ValidationError) -> FieldError:
    message, _, path = str(error).partition(" - at `")
    return FieldError(cut(path.rstrip("`").removeprefix("$."), _LONGEST_WORDS) or "$", cut(message, _LONGEST_WORDS))


def _malformed(error: Exception, body: bytes) -> Invalid:
    if isinstance(error, RecursionError):
        problem = "it is nested too deeply"
    else:
        problem = str(error) if body else "it is empty"
    return Invalid(f"the body is not JSON: {problem}", slug="malformed-body")


def _wrong(errors: list[FieldError]) -> Invalid:
    fields = "one field is" if len(errors) == 1 else f"{len(errors)} fields are"
    return Invalid(f"{fields} not valid", errors)
