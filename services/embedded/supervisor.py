"""The supervisor: starts a stack, keeps its processes running, stops them in order."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from services.embedded.preparation import bootstrap_keys, first_resource, migrate
from services.embedded.process import ManagedProcess
from services.embedded.programs import (
    SERVICES,
    ServiceName,
    StackSettings,
    redis_command,
    service_command,
    service_environment,
)
from stoker.cli.state_folder import StackRecord, StateFolder
from stoker.clients import ExecutorClient, PollerClient, RegistryClient
from stoker.contracts.jobs import FINAL_JOB_STATES
from stoker.errors import StokerError, Unavailable
from stoker.secrets import Secret

_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_ENDS_UNTIL_HOPELESS = 4
_LOG_BYTES = 64 * 1024 * 1024
_LOG_LOOK_SECONDS = 30.0


class Supervisor:
    """One stack in one state folder, which the caller has locked."""

    def __init__(self, folder: StateFolder, settings: StackSettings, *, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._settings = settings
        self._say = say
        self._ready = False
        self._processes: list[ManagedProcess] = []

    async def start(self) -> StackRecord:
        """Start everything and return once all services are ready. Raises Unavailable with the reason otherwise."""
        new = not self._folder.admin_key.exists()
        self._say("preparing the databases")
        await migrate(self._folder, self._settings)
        await bootstrap_keys(self._folder, self._settings)
        self._say("starting the services")
        if self._settings.redis_url is None:
            self._add("redis", list(redis_command(self._folder)), {"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
        for service in SERVICES:
            environment = service_environment(service, self._folder, self._settings)
            self._add(service, service_command(service), environment)
        for process in self._processes:
            process.start()
        await self._until_ready()
        if new:
            await self._add_first_resource()
        self._ready = True
        return self._tell()

    async def run(self, stop: asyncio.Event) -> None:
        """Wait for the wish to stop; meanwhile keep the logs from growing without bound."""
        while not stop.is_set():
            for process in self._processes:
                _shorten(process.log)
            try:
                await asyncio.wait_for(stop.wait(), _LOG_LOOK_SECONDS)
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """Stop everything in order; units that run go on. Safe at any time after `start` began."""
        for process in reversed(self._processes):
            await process.stop(patience_seconds=_STOP_SECONDS)
        self._folder.remove_record()

    async def unfinished_jobs(self) -> int | None:
        """How many jobs have not ended (at most some hundred are counted); None when nobody knows."""
        key = self._admin_key()
        states = ("accepted", "staging", "queued", "running", "collecting")
        try:
            async with ExecutorClient(self._settings.url("executor"), key, timeout_seconds=3, attempts=1) as executor:
                pages = [await executor.jobs(state=state, limit=100) for state in states]
        except StokerError:
            return None
        # One that moves on between two of the questions is told twice.
        return len({job.id for page in pages for job in page.items if job.state not in FINAL_JOB_STATES})

    def _add(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        log = self._folder.logs / f"{name}.log"
        self._processes.append(
            ManagedProcess(
                name,
                command,
                environment=environment,
                folder=self._folder.path,
                log=log,
                on_change=self._tell,
                longest_pause_seconds=self._settings.restart_seconds,
            )
        )

    def _tell(self) -> StackRecord:
        record = StackRecord(
            supervisor_pid=os.getpid(),
            registry=self._settings.url("registry"),
            executor=self._settings.url("executor"),
            poller=self._settings.url("poller"),
            ready=self._ready,
            processes={process.name: process.record for process in self._processes if process.record},
        )
        self._folder.write_record(record)
        return record

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        key = self._admin_key()
        kinds = {"registry": RegistryClient, "executor": ExecutorClient, "poller": PollerClient}
        waiting: list[ServiceName] = list(SERVICES)
        while waiting:
            for service in tuple(waiting):
                async with kinds[service](self._settings.url(service), key, timeout_seconds=3) as client:
                    if await client.ready():
                        waiting.remove(service)
            self._give_up_if_hopeless(waiting, late=time.monotonic() > deadline)
            await asyncio.sleep(_LOOK_SECONDS)

    def _give_up_if_hopeless(self, waiting: list[ServiceName], *, late: bool) -> None:
        for process in self._processes:
            if process.early_ends >= _ENDS_UNTIL_HOPELESS or (late and process.name in waiting):
                what = "is not ready" if late else "ends as soon as it is started"
                raise Unavailable(f"{process.name} {what}; its log {process.log} ends with:\n{_tail(process.log)}")

    async def _add_first_resource(self) -> None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        async with RegistryClient(self._settings.url("registry"), self._admin_key()) as registry:
            async for _ in registry.resources():
                return
            resource = await registry.create_resource(first_resource(self._folder, sys.executable, version))
            await registry.create_profile(resource.id, {"resource_type": "local", "name": "local"})

    def _admin_key(self) -> Secret:
        return Secret(self._folder.read_key(self._folder.admin_key) or "missing")


def _shorten(log: Path) -> None:
    # The process appends to the open file, so it is copied and emptied, never renamed.
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        with log.open("r+b") as file:
            file.truncate(0)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:] if log.exists() else ""
