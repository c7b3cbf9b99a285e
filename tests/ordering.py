"""Who runs which test, and when: the longest first, so that none of the workers has one of them left at the end.

pytest-xdist's `worksteal` cuts the list of tests into as many pieces of one length as there are workers; who is done
takes from the end of the longest piece. Here the list is put in an order in which each piece has its share of the
time, begins with what takes longest, and ends with what takes no time. What a worker has started once (a cluster, the
services beside it) counts for the first of its tests that asks for it, so tests that share it meet on few workers.

How long tests take is in `seconds.txt`; `make seconds` writes it anew. Only the order depends on it, and what
STOKER_TEST_LONGEST_SECONDS leaves out: tests that take longer.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

_FILE = Path(__file__).with_name("seconds.txt")
_WRITE = "STOKER_TEST_WRITE_SECONDS"
_LONGEST = "STOKER_TEST_LONGEST_SECONDS"
_QUICK_SECONDS = 0.1
# Of a test that nobody has timed yet, where it needs something that is started.
_UNKNOWN_SECONDS = 3.0
# What a worker starts once for all of its tests, or those of a module, and how many seconds that takes where all
# workers start something.
_STARTS = {
    "_postgresql": 2.0,
    "_slurm_cluster": 15.0,
    "_bare_cluster": 12.0,
    "public_installation": 10.0,
    "_sudo_site": 20.0,
    "_bare_site": 20.0,
    "_ssh_site": 20.0,
    "stack": 12.0,
    "failing_stack": 12.0,
    "mended_stack": 12.0,
    "short_leases": 12.0,
    "refusing": 1.0,
}
# A cluster takes long to start, and computes beside its tests: half of the workers have one.
_CLUSTERS = {"_slurm_cluster", "_bare_cluster"}
# Made for the tests of one module, which stay together.
_FOR_ONE_WORKER = {"failing_stack", "mended_stack", "short_leases", "refusing"}
# Fixtures that ask for others only when they run.
_ASK_FOR = {
    "site": {"_slurm_cluster", "public_installation", "_sudo_site", "_ssh_site"},
    "address": {"stack"},
}


class Ordering:
    """Puts the tests in order; each worker does, and comes to the same order."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._known = _read()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        long = sorted((one for one in items if self._seconds(one)), key=self._seconds, reverse=True)
        long.sort(key=lambda one: not _needs(one) & _CLUSTERS)  # the others go where room is left
        quick: dict[str, list[pytest.Item]] = defaultdict(list)
        for item in items:
            if not self._seconds(item):
                quick[_module(item)].append(item)
        pieces = [_Piece(size) for size in _sizes(len(items), self._workers)]
        for item in long:
            _cheapest(pieces, item).add(item, self._seconds(item))
        for module in sorted(quick.values(), key=len, reverse=True):
            # Together, as long as there is room: what they share is made once.
            piece = _cheapest(pieces, module[0])
            for item in module:
                piece = piece if piece.room else _cheapest(pieces, item)
                piece.add(item, _QUICK_SECONDS)
        items[:] = [item for piece in pieces for item in self._by_module(piece.items)]

    def _by_module(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """The longest module first, each in one piece: what its tests share is removed when another module begins."""
        modules: dict[str, list[pytest.Item]] = defaultdict(list)
        for item in items:
            modules[_module(item)].append(item)
        longest = sorted(modules.values(), key=lambda module: sum(map(self._seconds, module)), reverse=True)
        return [item for module in longest for item in sorted(module, key=self._seconds, reverse=True)]

    def _seconds(self, item: pytest.Item) -> float:
        """0 for those that are quick."""
        known = self._known.get(_name(item.nodeid), _UNKNOWN_SECONDS if _needs(item) else 0.0)
        return known if known > _QUICK_SECONDS else 0.0


class Choice:
    """Leaves out what takes long."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._known = _read()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left_out = [one for one in items if self._known.get(_name(one.nodeid), 0.0) > self._longest_seconds]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [one for one in items if one not in left_out]


class _Piece:
    """What one worker begins with: so many tests."""

    def __init__(self, size: int) -> None:
        self.items: list[pytest.Item] = []
        self._size = size
        self._seconds = 0.0
        self.started: set[str] = set()

    @property
    def room(self) -> bool:
        return len(self.items) < self._size

    def seconds_with(self, item: pytest.Item) -> float:
        """How long it takes, with what has to be started for one more test."""
        return self._seconds + sum(_STARTS[name] for name in _needs(item) - self.started)

    def add(self, item: pytest.Item, seconds: float) -> None:
        self._seconds = self.seconds_with(item) + seconds
        self.started |= _needs(item)
        self.items.append(item)


def _cheapest(pieces: list[_Piece], item: pytest.Item) -> _Piece:
    """The piece that is done first with the test, among those that may have it."""
    needs = _needs(item)
    with_room = [piece for piece in pieces if piece.room]
    those = [piece for piece in with_room if piece.started & needs & _FOR_ONE_WORKER]
    if not those and needs & _CLUSTERS:
        those = [piece for piece in pieces[: max(1, len(pieces) // 2)] if piece.room]
    return min(those or with_room, key=lambda piece: piece.seconds_with(item))


class Recording:
    """Writes down how long tests take."""

    def __init__(self) -> None:
        self._seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self._seconds[_name(report.nodeid)][report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        known = _read()
        for name, cases in self._seconds.items():
            known[name] = round(sum(cases.values()) / len(cases), 1)
        lines = (f"{seconds} {name}\n" for name, seconds in sorted(known.items()) if seconds > 0)
        _FILE.write_text("".join(lines))


def pytest_configure(config: pytest.Config) -> None:
    if _LONGEST in os.environ:
        config.pluginmanager.register(Choice(float(os.environ[_LONGEST])))
    workers: int | None = getattr(config, "workerinput", {}).get("workercount")
    if workers is not None:
        config.pluginmanager.register(Ordering(workers))
    elif _WRITE in os.environ:
        config.pluginmanager.register(Recording())


def _read() -> dict[str, float]:
    """Seconds of a test; of its cases the mean."""
    lines = _FILE.read_text().splitlines() if _FILE.exists() else []
    return {name: float(seconds) for seconds, _, name in (line.partition(" ") for line in lines)}


def _name(node_id: str) -> str:
    return node_id.partition("[")[0]


def _module(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _needs(item: pytest.Item) -> set[str]:
    names = set(getattr(item, "fixturenames", ()))
    return _STARTS.keys() & names.union(*(_ASK_FOR.get(name, ()) for name in names))


def _sizes(count: int, workers: int) -> list[int]:
    """Of the pieces, as xdist cuts them."""

    def cut() -> Iterator[int]:
        left = count
        for remaining in range(workers, 0, -1):
            yield left // remaining
            left -= left // remaining

    return list(cut())
