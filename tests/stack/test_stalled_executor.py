"""An executor that stands still while another takes over, and then wakes up in the middle of its old work."""

import asyncio
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.embedded.programs import StackSettings, service_command, service_environment
from stoker.clients import ExecutorClient
from stoker.contracts.jobs import JobSubmit
from tests.stack.jobs import events_to_the_end, local_profile, starts
from tests.stack.running import RunningStack, wait_for

pytestmark = pytest.mark.anyio
LEASE_SECONDS = "2"


@pytest.fixture(scope="module")
def short_leases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    folder = tmp_path_factory.mktemp("leases") / "state"
    stack = RunningStack(folder, environment={"STOKER_LEASE_SECONDS": LEASE_SECONDS})
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.mark.parametrize("point", ["dispatcher.before_stage", "dispatcher.intended", "dispatcher.after_launch"])
async def test_a_stalled_executor_that_wakes_up_does_no_harm(
    short_leases: RunningStack, tmp_path: Path, point: str
) -> None:
    stack, trace, points = short_leases, tmp_path / "trace", tmp_path / "points"
    points.mkdir()
    (points / point).write_text("stall")
    port = _free_port()
    second = _second_executor(stack, port, points)
    try:
        async with ExecutorClient(f"http://127.0.0.1:{port}", stack.admin_key) as executor:
            await asyncio.to_thread(wait_for, lambda: _listens(port), 60, stack.logs)
            submit = JobSubmit(
                profile_id=await local_profile(stack),
                command=["sh", "-c", 'echo "$1" >> "$2"; sleep 0.1', "unit", "{unit}", str(trace)],
                units=[{}] * 20,
            )
            job = await executor.submit(submit)
        await asyncio.to_thread(wait_for, lambda: _stands_still(second.pid), 60, stack.logs)
        events = await events_to_the_end(stack, job.id)
        assert events[-1].state == "succeeded"
        second.send_signal(signal.SIGCONT)
        # It is at its work again when it answers; then it is asked to end, which it does after what is under way.
        async with ExecutorClient(f"http://127.0.0.1:{port}", stack.admin_key) as executor:
            assert (await executor.job(job.id)).state == "succeeded"
        second.terminate()
        await asyncio.to_thread(second.wait, 30)
    finally:
        second.kill()
        second.wait()
    assert starts(trace) == Counter(range(20))
    async with stack.executor() as executor:
        final = await executor.job(job.id)
    assert (final.state, final.counts.succeeded) == ("succeeded", 20)


def _second_executor(stack: RunningStack, port: int, points: Path) -> subprocess.Popen[bytes]:
    ports = {name: int(getattr(stack.record, name).rpartition(":")[2]) for name in ("registry", "executor", "poller")}
    settings = StackSettings(host="127.0.0.1", ports=ports)  # type: ignore[arg-type]
    environment = service_environment("executor", stack.folder, settings) | {
        "STOKER_LISTEN_PORT": str(port),
        "STOKER_FAILPOINTS": str(points),
        "STOKER_LEASE_SECONDS": LEASE_SECONDS,
    }
    with (stack.folder.logs / "second.log").open("ab") as log:
        return subprocess.Popen(service_command("executor"), env=environment, stdout=log, stderr=log)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def _stands_still(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
