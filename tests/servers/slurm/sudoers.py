"""Drop-in files of sudo, written as the documentation gives them, checked by visudo, gone with the workspace."""

import os
import subprocess
from pathlib import Path

from tests.servers.process import ServerNotUsableError
from tests.servers.slurm.workspace import Workspace

_FOLDER = Path("/etc/sudoers.d")


class Sudoers:
    """`write` a rule, `remove` it; the same name again replaces it."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def _path(self, name: str) -> Path:
        # sudo skips files whose names have a dot in them or end in a tilde.
        return _FOLDER / f"{self._workspace.name_prefix}{name}"

    def write(self, name: str, text: str) -> Path:
        """Install `text`; ServerNotUsableError carries visudo's words when it is not valid sudoers text."""
        draft = self._workspace.folder / f"sudoers-{name}"
        draft.write_text(text)
        draft.chmod(0o440)
        command = ["/usr/sbin/visudo", "-c", "-f", str(draft)]
        checked = subprocess.run(command, capture_output=True, text=True, check=False)
        if checked.returncode != 0:
            draft.unlink()
            raise ServerNotUsableError(f"visudo refuses the rule {name}: {checked.stdout}{checked.stderr}")
        path = self._path(name)
        # sudo reads the folder at any time: the file appears whole (a name with a dot is not read), or not at all.
        hidden = path.with_name(f".{path.name}.new")
        hidden.write_text(text)
        hidden.chmod(0o440)
        os.replace(hidden, path)  # noqa: PTH105 - the point is the rename
        draft.unlink()
        return path

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)
