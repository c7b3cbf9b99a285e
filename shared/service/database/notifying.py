"""A database that says when something was committed, so that nobody has to look for it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.service.database.transactions import Database


class NotifyingDatabase(Database):
    """Calls its listeners after each commit of this process; they must be quick and must not raise."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._listeners: list[Callable[[], None]] = []

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Have this called after each commit."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """As `Database.write`."""
        async with super().write() as connection:
            yield connection
        for listener in self._listeners:
            listener()
