"""A verified key is believed for a short, stated time."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from shared.service.web.access import key_cache
from shared.service.web.access.callers import key_sha256, presented_key, well_formed
from shared.service.web.access.key_cache import KeyCache
from shared.service.web.access.remote_keys import RemoteKeyVerifier
from stoker.contracts.keys import Caller
from stoker.errors import Unavailable

pytestmark = pytest.mark.anyio

KEY = f"stk_{'0' * 26}_{'A' * 43}"
CALLER = Caller(key_id="k", role="user", owner="me")


class Registry:
    """Counts what it is asked, and can be away."""

    def __init__(self, caller: Caller | None = CALLER) -> None:
        self.caller = caller
        self.asked: list[str] = []
        self.away = False

    async def verify_key(self, key_sha256: str) -> Caller | None:
        self.asked.append(key_sha256)
        if self.away:
            raise Unavailable("the registry does not answer")
        return self.caller


async def test_a_known_key_is_asked_for_once() -> None:
    registry = Registry()
    keys = RemoteKeyVerifier(registry)
    assert [await keys.verify(KEY) for _ in range(3)] == [CALLER] * 3
    assert registry.asked == [key_sha256(KEY)]
    keys.forget()
    await keys.verify(KEY)
    assert len(registry.asked) == 2


async def test_an_unknown_key_is_remembered_too() -> None:
    registry = Registry(None)
    keys = RemoteKeyVerifier(registry)
    assert [await keys.verify(KEY) for _ in range(3)] == [None] * 3
    assert len(registry.asked) == 1


@pytest.mark.parametrize("key", ["", "x", KEY + "A", KEY[:-1], KEY + "\n", "stk_'--", KEY.upper()])
async def test_what_is_no_key_is_not_even_asked_for(key: str) -> None:
    registry = Registry()
    assert await RemoteKeyVerifier(registry).verify(key) is None
    assert registry.asked == []


async def test_with_the_registry_away_a_known_key_stays_good_for_the_stated_time_only() -> None:
    registry = Registry()
    keys = KeyCache(registry.verify_key, seconds=0, unavailable_seconds=600)
    await keys.verify(KEY)
    registry.away = True
    assert await keys.verify(KEY) == CALLER
    # It does not ask again at once: each question may take as long as a time-out.
    assert await keys.verify(KEY) == CALLER
    assert len(registry.asked) == 2

    brief = KeyCache(registry.verify_key, seconds=0, unavailable_seconds=0)
    registry.away = False
    await brief.verify(KEY)
    registry.away = True
    with pytest.raises(Unavailable):
        await brief.verify(KEY)


async def test_with_the_registry_away_nobody_knows_a_new_key() -> None:
    registry = Registry()
    registry.away = True
    with pytest.raises(Unavailable):
        await RemoteKeyVerifier(registry).verify(KEY)


async def test_a_key_that_expires_meanwhile_is_refused_from_then_on() -> None:
    gone = msgspec.structs.replace(CALLER, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    good = msgspec.structs.replace(CALLER, expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert await RemoteKeyVerifier(Registry(gone)).verify(KEY) is None
    assert await RemoteKeyVerifier(Registry(good)).verify(KEY) == good


async def test_many_made_up_keys_do_not_fill_the_memory() -> None:
    keys = RemoteKeyVerifier(Registry(None))
    for number in range(key_cache.CAPACITY + 50):
        await keys.verify(f"stk_{number:026}_{'A' * 43}")
    assert len(keys._entries) == key_cache.CAPACITY


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (b"Bearer abc", "abc"),
        (b"bearer  abc ", "abc"),
        (b"Basic dXNlcjphYmM=", "abc"),
        (b"Basic OmFiYw==", "abc"),
        (b"Basic !", None),
        (b"Digest abc", None),
        (b"Bearer \xff", None),
        (b"", None),
    ],
)
async def test_a_key_comes_as_a_token_or_as_a_password(header: bytes, key: str | None) -> None:
    assert presented_key(header) == key


async def test_a_made_key_is_well_formed() -> None:
    assert well_formed(KEY)


async def test_an_answer_without_an_end_hears_of_a_revoked_key_within_the_time_for_which_keys_are_believed() -> None:
    registry = Registry()
    keys = RemoteKeyVerifier(registry, seconds=0.6)
    assert keys.look_again_seconds == 0.3
    await keys.verify(KEY)
    assert await keys.still_valid(KEY)
    assert len(registry.asked) == 1
    registry.caller = None
    await asyncio.sleep(0.3)
    assert not await keys.still_valid(KEY)
    assert await keys.verify(KEY) is None


async def test_while_the_registry_is_away_a_known_key_stays_valid_and_is_not_asked_for_all_the_time() -> None:
    registry = Registry()
    keys = RemoteKeyVerifier(registry, seconds=0.5)
    await keys.verify(KEY)
    registry.away = True
    await asyncio.sleep(0.25)
    assert [await keys.still_valid(KEY) for _ in range(5)] == [True] * 5
    assert len(registry.asked) == 2


async def test_many_who_want_to_know_ask_once() -> None:
    answered = asyncio.Event()

    class Slow(Registry):
        async def verify_key(self, key_sha256: str) -> Caller | None:
            self.asked.append(key_sha256)
            await answered.wait()
            return self.caller

    registry = Slow()
    keys = RemoteKeyVerifier(registry)
    asking = [asyncio.create_task(keys.verify(KEY)) for _ in range(10)]
    await asyncio.sleep(0)
    # One that goes away takes nothing from the others.
    asking.pop(0).cancel()
    await asyncio.sleep(0)
    answered.set()
    assert await asyncio.gather(*asking) == [CALLER] * 9
    assert len(registry.asked) == 1


async def test_what_was_asked_before_a_key_was_revoked_is_no_answer_behind_it() -> None:
    answered = asyncio.Event()

    class Slow(Registry):
        async def verify_key(self, key_sha256: str) -> Caller | None:
            self.asked.append(key_sha256)
            if len(self.asked) == 1:
                await answered.wait()
                return CALLER
            return None

    keys = RemoteKeyVerifier(Slow())
    before = asyncio.create_task(keys.verify(KEY))
    await asyncio.sleep(0)
    keys.forget()
    answered.set()
    assert await before == CALLER
    assert await keys.verify(KEY) is None
