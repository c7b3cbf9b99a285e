"""Windows of streams follow the line: small on a slow one, large enough to keep a fast one busy."""

import pytest

from shared.pipes.protocol.frames import CHUNK_BYTES, FIRST_CREDIT_BYTES
from shared.pipes.protocol.windows import LARGEST_BYTES, StreamWindow


def carry(window: StreamWindow, *, bandwidth: float, round_trip_seconds: float, megabytes: int) -> float:
    """Seconds that a stream takes on such a line; who consumes is always faster."""
    now, allowed, free_at, left = 0.0, window.size, 0.0, megabytes * 1_000_000
    on_its_way: list[float] = []
    grants: list[tuple[float, int]] = []
    while left > 0 or on_its_way:
        while left > 0 and allowed >= CHUNK_BYTES:
            free_at = max(now, free_at) + CHUNK_BYTES / bandwidth
            on_its_way.append(free_at + round_trip_seconds / 2)
            allowed, left = allowed - CHUNK_BYTES, left - CHUNK_BYTES
        next_data = on_its_way[0] if on_its_way else float("inf")
        next_grant = grants[0][0] if grants else float("inf")
        now = min(next_data, next_grant)
        if next_grant <= next_data:
            allowed += grants.pop(0)[1]
        else:
            on_its_way.pop(0)
            if credit := window.take(CHUNK_BYTES, now):
                grants.append((now + round_trip_seconds / 2, credit))
    return now


@pytest.mark.parametrize("bandwidth", [1e6, 5e6, 12.5e6, 40e6])
@pytest.mark.parametrize("round_trip_seconds", [0.0002, 0.02, 0.05, 0.09])
def test_a_stream_fills_the_line(bandwidth: float, round_trip_seconds: float) -> None:
    window = StreamWindow(FIRST_CREDIT_BYTES, round_trip_seconds)
    seconds = carry(window, bandwidth=bandwidth, round_trip_seconds=round_trip_seconds, megabytes=100)
    assert seconds < 1.2 * (100e6 / bandwidth) + 1


def test_on_a_slow_line_little_is_on_its_way() -> None:
    window = StreamWindow(FIRST_CREDIT_BYTES, 0.05)
    carry(window, bandwidth=1e6, round_trip_seconds=0.05, megabytes=10)
    assert window.size == FIRST_CREDIT_BYTES


def test_there_is_a_largest_window() -> None:
    window = StreamWindow(FIRST_CREDIT_BYTES, 0.3)
    carry(window, bandwidth=1e9, round_trip_seconds=0.3, megabytes=200)
    assert window.size == LARGEST_BYTES


def test_a_slow_consumer_gets_no_more() -> None:
    window = StreamWindow(FIRST_CREDIT_BYTES, 0.05)
    for number in range(100):
        window.take(CHUNK_BYTES, float(number))
    assert window.size == FIRST_CREDIT_BYTES
