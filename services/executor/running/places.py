"""Places for work: resources do not wait for each other, nor does one owner for another on the same resource."""

from collections import Counter
from collections.abc import Collection

import msgspec


class Due(msgspec.Struct, frozen=True):
    """A job whose turn it is. `updated_at` tells whether anything has happened to it since it was last driven."""

    job_id: str
    resource_id: str
    owner: str
    updated_at: float


class Taken(msgspec.Struct, frozen=True):
    """What is not to be looked for: jobs in work, resources without a place, (resource, owner) without one."""

    job_ids: Collection[str] = ()
    resource_ids: Collection[str] = ()
    owners: Collection[tuple[str, str]] = ()


class Places:
    """A number of places on each resource, of which no owner has more than a share."""

    def __init__(self, *, of_resource: int, of_owner: int) -> None:
        self._of_resource = of_resource
        self._of_owner = of_owner
        self._jobs: set[str] = set()
        self._resources: Counter[str] = Counter()
        self._owners: Counter[tuple[str, str]] = Counter()

    def take(self, due: Due) -> bool:
        """Take a place; False where there is none, or the job has one."""
        owner = (due.resource_id, due.owner)
        if due.job_id in self._jobs or self._resources[due.resource_id] >= self._of_resource:
            return False
        if self._owners[owner] >= self._of_owner:
            return False
        self._jobs.add(due.job_id)
        self._resources[due.resource_id] += 1
        self._owners[owner] += 1
        return True

    def give_back(self, due: Due) -> None:
        """The job is not in work any more."""
        self._jobs.discard(due.job_id)
        self._resources[due.resource_id] -= 1
        self._owners[due.resource_id, due.owner] -= 1
        # Counters forget what is gone.
        self._resources, self._owners = +self._resources, +self._owners

    @property
    def taken(self) -> Taken:
        """What is not to be looked for now."""
        return Taken(
            job_ids=tuple(self._jobs),
            resource_ids=[one for one, count in self._resources.items() if count >= self._of_resource],
            owners=[one for one, count in self._owners.items() if count >= self._of_owner],
        )
