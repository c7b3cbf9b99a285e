"""Work of a service, done as the unprivileged user that services run as.

Tests run as root, in a Python that other users may not even read. So the work is done in a fork of the test's
process, which has imported all that it needs, and gives up root for good.
"""

# `datetime` imports it when it is first used: the child may not be able to read where this Python lies.
import _strptime  # noqa: F401
import asyncio
import os
import pickle
import traceback
import warnings
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.servers.slurm.users import UnixUser, supplementary_groups

T = TypeVar("T")


def as_user(
    user: UnixUser, work: Callable[[], Awaitable[T]], *, path: str, umask: int = 0o022, **environment: str
) -> T:
    """The result of `work()`, which has to be picklable; AssertionError with the traceback when it raised."""
    reading, writing = os.pipe()
    groups = supplementary_groups(user)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which here only wait
        child = os.fork()
    if child == 0:
        _give_up_root(user, groups, umask, {**user.environment, "PATH": path, **environment})
        answer: tuple[bool, object]
        try:
            answer = (True, asyncio.run(_run(work)))
        except BaseException:  # noqa: BLE001 - whatever it is, the test has to see it
            answer = (False, traceback.format_exc())
        with os.fdopen(writing, "wb") as file:
            pickle.dump(answer, file)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    assert data, "the work ended without a word"
    worked, result = pickle.loads(data)  # noqa: S301 - our own words
    assert worked, result
    found: T = result
    return found


async def _run(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def _give_up_root(user: UnixUser, groups: list[int], umask: int, environment: dict[str, str]) -> None:
    os.setgroups(groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    os.environ.clear()
    os.environ.update(environment)
    os.umask(umask)
    os.chdir(user.home)
