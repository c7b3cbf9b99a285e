"""When the executor is asked for its watch list, and how often."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from services.poller.metrics import PollerMetrics
from services.poller.watch_list import HINT_SPACING_SECONDS, WatchListSource
from shared.service.waiting import cancelled
from stoker.contracts.watches import WatchList
from stoker.errors import Unavailable
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Executor:
    """Gives an empty list, or nothing while `away`; counts the requests."""

    def __init__(self) -> None:
        self.away = False
        self.requests = 0

    async def watch_list(self) -> WatchList:
        self.requests += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("gone fishing")
        return WatchList(profiles=[])

    async def asked(self, times: int) -> None:
        await until(lambda: self.requests >= times, f"request {times}")


@asynccontextmanager
async def running(
    executor: Executor, every_seconds: float = 3600
) -> AsyncGenerator[tuple[WatchListSource, list[WatchList]]]:
    lists: list[WatchList] = []
    source = WatchListSource(executor, metrics=PollerMetrics(), every_seconds=every_seconds, on_list=lists.append)
    task = asyncio.create_task(source.run())
    try:
        yield source, lists
    finally:
        await cancelled([task])


async def test_it_is_asked_for_at_the_start_and_on_a_hint() -> None:
    executor = Executor()
    async with running(executor) as (source, lists):
        await executor.asked(1)
        await until(lambda: len(lists) == 1)
        source.hint()
        await until(lambda: len(lists) == 2)


async def test_it_is_asked_for_every_few_seconds_without_a_hint() -> None:
    executor = Executor()
    async with running(executor, every_seconds=0.01):
        await executor.asked(3)


async def test_a_burst_of_hints_asks_a_few_times_only() -> None:
    executor = Executor()
    async with running(executor) as (source, _):
        begun = time.monotonic()
        for _ in range(1000):
            source.hint()
            await asyncio.sleep(0.0005)
        await executor.asked(2)
        assert executor.requests <= 2 + (time.monotonic() - begun) / HINT_SPACING_SECONDS


async def test_many_that_need_a_fresh_list_at_once_share_one_request() -> None:
    executor = Executor()
    source = WatchListSource(executor, metrics=PollerMetrics(), every_seconds=1, on_list=lambda _: None)
    assert all(await asyncio.gather(*(source.fresh(max_age_seconds=60) for _ in range(20))))
    assert executor.requests == 1


async def test_an_executor_that_is_away_is_asked_again_after_growing_pauses_and_its_last_list_stays() -> None:
    executor = Executor()
    async with running(executor) as (source, lists):
        await executor.asked(1)
        executor.away = True
        source.hint()
        begun = time.monotonic()
        await executor.asked(5)
        # Pauses of at least 0.125, 0.25 and 0.5 s lie between the four failures.
        assert time.monotonic() - begun > 0.8
        assert source.error == "gone fishing"
        assert len(lists) == 1
        executor.away = False
        source.hint()
        await until(lambda: len(lists) == 2)
    assert source.error is None
