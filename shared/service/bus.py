"""The bus: hints on Redis pub/sub, and leases. Nothing that is only here may matter: Redis needs no persistence.

async with bus.subscribe("stoker:observations") as messages:
    async for channel, payload in messages:
        if channel == RECONNECTED:
            ...  # connected (again): look for yourself what was missed while nobody listened
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Self, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from stoker.backoff import Pauses
from stoker.errors import Unavailable
from stoker.secrets import Secret

RECONNECTED = "(reconnected)"
"""Channel name of the marker that a subscription yields after each connection, the first one too."""

ANSWER_TIMEOUT_SECONDS = 2.0
_FIRST_DELAY_SECONDS = 0.05
LONGEST_DELAY_SECONDS = 2.0
"""Between two attempts to connect: so much later than the first one, the last subscriber is back too."""
# How long a quiet subscription waits before it asks whether the server is still there.
_QUIET_SECONDS = 15.0
# Messages that wait for a slow reader; behind them the server's own buffer fills.
_WAITING_MESSAGES = 1000

_LEASES = "stoker:lease:"
# Taking a lease that one holds already renews it: a repeated call after a lost answer succeeds.
_ACQUIRE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

T = TypeVar("T")


class Bus:
    """One Redis server. It is not contacted before it is needed, and may be away at any time.

    Every call but `subscribe` raises Unavailable when the server does not answer within ANSWER_TIMEOUT_SECONDS.
    """

    def __init__(self, url: str | Secret) -> None:
        text = url.reveal() if isinstance(url, Secret) else url
        # An idle connection may have died with the server: one more try, on a new one.
        self._redis = _client(text, retries=1)
        # Subscriptions are made again here, where readers can be told; the library would do it in silence.
        self._subscriptions = _client(text, retries=0)

    async def publish(self, channel: str, payload: bytes) -> None:
        """Send a hint to whoever listens now; repeating a doubtful one is harmless."""
        await _answered(self._redis.publish(channel, payload))

    def subscribe(self, *channels: str) -> AbstractAsyncContextManager[AsyncIterator[tuple[str, bytes]]]:
        """Yield `(channel, payload)` of each message for ever, through any outage of the server.

        A marker `(RECONNECTED, b"")` comes after each connection, the first one too: from there on no message is
        missed. Waiting for the next one may be given up (timed out, cancelled) and begun again without loss.
        """
        return _subscribed(self._subscriptions, channels)

    async def acquire_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take the lease, or renew it if `holder` has it already. False: somebody else has it."""
        return await self._run(_ACQUIRE, name, holder, str(int(seconds * 1000)))

    async def release_lease(self, name: str, holder: str) -> bool:
        """Give it up, if `holder` has it."""
        return await self._run(_RELEASE, name, holder)

    async def _run(self, script: str, name: str, *arguments: str) -> bool:
        answer: Any = await _answered(self._redis.eval(script, 1, _LEASES + name, *arguments))
        return bool(answer)

    async def ping(self) -> None:
        """Return when the server answers."""
        await _answered(self._redis.ping())

    async def close(self) -> None:
        """Close all connections."""
        for client in (self._redis, self._subscriptions):
            with suppress(RedisError, OSError):
                await client.aclose()


def _client(url: str, *, retries: int) -> Redis:
    client: Redis = Redis.from_url(
        url,
        protocol=2,  # the plain old one: nothing is negotiated, whatever server it is
        # Every wait is bounded here. With a bound of its own the library sends inside `asyncio.wait_for`, which on
        # Python 3.11 swallows a cancellation that comes when the sending is done: a task that is to end goes on.
        socket_timeout=None,
        socket_connect_timeout=ANSWER_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), retries),
    )
    return client


async def _answered(call: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            return await call
    except TimeoutError as error:
        raise Unavailable(f"Redis did not answer within {ANSWER_TIMEOUT_SECONDS:g} s") from error
    except (RedisError, OSError) as error:
        raise Unavailable(f"Redis does not answer: {error}") from error


Message = tuple[str, bytes]


@asynccontextmanager
async def _subscribed(redis: Redis, channels: tuple[str, ...]) -> AsyncGenerator[AsyncIterator[Message]]:
    # A task of its own reads: a reader that gives up waiting must not tear a message in two.
    waiting: asyncio.Queue[Message | Exception] = asyncio.Queue(_WAITING_MESSAGES)
    reader = asyncio.create_task(_read_for_ever(redis, channels, waiting))
    try:
        yield _Messages(waiting)
    finally:
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader


class _Messages:
    def __init__(self, waiting: asyncio.Queue[Message | Exception]) -> None:
        self._waiting = waiting

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        item = await self._waiting.get()
        if isinstance(item, Exception):
            raise item
        return item


async def _read_for_ever(
    redis: Redis, channels: tuple[str, ...], waiting: asyncio.Queue[Message | Exception]
) -> None:
    pauses = Pauses(first_seconds=_FIRST_DELAY_SECONDS, longest_seconds=LONGEST_DELAY_SECONDS)
    try:
        while True:
            pubsub = redis.pubsub()
            try:
                await _connect(pubsub, channels)
                pauses.reset()
                await waiting.put((RECONNECTED, b""))
                while True:
                    if (message := await _next_message(pubsub)) is not None:
                        await waiting.put(message)
            except (RedisError, OSError, TimeoutError):
                await asyncio.sleep(pauses.next())
            finally:
                with suppress(RedisError, OSError):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - a fault of ours: the one who reads must hear it, not wait for ever
        await waiting.put(error)


async def _connect(pubsub: PubSub, channels: tuple[str, ...]) -> None:
    async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
        await pubsub.subscribe(*channels)
        confirmed = 0
        while confirmed < len(channels):
            answer = await pubsub.get_message(timeout=ANSWER_TIMEOUT_SECONDS)
            confirmed += answer is not None and answer["type"] == "subscribe"


async def _next_message(pubsub: PubSub) -> Message | None:
    """Wait for a message; None when there was another answer. Raises when the server is gone, also silently."""
    answer = await pubsub.get_message(timeout=_QUIET_SECONDS)
    if answer is None:
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            await pubsub.ping()
            answer = await pubsub.get_message(timeout=ANSWER_TIMEOUT_SECONDS)
        if answer is None:
            raise TimeoutError
    if answer["type"] != "message":
        return None
    return answer["channel"].decode(), answer["data"]
