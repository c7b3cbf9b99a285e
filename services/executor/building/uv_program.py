"""uv for clusters reached through SSH: this installation's own, sent once to where it runs, for every build there.

It lies below the tasks folder under its checksum, whole or not at all; what is there is never sent again.
"""

import asyncio
import hashlib
import re
import sys
from collections import defaultdict
from functools import cache
from importlib import metadata
from pathlib import Path

import msgspec

from services.executor.repositories.rows import JobRow
from services.executor.repositories.unit_pages import unit_arguments
from shared.pipes import TASKS, AgentConnection, Hello, Place, Refused, StagedFile
from shared.service.database.transactions import Database
from shared.service.logs import get_logger

log = get_logger()

_FOLDER = ".uv-"
_NAME = "uv"
_GLIBC = re.compile(r"glibc (\d+)\.(\d+)")
_PLATFORM = re.compile(r"Tag: .*-manylinux_(\d+)_(\d+)_(\w+)")


class UvProgram(msgspec.Struct, frozen=True, kw_only=True):
    """`needs`: the oldest glibc that it runs with, by the machine that it is for."""

    path: Path
    sha256: str
    needs: dict[str, tuple[int, int]] = {}

    @property
    def folder(self) -> str:
        """Where it is sent to, below a tasks folder."""
        return f"{_FOLDER}{self.sha256}"

    def below(self, root: str) -> str:
        """Its path in a tasks folder."""
        return f"{root}/{self.folder}/{_NAME}"

    def fits(self, host: Hello) -> bool:
        """Whether it can be expected to run there."""
        there, needed = _GLIBC.fullmatch(host.libc), self.needs.get(host.machine)
        return there is not None and needed is not None and (int(there[1]), int(there[2])) >= needed


@cache
def own_uv() -> UvProgram | None:
    """The program that was installed with this service; None where there is none."""
    beside = Path(sys.executable).with_name(_NAME)
    if not beside.is_file():
        return None
    with beside.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return UvProgram(path=beside, sha256=sha256, needs=_needs())


def _needs() -> dict[str, tuple[int, int]]:
    try:
        wheel = metadata.distribution(_NAME).read_text("WHEEL") or ""
    except metadata.PackageNotFoundError:
        return {}  # it was installed by other means, and does not say what it needs
    return {found[3]: (int(found[1]), int(found[2])) for found in _PLATFORM.finditer(wheel)}


class UvSending:
    """Brings it to where builds are told to use it."""

    def __init__(self, database: Database, uv: UvProgram | None) -> None:
        self._database = database
        self._uv = uv
        # Of the builds that begin at once on one resource, the first one sends it.
        self._sending: defaultdict[tuple[str, str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def prepare(self, agent: AgentConnection, activity: JobRow) -> None:
        """Have it there if this activity wants it there, and the host can run it. Safe to repeat; raises Unavailable.

        Where it is not there afterwards, the builder says so and takes pip.
        """
        host, uv = agent.hello, self._uv
        if uv is None or TASKS not in host.roots or not uv.fits(host) or not await self._is_wanted(uv, activity):
            return
        place = Place(TASKS, uv.folder)
        async with self._sending[host.host, host.user, host.roots[TASKS]]:
            if (await agent.measure(place)).files:
                return
            try:
                await agent.stage(place, [StagedFile(_NAME, uv.path, mode=0o755)])
            except Refused as error:
                log.warning("uv not sent", job_id=activity.id, reason=error.message)
            else:
                log.info("uv sent", host=host.host, user=host.user, folder=host.roots[TASKS])

    async def _is_wanted(self, uv: UvProgram, activity: JobRow) -> bool:
        async with self._database.read() as connection:
            [unit] = await unit_arguments(connection, activity.id, 0, after=-1, limit=1)
        arguments = msgspec.json.decode(unit.arguments)
        wanted = arguments.get("uv") or ""
        return arguments["action"] in {"create", "rebuild"} and wanted.endswith(f"/{uv.folder}/{_NAME}")
