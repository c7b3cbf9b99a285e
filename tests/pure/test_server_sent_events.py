from collections.abc import AsyncIterator

import anyio
from hypothesis import given
from hypothesis import strategies as st

from stoker.clients.lines import lines
from stoker.clients.sse import EventParser, ServerEvent


def parse(text: str) -> list[ServerEvent]:
    parser = EventParser()
    found = [parser.line(line) for line in text.split("\n")]
    return [event for event in found if event is not None]


def test_an_event_ends_at_the_empty_line() -> None:
    assert parse("id: 7\nevent: job_state\ndata: {}\n\n") == [ServerEvent("7", "job_state", "{}")]


def test_comments_and_unknown_fields_are_no_events() -> None:
    assert parse(": keep-alive\n\nretry: 5\n\nnonsense\n\n") == []


def test_data_of_several_lines_is_joined() -> None:
    assert parse("data: a\ndata:b\ndata:  c\n\n") == [ServerEvent("", "", "a\nb\n c")]


def test_an_event_that_was_cut_off_is_not_given() -> None:
    assert parse("id: 1\ndata: a\n\nid: 2\ndata: b") == [ServerEvent("1", "", "a")]


def test_the_type_holds_for_one_event_and_the_id_stays() -> None:
    assert parse("id: 1\nevent: x\ndata: a\n\ndata: b\n\n") == [ServerEvent("1", "x", "a"), ServerEvent("1", "", "b")]


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\n\r", codec="utf-8"))), st.data())
def test_lines_come_whole_however_the_stream_is_cut(texts: list[str], data: st.DataObject) -> None:
    content = "".join(text + "\n" for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)))))
    pieces = [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]

    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def collect() -> list[str]:
        return [line.decode() async for line in lines(stream())]

    assert anyio.run(collect) == texts
