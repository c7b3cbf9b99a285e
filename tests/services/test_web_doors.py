"""What strangers can do with connections: a server as services are served, and requests that no client makes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from litestar import Litestar, get, post
from litestar.params import RawBody
from litestar.response import Stream

from shared.service.settings import ServiceSettings
from shared.service.web.application import build_application
from shared.service.web.doors import Doors, Limits
from stoker.contracts.keys import Caller
from tests.waiting import until
from tests.workshop.serving import served

pytestmark = pytest.mark.anyio

KEY = {"Authorization": "Bearer admin"}
ALIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


class Keys:
    look_again_seconds = 0.05
    valid = True

    async def verify(self, key: str) -> Caller | None:
        return Caller(key_id=key, role="admin", owner="me") if key == "admin" and self.valid else None

    async def still_valid(self, key: str) -> bool:
        return await self.verify(key) is not None


@post("/v1/length", status_code=200)
async def length(body: RawBody) -> dict[str, int]:
    return {"length": len(body)}


@get("/v1/endless")
async def endless() -> Stream:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"."
            await asyncio.sleep(0.01)

    return Stream(chunks())


@get("/v1/late")
async def late() -> Stream:
    """Says nothing before the key has been looked at again."""
    await asyncio.sleep(0.3)
    return await endless.fn()


def application(keys: Keys | None = None, max_body_bytes: int = 10_000_000, **settings: Any) -> Litestar:
    return build_application(
        service="example",
        settings=ServiceSettings(**settings),
        route_handlers=[length, endless, late],
        verifier=keys or Keys(),
        readiness={},
        max_body_bytes=max_body_bytes,
    )


class Line:
    """A connection on which a test writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Status and body of the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        size = next(line for line in head.splitlines() if line.lower().startswith("content-length"))
        body = await self.reader.readexactly(int(size.partition(":")[2]))
        return int(head.split()[1]), json.loads(body)

    async def closed(self) -> bool:
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True


class Place:
    def __init__(self, url: str) -> None:
        self.url = url
        self.lines: list[Line] = []

    async def line(self) -> Line:
        host, port = self.url.removeprefix("http://").split(":")
        self.lines.append(Line(*await asyncio.open_connection(host, int(port))))
        return self.lines[-1]

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=KEY, trust_env=False, timeout=30)

    async def is_alive(self) -> bool:
        async with self.client() as client:
            return (await client.get("/health/live")).status_code == 200


@asynccontextmanager
async def serving(keys: Keys | None = None, **settings: Any) -> AsyncIterator[Place]:
    async with served(application(keys, **settings)) as url:
        place = Place(url)
        try:
            yield place
        finally:
            for line in place.lines:
                line.writer.close()


def slug(body: dict[str, Any]) -> str:
    return str(body["type"]).removeprefix("urn:stoker:problem:")


HEADS = {
    "many headers": b"".join(b"X-%d: y\r\n" % n for n in range(1000)),
    "one header": b"X: " + b"y" * 10_000 + b"\r\n",
    "a header without an end": b"X: " + b"y" * 10_000,
}


@pytest.mark.parametrize("head", HEADS)
async def test_a_head_that_is_too_large_is_refused_with_words(head: str) -> None:
    async with serving(max_header_bytes=8192) as place:
        line = await place.line()
        await line.send(b"GET /v1/endless HTTP/1.1\r\nHost: x\r\n" + HEADS[head])
        await line.send(b"" if "without" in head else b"\r\n")
        status, body = await line.answer()
        assert (status, slug(body)) == (431, "headers-too-large")
        assert "8192 bytes" in body["detail"]
        assert await line.closed()


async def test_an_address_that_is_too_long_is_refused_too() -> None:
    async with serving(max_header_bytes=8192) as place:
        line = await place.line()
        await line.send(b"GET /" + b"a" * 20_000)
        assert (await line.answer())[0] == 431
        assert await place.is_alive()


async def test_a_head_below_the_limit_is_fine() -> None:
    async with serving(max_header_bytes=8192) as place, place.client() as client:
        answer = await client.get("/health/live", headers={"X-Long": "x" * 7000})
        assert answer.status_code == 200


async def test_fields_behind_a_body_are_not_kept_and_have_the_same_limit() -> None:
    start = (
        b"POST /v1/length HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    async with serving(max_header_bytes=8192) as place:
        line = await place.line()
        await line.send(start + b"3\r\nabc\r\n0\r\nX: y\r\n\r\n")
        assert await line.answer() == (200, {"length": 3})
        for more in (b"X: y\r\n" * 3000, b"X: " + b"y" * 1_000_000):
            line = await place.line()
            await line.send(start + b"3\r\nabc\r\n0\r\n")
            await line.send(more)
            assert (await line.answer())[0] == 431


async def test_whoever_is_slow_with_a_head_is_told_so_and_whoever_says_nothing_is_not_kept() -> None:
    async with serving(header_seconds=0.2) as place:
        silent, slow = await place.line(), await place.line()
        await slow.send(b"GET /health/live HTTP/1.1\r\nHost:")
        status, body = await slow.answer()
        assert (status, slug(body)) == (408, "request-timeout")
        assert "headers" in body["detail"]
        assert await slow.closed()
        assert await silent.closed()
        # Line ends before a request are no request.
        trickling = await place.line()
        with pytest.raises(ConnectionError):
            for _ in range(500):
                await trickling.send(b"\r\n")
                await asyncio.sleep(0.01)


async def test_a_body_has_its_time() -> None:
    async with serving(body_seconds=0.3) as place:
        line = await place.line()
        await line.send(
            b"POST /v1/length HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\nContent-Length: 9\r\n\r\nabc"
        )
        status, body = await line.answer()
        assert (status, slug(body)) == (408, "request-timeout")
        assert "body" in body["detail"]
        assert await line.closed()


async def test_a_body_that_is_refused_before_it_has_come_leaves_no_connection_behind() -> None:
    async with serving(header_seconds=0.2) as place:
        line = await place.line()
        await line.send(b"POST /v1/length HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert (await line.answer())[0] == 401
        await line.send(b"123456789")
        assert await line.closed()


async def test_half_sent_requests_keep_nobody_out() -> None:
    async with serving(max_connections=20, max_connections_per_address=20) as place:
        for _ in range(100):
            await (await place.line()).send(b"GET / HTTP/1.1\r\nHost:")
        assert await place.is_alive()
        # Those that were there first made room.
        assert await place.lines[0].closed()
        last = place.lines[-1]
        await last.send(b" x\r\nAuthorization: Bearer admin\r\n\r\n")
        assert (await last.answer())[0] == 404


@pytest.mark.parametrize(
    "settings",
    [{"max_connections": 10}, {"max_connections_per_address": 10}],
    ids=["of all", "of one address"],
)
async def test_what_is_under_way_is_not_closed_for_others_who_are_refused_with_words(
    settings: dict[str, int],
) -> None:
    request = b"GET /v1/endless HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n\r\n"
    async with serving(**settings) as place:
        for _ in range(10):
            line = await place.line()
            await line.send(request)
            await line.reader.readuntil(b"\r\n\r\n")
        late = await place.line()
        await late.send(ALIVE)
        status, body = await late.answer()
        assert (status, slug(body)) == (503, "unavailable")
        assert "too many connections" in body["detail"]
        for line in place.lines[:10]:
            assert await line.reader.readexactly(1)
        place.lines[0].writer.close()

        async def has_room() -> bool:
            line = await place.line()
            await line.send(ALIVE)
            return (await line.answer())[0] == 200

        await until(has_room, "a place for another connection")


async def test_connections_that_were_closed_are_not_counted() -> None:
    async with serving(max_connections=10) as place:
        for _ in range(50):
            async with place.client() as client:
                assert (await client.get("/health/live")).status_code == 200


async def test_requests_that_are_sent_ahead_are_bounded() -> None:
    async with serving() as place:
        line = await place.line()
        await line.send(ALIVE * 10)
        for _ in range(10):
            assert (await line.answer())[0] == 200
        await line.send(ALIVE * 1000)
        answers = 0
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            while True:
                answers += (await line.answer())[0] == 200
        assert answers < 1000
        assert await place.is_alive()


async def test_what_is_not_http_is_a_problem_too() -> None:
    async with serving() as place:
        for nonsense in (b"nonsense\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\n\r\n", b"CONNECT x HTTP/1.1\r\n\r\n"):
            line = await place.line()
            await line.send(nonsense)
            status, body = await line.answer()
            assert (status, slug(body)) == (400, "bad-request")


async def test_a_connection_is_used_again_and_a_large_body_arrives() -> None:
    async with serving() as place, place.client() as client:
        for size in (0, 10, 5_000_000, 10):
            answer = await client.post("/v1/length", content=b"x" * size)
            assert answer.json() == {"length": size}


@pytest.mark.parametrize("path", ["/v1/endless", "/v1/late"])
async def test_an_answer_without_an_end_ends_when_its_key_is_revoked(path: str) -> None:
    keys = Keys()
    async with serving(keys) as place, place.client() as client:
        async with client.stream("GET", path) as answer:
            chunks = answer.aiter_raw()
            assert await anext(chunks) == b"."
            keys.valid = False
            # Its end is one that HTTP knows: nothing broke.
            async with asyncio.timeout(20):
                assert {chunk async for chunk in chunks} <= {b".", b".."}
        assert (await client.get(path)).status_code == 401


async def test_an_answer_without_an_end_goes_on_while_its_key_is_valid() -> None:
    async with serving() as place, place.client() as client, client.stream("GET", "/v1/endless") as answer:
        received = 0
        async for chunk in answer.aiter_raw():
            received += len(chunk)
            if received > 50:
                break


FOREIGN = {
    "cross-site": ("GET", {"Sec-Fetch-Site": "cross-site"}),
    "cross-site, from a form": ("POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}),
    "another host of the same site": ("POST", {"Sec-Fetch-Site": "same-site", "Origin": "http://evil.example.org"}),
    "an older browser": ("POST", {"Origin": "http://evil.example.org"}),
    "a page without an origin": ("DELETE", {"Origin": "null"}),
    "another port": ("PUT", {"Origin": "http://127.0.0.1:1"}),
}


@pytest.mark.parametrize("case", FOREIGN)
async def test_what_another_site_makes_a_browser_send_is_refused(case: str) -> None:
    method, headers = FOREIGN[case]
    async with serving() as place, place.client() as client:
        answer = await client.request(method, "/v1/length", headers=headers, auth=("any", "admin"))
        assert (answer.status_code, slug(answer.json())) == (403, "cross-site-request")
        assert "browser" in answer.json()["detail"]


async def test_what_our_own_pages_people_and_programs_send_is_not_refused() -> None:
    async with serving() as place, place.client() as client:
        own = place.url
        for headers in (
            {},
            {"Origin": own},
            {"Origin": own, "Sec-Fetch-Site": "same-origin"},
            # A proxy in front has another name.
            {"Origin": "https://stoker.example.org", "Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
        ):
            assert (await client.post("/v1/length", content=b"x", headers=headers)).json() == {"length": 1}
        followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert (await client.get("/schema", headers=followed)).status_code == 200
        assert (await client.get("/v1/late", headers=followed)).status_code == 403
        assert (await client.get("/health/live", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 200


async def test_large_bodies_that_are_received_at_once_are_bounded_together() -> None:
    head = b"POST /v1/length HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\nContent-Length: 900000\r\n\r\n"
    async with (
        serving(max_body_bytes=1_000_000, max_bodies_bytes=1024**2) as place,
        place.client() as client,
    ):
        first = await place.line()
        await first.send(head + b"x" * 800_000)

        async def refused() -> bool:
            answer = await client.post("/v1/length", content=b"x" * 500_000)
            if answer.status_code == 200:
                return False
            assert (answer.status_code, slug(answer.json())) == (503, "unavailable")
            assert "too many large bodies" in answer.json()["detail"]
            assert answer.headers["Retry-After"]
            return True

        await until(refused, "the refusal of a second large body")
        assert (await client.post("/v1/length", content=b"x" * 1000)).json() == {"length": 1000}
        await first.send(b"x" * 100_000)
        assert await first.answer() == (200, {"length": 900_000})
        assert (await client.post("/v1/length", content=b"x" * 500_000)).json() == {"length": 500_000}


async def test_a_client_that_goes_in_the_middle_of_its_body_is_no_failure(capfd: pytest.CaptureFixture[str]) -> None:
    async with serving() as place:
        line = await place.line()
        await line.send(
            b"POST /v1/length HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\nContent-Length: 9\r\n\r\nabc"
        )
        async with place.client() as client:
            line.writer.close()

            async def counted() -> bool:
                return 'route="/v1/length",status="400"' in (await client.get("/metrics")).text

            await until(counted, "the end of that request")
    assert "request failed" not in capfd.readouterr().out


class Guest:
    def __init__(self, doors: Doors) -> None:
        self.doors = doors
        self.closed = False

    def make_room(self) -> None:
        self.closed = True
        self.doors.leave(self)


def test_an_address_that_takes_all_its_places_takes_none_of_others() -> None:
    doors = Doors(Limits(header_bytes=1, header_seconds=1, body_seconds=1, connections=4, connections_per_address=2))
    greedy = [Guest(doors) for _ in range(5)]
    others = [Guest(doors) for _ in range(2)]
    assert all(doors.enter(guest, "other") for guest in others)
    assert all(doors.enter(guest, "greedy") for guest in greedy)
    assert [guest.closed for guest in greedy] == [True, True, True, False, False]
    assert not any(guest.closed for guest in others)
    for guest in (*greedy, *others):
        doors.works(guest)
    assert not doors.enter(Guest(doors), "third")
    doors.waits(others[1])
    assert doors.enter(Guest(doors), "third")
    assert [guest.closed for guest in others] == [False, True]
