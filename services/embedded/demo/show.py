"""The demonstration itself: a stack of its own, in which its parts are shown one after the other."""

import asyncio
import signal
import tempfile
from pathlib import Path

from rich.console import Console

from services.embedded.demo.counting import count_standard_library
from services.embedded.demo.imaging import segment_an_image
from services.embedded.ports import usable_port
from services.embedded.programs import SERVICES, StackSettings
from services.embedded.supervisor import Supervisor
from stoker.cli.session import Session
from stoker.cli.state_folder import StateFolder


async def demonstrate(out: Console, progress: Console, picture: Path) -> bool:
    """Start a stack in a temporary folder, show the parts, stop the stack. Returns whether all went well."""
    with tempfile.TemporaryDirectory(prefix="stoker-demo-", ignore_cleanup_errors=True) as temporary:
        folder = StateFolder(Path(temporary) / "state")
        folder.prepare()
        with folder.locked():
            ports = {service: usable_port("127.0.0.1", 0, "") for service in SERVICES}
            settings = StackSettings(host="127.0.0.1", ports=ports)
            supervisor = Supervisor(folder, settings, say=lambda text: progress.print(f"[dim]{text} …[/]"))
            demonstration = asyncio.create_task(_in_stack(supervisor, folder, out, progress, picture))
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, demonstration.cancel)
            try:
                return await demonstration
            finally:
                await supervisor.stop()


async def _in_stack(
    supervisor: Supervisor, folder: StateFolder, out: Console, progress: Console, picture: Path
) -> bool:
    record = await supervisor.start()
    for service in SERVICES:
        progress.print(f"[dim]  {service:<9} {getattr(record, service)}[/]")
    async with Session(folder, local_only=True) as session:
        counted = await count_standard_library(session, out, progress)
        image = folder.path / "images" / "nuclei.zarr"
        segmented = await segment_an_image(session, image, picture, out, progress)
    return counted and segmented
