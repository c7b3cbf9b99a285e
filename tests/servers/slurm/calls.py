"""A folder for the front of PATH whose programs write down each call, then become the real program.

It does for a test what `/etc/slurm/slurm.conf` does on a real cluster: the programs know which cluster they talk to,
without anything in the caller's environment. A test may also put a program of its own in a command's place
(`answer`): a scheduler that says "Socket timed out" although it queued the job cannot be ordered from the real one.
"""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COUNTED = ("sbatch", "squeue", "scancel", "sacct", "sacctmgr", "scontrol", "sinfo", "srun", "sudo")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Only words that the shell itself knows, so that a counted call starts no further process. One write per call:
# calls at the same moment do not mix. NUL ends each field: the one byte that no argument has.
_WRAPPER = r"""#!/bin/sh
uid=
while read -r key uid rest; do [ "$key" = Uid: ] && break; done < /proc/$$/status
printf '%s\000' "$$" "$uid" {name} "$#" "$@" >> {log}
export SLURM_CONF={configuration}
[ -x {answer} ] && exec {answer} "$@"
exec {program} "$@"
"""


@dataclass(frozen=True)
class Call:
    """One start of a counted program. The process keeps its pid when it becomes the real program."""

    pid: int
    uid: int
    program: str
    arguments: tuple[str, ...]


class CountedCommands:
    """`folder` belongs at the front of PATH; `calls()` are those since the last `forget()`."""

    def __init__(self, folder: Path, configuration: Path) -> None:
        self.folder = folder / "bin"
        self._answers = folder / "answers"
        self._log = folder / "calls.log"
        for path in (self.folder, self._answers):
            path.mkdir(mode=0o755)
            path.chmod(0o755)
        self._log.touch()
        self._log.chmod(0o666)  # users write to it too
        self._start = 0
        for name in COUNTED:
            words = {
                "log": self._log,
                "name": name,
                "configuration": configuration,
                "answer": self._answers / name,
                "program": self.real_program(name),
            }
            wrapper = self.folder / name
            wrapper.write_text(_WRAPPER.format(**{key: shlex.quote(str(value)) for key, value in words.items()}))
            wrapper.chmod(0o755)

    @property
    def path(self) -> str:
        """A whole PATH that begins with the counting programs."""
        return f"{self.folder}{os.pathsep}{_PATH}"

    @staticmethod
    def real_program(name: str) -> str:
        return f"/usr/bin/{name}"

    def forget(self) -> None:
        self._start = self._log.stat().st_size

    def calls(self, program: str | None = None) -> list[Call]:
        """What was called since `forget`, in order; of one program when it is named."""
        with self._log.open("rb") as log:
            log.seek(self._start)
            text = log.read().decode("utf-8", "surrogateescape")
        fields = text.split("\0")[:-1]
        found = []
        while fields:
            (pid, uid, name, count), fields = fields[:4], fields[4:]
            arguments, fields = fields[: int(count)], fields[int(count) :]
            found.append(Call(pid=int(pid), uid=int(uid), program=name, arguments=tuple(arguments)))
        return [call for call in found if program in (None, call.program)]

    @contextmanager
    def answer(self, name: str, script: str) -> Iterator[None]:
        """Inside, `script` (with its own first line) is run instead of the program; calls are still written down.

        It gets the call's arguments, SLURM_CONF, and may itself run the real program by `real_program`.
        """
        path = self._answers / name
        draft = path.with_suffix(".new")
        draft.write_text(script)
        draft.chmod(0o755)
        draft.rename(path)
        try:
            yield
        finally:
            path.unlink()
