"""The clients against servers that break at the worst moments."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec
import pytest

from stoker.clients import ExecutorClient, PollerClient, RegistryClient
from stoker.contracts.events import JobEvent
from stoker.contracts.jobs import Counts, Job, JobSubmit
from stoker.contracts.keys import Caller
from stoker.errors import Conflict, Invalid, NotFound, Unauthorized, Unavailable
from stoker.request_ids import current_request_id
from stoker.secrets import Secret
from tests.services.scripted import NO_ANSWER, answer, scripted, stream

pytestmark = pytest.mark.anyio

KEY = "stk_01jd0000000000000000000000_" + "s" * 43
NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB = Job(
    id="j1",
    name="",
    state="accepted",
    profile_id="p",
    resource_id="r",
    owner="me",
    command=["true"],
    unit_count=1,
    counts=Counts(waiting=1),
    created_at=NOW,
    updated_at=NOW,
)
UNIT = {"index": 0, "state": "running", "arguments": {}, "attempt": 1, "batch_index": 0}
SUBMIT = JobSubmit(profile_id="p", command=["true"], units=[{}])
A_JOB = answer(msgspec.json.encode(JOB), status="202 Accepted")
BUSY = answer(b"{}", status="503 Service Unavailable")


def problem(status: str, slug: str) -> bytes:
    body = {"type": f"urn:stoker:problem:{slug}", "title": "t", "status": int(status[:3]), "detail": "because"}
    return answer(msgspec.json.encode(body), status=status)


def event(position: int, *, state: str = "running") -> bytes:
    body = JobEvent(
        position=position,
        job_id="j1",
        sequence=position,
        type="job_progress",
        state=state,  # type: ignore[arg-type] # a state that this version does not know is tried elsewhere
        counts=Counts(),
        at=NOW,
    )
    return b"id: %d\r\nevent: job_progress\r\ndata: %s\r\n\r\n" % (position, msgspec.json.encode(body))


async def test_a_submit_whose_answer_is_lost_is_repeated_with_the_same_idempotency_key() -> None:
    async with scripted(NO_ANSWER, BUSY, A_JOB) as server, ExecutorClient(server.url, KEY) as executor:
        assert await executor.submit(SUBMIT) == JOB
    keys = {seen.headers["idempotency-key"] for seen in server.seen}
    assert len(server.seen) == 3
    assert len(keys) == 1
    assert len({seen.body for seen in server.seen}) == 1


async def test_two_submits_never_share_an_idempotency_key() -> None:
    async with scripted(A_JOB, A_JOB) as server, ExecutorClient(server.url, KEY) as executor:
        await executor.submit(SUBMIT)
        await executor.submit(SUBMIT)
    assert len({seen.headers["idempotency-key"] for seen in server.seen}) == 2


async def test_a_change_whose_answer_is_lost_is_not_repeated() -> None:
    async with scripted(NO_ANSWER, A_JOB) as server, ExecutorClient(server.url, KEY) as executor:
        with pytest.raises(Unavailable):
            await executor.cancel("j1")
    assert len(server.seen) == 1


async def test_what_is_refused_is_not_repeated() -> None:
    refusal = problem("409 Conflict", "submissions-prevented")
    async with scripted(refusal, A_JOB) as server, ExecutorClient(server.url, KEY) as executor:
        with pytest.raises(Conflict, match="because") as caught:
            await executor.submit(SUBMIT)
    assert caught.value.slug == "submissions-prevented"
    assert len(server.seen) == 1


async def test_repeating_ends_after_few_attempts() -> None:
    async with scripted(*[BUSY] * 9) as server, ExecutorClient(server.url, KEY, attempts=3) as executor:
        with pytest.raises(Unavailable):
            await executor.job("j1")
    assert len(server.seen) == 3


async def test_a_service_that_is_away_is_named_with_its_address() -> None:
    async with scripted() as server:
        url = server.url
    async with PollerClient(url, KEY, attempts=1) as poller:
        assert not await poller.ready()
        with pytest.raises(Unavailable, match=f"the poller at {url} does not answer"):
            await poller.resources_health()


async def test_an_answer_that_is_no_job_is_not_taken_for_one() -> None:
    async with scripted(answer(b'{"id": 7}')) as server, ExecutorClient(server.url, KEY) as executor:
        with pytest.raises(Unavailable, match="not understood"):
            await executor.job("j1")


async def test_an_answer_may_have_fields_that_this_version_does_not_know() -> None:
    newer = msgspec.json.encode({**msgspec.to_builtins(JOB), "colour": "green"})
    async with scripted(answer(newer)) as server, ExecutorClient(server.url, KEY) as executor:
        assert await executor.job("j1") == JOB


async def test_the_key_is_sent_as_a_bearer_token_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="shared")
    refusal = problem("401 Unauthorized", "unauthorized")
    async with scripted(refusal) as server, ExecutorClient(server.url, Secret(KEY)) as executor:
        with pytest.raises(Unauthorized, match="refuses the access key") as caught:
            await executor.job("j1")
        shown = f"{executor!r} {executor.__dict__!r} {caught.getrepr(style='long', showlocals=True)}"
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in shown
    assert KEY not in caplog.text


@pytest.mark.parametrize("key", ["stk_x\n", "two words", "schlüssel"])
async def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(Invalid) as caught:
        ExecutorClient("http://127.0.0.1:1", key)
    assert key not in str(caught.value)


async def test_the_request_id_is_carried_on() -> None:
    async with scripted(A_JOB, A_JOB) as server, ExecutorClient(server.url, KEY) as executor:
        token = current_request_id.set("abc-1")
        await executor.job("j1")
        current_request_id.reset(token)
        await executor.job("j1")
    assert [seen.headers.get("x-request-id") for seen in server.seen] == ["abc-1", None]


async def test_a_proxy_of_the_environment_never_sees_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(A_JOB) as proxy, scripted(A_JOB) as server:
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, proxy.url)
        async with ExecutorClient(server.url, KEY) as executor:
            await executor.job("j1")
    assert (len(proxy.seen), len(server.seen)) == (0, 1)


async def test_an_address_below_a_path_keeps_the_path() -> None:
    async with scripted(A_JOB) as server, ExecutorClient(f"{server.url}/stoker/", KEY) as executor:
        await executor.job("a/../b c")
    assert server.seen[0].target == "/stoker/v1/jobs/a%2F..%2Fb%20c"


async def test_lists_are_read_page_by_page() -> None:
    pages = [{"items": [UNIT], "next_cursor": "c 1"}, {"items": [{**UNIT, "index": 1}], "next_cursor": None}]
    answers = [answer(msgspec.json.encode(page)) for page in pages]
    async with scripted(*answers) as server, ExecutorClient(server.url, KEY) as executor:
        found = [unit.index async for unit in executor.units("j1", state="running")]
    assert found == [0, 1]
    assert [seen.target for seen in server.seen] == [
        "/v1/jobs/j1/units?state=running",
        "/v1/jobs/j1/units?state=running&cursor=c+1",
    ]


async def test_an_unknown_key_is_an_answer_and_a_missing_hold_is_released() -> None:
    caller = answer(msgspec.json.encode(Caller(key_id="k", role="user", owner="me")))
    absent = problem("404 Not Found", "not-found")
    async with scripted(absent, caller, absent) as server, RegistryClient(server.url, KEY) as registry:
        assert await registry.verify_key("0" * 64) is None
        assert (await registry.verify_key("1" * 64)) == Caller(key_id="k", role="user", owner="me")
        await registry.delete_hold("job-1")
    assert [seen.method for seen in server.seen] == ["POST", "POST", "DELETE"]


async def test_events_are_neither_missed_nor_repeated_over_broken_connections() -> None:
    answers = [
        stream(b": hello\n\n", event(1), event(2), event(3)[:20]),
        NO_ANSWER,
        BUSY,
        stream(event(2) + event(3), event(4)[:-1]),
        stream(event(4), complete=True),
        stream(event(5, state="succeeded")),
    ]
    outages: list[Unavailable] = []
    positions = []
    async with (
        scripted(*answers) as server,
        ExecutorClient(server.url, KEY) as executor,
        asyncio.timeout(120),
        aclosing(executor.events("j1", on_outage=outages.append)) as events,
    ):
        async for found in events:
            positions.append(found.position)
            if found.state == "succeeded":
                break
    assert positions == [1, 2, 3, 4, 5]
    assert [seen.headers["last-event-id"] for seen in server.seen] == ["0", "2", "2", "2", "3", "4"]
    assert len(outages) == 4


async def test_a_refused_stream_of_events_is_raised() -> None:
    async with scripted(problem("404 Not Found", "not-found")) as server, ExecutorClient(server.url, KEY) as executor:
        with pytest.raises(NotFound, match="because"):
            await anext(executor.events("j1"))


async def test_what_the_listener_raises_at_an_outage_ends_the_stream() -> None:
    def give_up(error: Unavailable) -> None:
        raise error

    async with scripted(NO_ANSWER) as server, ExecutorClient(server.url, KEY) as executor:
        with pytest.raises(Unavailable):
            await anext(executor.events("j1", on_outage=give_up))
    assert len(server.seen) == 1


async def test_a_followed_log_goes_on_at_the_byte_where_it_broke() -> None:
    kind = "application/octet-stream"
    answers = [
        stream(b"one\n", b"\xfftw", content_type=kind),
        NO_ANSWER,
        stream(b"o\n", content_type=kind, complete=True),
        answer(msgspec.json.encode(UNIT)),
        stream(b"three\n", content_type=kind, complete=True),
        answer(msgspec.json.encode({**UNIT, "state": "failed"})),
        stream(b"last\n", content_type=kind, complete=True),
    ]
    async with scripted(*answers) as server, ExecutorClient(server.url, KEY) as executor, asyncio.timeout(120):
        chunks = [chunk async for chunk in executor.unit_log("j1", 3, offset=5, follow=True)]
    assert b"".join(chunks) == b"one\n\xfftwo\nthree\nlast\n"
    assert [seen.target.partition("?")[2] for seen in server.seen] == [
        "offset=5&follow=true",
        "offset=12&follow=true",
        "offset=12&follow=true",
        "",  # the answer ended: has the unit?
        "offset=14&follow=true",
        "",
        "offset=20&follow=false",
    ]


async def test_an_archive_that_breaks_off_is_not_taken_for_a_whole_one() -> None:
    cut = stream(b"PK", content_type="application/zip")
    async with scripted(cut) as server, ExecutorClient(server.url, KEY) as executor:
        with pytest.raises(Unavailable, match="broke"):
            _ = [chunk async for chunk in executor.archive("j1")]


async def test_results_come_one_by_one_also_with_unusual_line_separators() -> None:
    lines = '{"index":0,"state":"succeeded","output":"a\u2028b"}\n{"index":1,"state":"lost"}\n'.encode()
    body = stream(lines[:30], lines[30:], content_type="application/jsonl", complete=True)
    async with scripted(body) as server, ExecutorClient(server.url, KEY) as executor:
        found = [(result.index, result.output) async for result in executor.results("j1")]
    assert found == [(0, "a\u2028b"), (1, None)]
