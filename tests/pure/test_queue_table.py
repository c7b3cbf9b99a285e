"""What `stoker queue` prints."""

from datetime import UTC, datetime

import pytest

from stoker.cli.commands.queues import show
from stoker.contracts.queues import ClusterQueue, QueueEntry

_MADE = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def test_a_queue_is_shown_with_its_age_and_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    own = QueueEntry(
        native_id="4711_[5-9]",
        launches=5,
        state="PENDING",
        waits=True,
        reason="held",
        partition="main",
        nodes="",
        cpus=2,
        memory="4G",
        starts_at=_MADE,
        user="jdoe",
        name="\x1b[31mred",
    )
    other = QueueEntry(
        native_id="12", launches=1, state="RUNNING", waits=False, reason="", partition="gpu", nodes="n1"
    )
    seen = ClusterQueue(resource_id="r", looked_at=_MADE, age_seconds=2.5, watched=False, count=2, items=[own, other])
    show(seen, seen.items)
    said = capsys.readouterr()
    head, first, second = said.out.splitlines()
    assert head.split()[:3] == ["JOB", "USER", "STATE"]
    assert " ".join(first.split()) == (
        "4711_[5-9] jdoe PENDING main 2 4G 2026-01-31 12:00:00 \N{REPLACEMENT CHARACTER}[31mred held"
    )
    assert second.split() == ["12", "-", "RUNNING", "gpu", "n1", "-"]
    assert "seen 2.5 s ago; nobody looks now" in said.err
