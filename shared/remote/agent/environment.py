"""The agent's own surroundings: a clean environment, its umask, its working directory, and descriptors of its own."""

from __future__ import annotations

import os
import pwd

KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "SLURM_CONF")
KEPT_BY_SUDO = ("PATH", "SLURM_CONF")
"""PATH is sudo's own (secure_path); SLURM_CONF gets through sudo only where its administrator lets it."""

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def _current_umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


ORIGINAL_UMASK = _current_umask()
USUAL_UMASK = 0o022


class Identity:
    """Whom this process acts as. `umask` is what the user's own files are made with: units get it.

    `trusting`: whoever started the agent is the user, and what they passed is theirs. An installed agent that sudo
    starts is not: what it was passed belongs to the service.
    """

    def __init__(self, *, trusting: bool) -> None:
        self.uid = os.getuid()
        try:
            entry = pwd.getpwuid(self.uid)
            self.user, self.home, self.shell = entry.pw_name, entry.pw_dir, entry.pw_shell
        except KeyError:
            self.user, self.home, self.shell = str(self.uid), os.environ.get("HOME", "/"), "/bin/sh"
        if trusting:
            self.home = os.environ.get("HOME") or self.home
        self.umask = ORIGINAL_UMASK if trusting else USUAL_UMASK


def settle(*, trusting: bool = True) -> Identity:
    """Forget whatever environment, umask and folder the agent was started with."""
    identity = Identity(trusting=trusting)
    os.umask(0o077)
    os.chdir("/")
    names = KEPT if trusting else KEPT_BY_SUDO
    kept = {name: os.environ[name] for name in names if os.environ.get(name)}
    os.environ.clear()
    if not trusting:
        os.environ["LANG"] = "C.UTF-8"
    os.environ.update({"PATH": DEFAULT_PATH, "HOME": identity.home, "SHELL": identity.shell})
    os.environ.update({"USER": identity.user, "LOGNAME": identity.user, **kept})
    return identity


def take_over_standard_streams() -> tuple[int, int]:
    """Return private descriptors of the pipe.

    Nothing that is printed by mistake gets into it, no child inherits it.
    """
    incoming, outgoing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return incoming, outgoing
