"""What a cluster shows to whom: asked once in some minutes."""

import time

from services.poller.cluster.scheduler_calls import SchedulerCalls
from services.poller.cluster.viewpoint import MIN_INTERVAL_SECONDS, Viewpoint
from shared.service.connections import Connections
from stoker.errors import StokerError

BELIEVED_SECONDS = 300.0


class ClusterHabits:
    """`hides_jobs`: whether users do not see each other's jobs; None while nobody has said so."""

    def __init__(self, connections: Connections, calls: SchedulerCalls) -> None:
        self.hides_jobs: bool | None = None
        self._connections = connections
        self._calls = calls
        self._view = Viewpoint()

    @property
    def next_at(self) -> float:
        """When they are asked for again (monotonic)."""
        return self._view.next_at

    @property
    def error(self) -> str | None:
        """Why they are not known."""
        return self._view.error if self.hides_jobs is None else None

    async def learn(self, profile_id: str, jobs_root: str) -> None:
        """Ask through this profile where that is due. Without an answer, what was known before holds."""
        if self._view.next_at > time.monotonic():
            return
        self._view.begins(MIN_INTERVAL_SECONDS)
        try:
            state = await self._calls.cluster(await self._connections.current(profile_id), jobs_root)
        except StokerError as error:
            self._view.failed(error.message)
            return
        self._view.worked()
        self._view.begins(BELIEVED_SECONDS)
        self.hides_jobs = state.hides_jobs
