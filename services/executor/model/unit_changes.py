"""Units that changed their state in one transaction, and what that does to the counts of their job."""

from stoker.contracts.events import MAX_FAILED_UNITS_PER_EVENT, FailedUnit
from stoker.contracts.jobs import Counts, Reason


class UnitChanges:
    """Counted one by one, or many at once; the first of those that failed are told."""

    def __init__(self) -> None:
        self._delta = dict.fromkeys(Counts.__struct_fields__, 0)
        self.failed_units: list[FailedUnit] = []
        self.failed_units_left_out = 0

    def move(self, index: int, now: str, then: str, reason: Reason | None = None) -> None:
        """Count one unit's change of state."""
        self._delta[now] -= 1
        self._delta[then] += 1
        if then in ("failed", "lost"):
            if len(self.failed_units) < MAX_FAILED_UNITS_PER_EVENT:
                self.failed_units.append(FailedUnit(index=index, state=then, reason=reason))
            else:
                self.failed_units_left_out += 1

    def move_many(self, count: int, now: str, then: str) -> None:
        """Count changes of state of units that are not told one by one."""
        self._delta[now] -= count
        self._delta[then] += count
        if then in ("failed", "lost"):
            self.failed_units_left_out += count

    def add(self, count: int) -> None:
        """Count units that were not there before; they wait."""
        self._delta["waiting"] += count

    def applied_to(self, counts: Counts) -> Counts:
        """The counts after these changes."""
        return Counts(**{name: getattr(counts, name) + delta for name, delta in self._delta.items()})
