"""Every wrong field, with its path and the valid form."""

import asyncio
import copy
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType

from shared.service.web.bodies import large
from shared.service.web.bodies.decoding import LongList, decode_body, merge_patch, read_body
from shared.service.web.bodies.errors import MAX_ERRORS, find_errors
from shared.service.web.bodies.expectations import LONGEST_NAME
from shared.service.web.bodies.large import LARGE_BYTES, MAX_CONTAINERS, MAX_VALUES
from stoker.contracts.jobs import MAX_UNITS, JobSubmit
from stoker.contracts.keys import AccessKeyCreate, AccessKeyPatch
from stoker.contracts.profiles import ProfileSpec
from stoker.contracts.resources import ResourceSpec
from stoker.errors import Invalid
from tests.workshop.registry import seed


class Leaf(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    count: Annotated[int, Meta(ge=1, le=9)]
    ratio: Annotated[float, Meta(gt=0, lt=1)] | None = None
    word: Annotated[str, Meta(pattern="^[a-z]+$", max_length=5)] | UnsetType = UNSET
    level: Literal["low", "high"] = "low"
    at: datetime | None = None
    size: Annotated[int | str, Meta(description="an amount", examples=["3G"])] = 1
    even: Annotated[int, Meta(multiple_of=2)] = 0


class Circle(msgspec.Struct, tag_field="shape", tag="circle", forbid_unknown_fields=True):
    radius: int


class Square(msgspec.Struct, tag_field="shape", tag="square", forbid_unknown_fields=True):
    side: int
    leaves: list[Leaf] = []


class Whole(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    shape: Circle | Square
    leaves: Annotated[list[Leaf], Meta(min_length=1, max_length=3)]
    table: dict[str, Leaf] = {}
    numbers: list[int] | None = None
    anything: Any = None
    flag: bool = False


def errors_of(value: object, kind: object, **rules: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        decode_body(json.dumps(value).encode(), kind, **rules)
    assert caught.value.slug == "invalid-request"
    return {error.path: error.message for error in caught.value.errors}


def test_all_wrong_fields_are_reported_at_once_each_with_the_valid_form() -> None:
    body = {
        "shape": {"shape": "square", "side": "x", "sides": 4},
        "leaves": [
            {"count": 0},
            {"count": 10, "ratio": 1, "word": "toolong"},
            {"level": "middle", "at": "yesterday", "size": [], "even": 3},
        ],
        "table": {"a b": {"count": True}},
        "numbers": [1, "2"],
        "flag": 1,
        "leafs": [],
    }
    assert errors_of(body, Whole) == {
        "shape.side": "must be a whole number",
        "shape.sides": "unknown field; did you mean side?",
        "leaves[0].count": "must be a whole number of at least 1 and of at most 9",
        "leaves[1].count": "must be a whole number of at least 1 and of at most 9",
        "leaves[1].ratio": "must be a number greater than 0 and less than 1 or null",
        "leaves[1].word": "must be text (at most 5 characters) matching ^[a-z]+$",
        "leaves[2].count": "is required: a whole number of at least 1 and of at most 9",
        "leaves[2].level": 'must be one of "high", "low"',
        "leaves[2].at": 'must be a time such as "2026-01-31T12:00:00Z" or null',
        "leaves[2].size": 'must be an amount, such as "3G"',
        "leaves[2].even": "must be a whole number that is a multiple of 2",
        'table["a b"].count': "must be a whole number of at least 1 and of at most 9",
        "numbers[1]": "must be a whole number",
        "flag": "must be true or false",
        "leafs": "unknown field; did you mean leaves?",
    }


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        ({}, "type", 'is required: one of "local", "slurm_sudo", "slurm_ssh"'),
        ({"type": "lokal"}, "type", 'must be one of "local", "slurm_sudo", "slurm_ssh"'),
        ({"type": ["local"]}, "type", 'must be one of "local", "slurm_sudo", "slurm_ssh"'),
        ([], "$", "must be an object with type"),
        (None, "$", "must be an object with type"),
    ],
)
def test_the_tag_of_a_union_decides_and_is_asked_for(body: object, path: str, message: str) -> None:
    assert errors_of(body, ResourceSpec) == {path: message}


def test_lengths_of_lists_are_kept() -> None:
    assert errors_of({"shape": {"shape": "circle", "radius": 1}, "leaves": []}, Whole) == {
        "leaves": "must have at least 1 items"
    }
    four = [{"count": 1}] * 4
    assert errors_of({"shape": {"shape": "circle", "radius": 1}, "leaves": four}, Whole) == {
        "leaves": "must have at most 3 items"
    }


def test_a_rule_sees_only_what_was_written_and_is_right() -> None:
    seen = []

    def rule(fields: Any) -> Any:
        seen.append(dict(fields))
        yield "word", "rhymes with nothing"

    wrong = errors_of({"count": "x", "word": "month"}, Leaf, rules={Leaf: rule})
    assert seen == [{"word": "month"}]
    assert set(wrong) == {"count", "word"}


def test_rules_decide_where_types_have_nothing_to_say() -> None:
    def rule(fields: Any) -> Any:
        if fields["count"] == 3:
            yield "count", "three is taken"

    assert decode_body(b'{"count": 2}', Leaf, {Leaf: rule}) == Leaf(count=2)
    assert errors_of({"count": 3}, Leaf, rules={Leaf: rule}) == {"count": "three is taken"}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b"\xff", b'"\xff"', b'{"a": NaN}', b'{"a": "\\ud800"}', b"[" * 100_000, b"1e999"],
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        decode_body(body, Leaf)
    assert caught.value.slug == "malformed-body"


def test_of_very_many_errors_a_hundred_are_found_and_the_rest_is_not_looked_at() -> None:
    class Watched(list[str]):
        looked_at = 0

        def __iter__(self) -> Iterator[str]:
            for item in super().__iter__():
                self.looked_at += 1
                yield item

    value = Watched(["x"] * 250)
    errors = find_errors(value, list[int])
    assert [error.path for error in errors] == [*(f"[{n}]" for n in range(MAX_ERRORS)), "$"]
    assert errors[-1].message == "more fields are wrong"
    assert value.looked_at == MAX_ERRORS + 1


def test_a_long_name_is_cut_in_the_answer() -> None:
    wrong = errors_of({"count": 1, "n" * 5_000_000: 1}, Leaf)
    [(path, message)] = wrong.items()
    assert path == f'["{"n" * LONGEST_NAME}…"]'
    assert len(message) < 200


class Long(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: str = ""
    items: list[dict[str, Any]] = []


def read_long(body: bytes, *, longest: int = 1_000_000) -> Any:
    return asyncio.run(read_body(body, Long, long_list=LongList("items", longest)))


def refused(body: bytes, *, longest: int = 1_000_000) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        read_long(body, longest=longest)
    return {error.path: error.message for error in caught.value.errors}


def test_a_large_body_is_the_value_that_a_small_one_is() -> None:
    items = [{"n": n, "text": 'a "quoted" [word], {n}'} for n in range(20_000)]
    body = json.dumps({"name": "x", "items": items}).encode()
    assert len(body) > LARGE_BYTES
    assert read_long(body) == Long(name="x", items=items)
    assert read_long(b'{"items": [{"a": 1}]}') == Long(items=[{"a": 1}])


def test_items_are_counted_before_they_are_made() -> None:
    body = b'{"items": [' + b",".join([b"{}"] * 100_000) + b"]}"
    assert refused(body, longest=99_999) == {"items": "has 100,000 items, the limit is 99,999"}
    # What they are is not looked at.
    body = b'{"items": [' + b",".join([b"1"] * 200_000) + b"]}"
    assert refused(body, longest=99_999) == {"items": "has 200,000 items, the limit is 99,999"}


def test_in_a_large_body_every_wrong_field_is_named_and_in_a_very_large_one_the_first() -> None:
    some = [b"{}"] * 100_000
    assert refused(b'{"x": 1, "items": [' + b",".join([*some, b"1", b"2"]) + b"]}").keys() == {
        "x",
        "items[100000]",
        "items[100001]",
    }
    many = [b"{}"] * 300_000
    assert refused(b'{"items": [' + b",".join([*many, b"1", b"2"]) + b"]}").keys() == {"items[300000]"}
    assert refused(b'{"name": 1, "x": 1, "items": [' + b",".join(many) + b"]}").keys() == {"name"}


def test_more_values_than_anybody_needs_are_not_even_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_VALUES > MAX_CONTAINERS > 2 * MAX_UNITS
    monkeypatch.setattr(large, "MAX_VALUES", 200_000)
    monkeypatch.setattr(large, "MAX_CONTAINERS", 100_000)
    body = b'{"items": [' + b",".join([b"1"] * 200_001) + b"]}"
    assert refused(body) == {"$": "must have at most 200,000 values"}
    body = b'{"items": [{"a": [' + b",".join([b"[]"] * 100_000) + b"]}]}"
    assert refused(body) == {"$": "must have at most 100,000 objects and lists"}


def test_what_a_text_holds_is_no_value() -> None:
    text = '\\",[{' * 2_200_000
    assert read_long(json.dumps({"name": text}).encode()).name == text


@pytest.mark.parametrize(
    ("before", "piece"), [(b'{"items": [', b"{},"), (b"", b"\xff"), (b'{"name": "', b'\\"'), (b"", b'"')]
)
def test_what_is_not_json_is_malformed_at_any_size(before: bytes, piece: bytes) -> None:
    body = before + piece * 300_000
    with pytest.raises(Invalid) as caught:
        read_long(body)
    assert caught.value.slug == "malformed-body"


def test_the_loop_goes_on_while_a_large_body_is_read() -> None:
    body = b'{"items": [' + b",".join([b'{"a": 1}'] * 300_000) + b"]}"

    async def turns_meanwhile() -> int:
        reading = asyncio.create_task(read_body(body, Long, long_list=LongList("items", 1_000_000)))
        turns = 0
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        await reading
        return turns

    assert asyncio.run(turns_meanwhile()) > 2


def test_a_field_that_was_not_written_stays_so() -> None:
    patch = decode_body(b'{"expires_at": null}', AccessKeyPatch)
    assert patch.profile_ids is UNSET
    assert patch.expires_at is None


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        # The examples of RFC 7396.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_follow_the_standard(target: Any, patch: Any, merged: Any) -> None:
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == merged
    assert target == before


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=6), children, max_size=4),
    max_leaves=10,
)
VALID: list[tuple[Any, Any]] = [
    ({"count": 3, "ratio": 0.5, "word": "ab", "level": "high", "at": "2026-01-31T12:00:00Z", "size": "x"}, Leaf),
    (
        {
            "shape": {"shape": "square", "side": 1, "leaves": [{"count": 1}]},
            "leaves": [{"count": 1}, {"count": 2, "ratio": None}],
            "table": {"k": {"count": 5}},
            "numbers": [1, 2],
            "anything": {"x": [None]},
            "flag": True,
        },
        Whole,
    ),
    *((seed(f"resource_{kind}"), ResourceSpec) for kind in ("local", "slurm_sudo", "slurm_ssh")),
    *((seed(f"profile_{kind}"), ProfileSpec) for kind in ("local", "slurm_sudo", "slurm_ssh")),
    ({"profile_id": "p", "command": ["true"], "units": [{"a": 1}], "tasks_per_job": None}, JobSubmit),
    ({"name": "n", "role": "admin", "expires_at": "2026-01-31T12:00:00+01:00"}, AccessKeyCreate),
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key in value:
            found += _places(value[key], (*path, key))
    if isinstance(value, list):
        for index in range(len(value)):
            found += _places(value[index], (*path, index))
    return found


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Any, Any]:
    """A valid body in which some places were replaced, removed or added."""
    value, kind = draw(st.sampled_from(VALID))
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(_places(value)))
        if not path:
            continue
        parent = value
        for step in path[:-1]:
            parent = parent[step]
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "replace":
            parent[path[-1]] = draw(JSON)
        elif change == "remove":
            del parent[path[-1]]
        elif isinstance(parent, dict):
            parent[draw(st.text(max_size=8))] = draw(JSON)
    return value, kind


@settings(max_examples=500, deadline=None)
@given(damaged())
def test_errors_are_found_exactly_when_decoding_fails(case: tuple[Any, Any]) -> None:
    value, kind = case
    body = msgspec.json.encode(value)
    try:
        msgspec.json.decode(body, type=kind)
        decodes = True
    except msgspec.ValidationError:
        decodes = False
    errors = find_errors(msgspec.json.decode(body), kind)
    assert (errors == []) == decodes, errors


@settings(max_examples=200, deadline=None)
@given(st.one_of(JSON.map(msgspec.json.encode), st.binary(max_size=30)), st.sampled_from([kind for _, kind in VALID]))
def test_any_bytes_are_a_value_or_a_clear_refusal(body: bytes, kind: Any) -> None:
    refused = None
    try:
        decode_body(body, kind)
    except Invalid as error:
        refused = error
    assert refused is None or refused.slug == "malformed-body" or refused.errors
