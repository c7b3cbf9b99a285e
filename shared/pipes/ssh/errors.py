"""Why a connection cannot be made. All of it may be mended without touching a job, so jobs wait meanwhile."""

from shared.errors import Unavailable


class CannotConnect(Unavailable):
    """No connection to the cluster; `mend` says what an administrator does about it."""

    def __init__(self, problem: str, mend: str = "") -> None:
        super().__init__(f"{problem}; {mend}" if mend else problem)
        self.problem = problem
        self.mend = mend


class NothingInCommon(CannotConnect):
    """The host and Stoker have no algorithm in common."""


class HostKeyRefused(CannotConnect):
    """The host showed a key that is not known, or another one than is known."""
