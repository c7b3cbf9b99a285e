"""Looking at a SLURM cluster through an agent: its queue, its accounts, what it is like.

A look that failed raises `Unavailable` and says nothing about any job.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Iterable
from typing import TypeVar

import msgspec

from shared.pipes import AgentConnection, CommandSaid
from shared.slurm.answers.accounting import Accounting, read_accounting, sacct_arguments
from shared.slurm.answers.associations import Association, read_associations
from shared.slurm.answers.calls import last_words, why_no_answer
from shared.slurm.answers.cluster import ClusterConfig, Partition, read_cluster_config, read_partitions
from shared.slurm.answers.queue import Queue, read_queue, squeue_arguments
from stoker.errors import Invalid, NotFound, Unavailable

_NONCE_BYTES = 16
_MISSING = re.compile(r"is not on this host|cannot be started")
"""How the agent says that a program is not there, or not for this user."""

_NOT_KEPT = "accounting storage is disabled"
T = TypeVar("T")


class AccountingNotKept(NotFound):
    """The cluster keeps no accounts: there is nobody to ask."""


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster is like, for the user who looked.

    `version` is what sbatch calls itself. `associations` is None where there is no accounting, or where it does not
    answer: `associations_error` then says why. `config_error` says why scontrol told nothing, where a site does not
    let users call it: `config` has SLURM's defaults then, and `partitions` is empty.
    """

    version: str
    config: ClusterConfig
    partitions: list[Partition]
    associations: list[Association] | None
    associations_error: str = ""
    config_error: str = ""

    @property
    def hides_jobs(self) -> bool:
        """Whether users do not see each other's jobs: each has to look for themselves."""
        return "jobs" in self.config.private_data


async def look_at_queue(agent: AgentConnection) -> Queue:
    """Return all jobs that the agent's user may see. Raises Unavailable."""
    nonce = secrets.token_hex(_NONCE_BYTES)
    said = await _asked(agent.queue(squeue_arguments(nonce)))
    _check("squeue", said)
    # A long queue takes a while to read.
    return await asyncio.to_thread(read_queue, said.stdout, nonce)


async def look_at_accounting(
    agent: AgentConnection, *, since: float, names: Iterable[str] = (), job_ids: Iterable[int] = ()
) -> Accounting:
    """Return what is recorded of jobs since `since` (epoch seconds) with these names or job numbers.

    Raises AccountingNotKept, and Unavailable.
    """
    nonce = secrets.token_hex(_NONCE_BYTES)
    said = await _asked(agent.account(sacct_arguments(nonce, since=since, names=names, job_ids=job_ids)))
    if said.exit_code != 0 and _NOT_KEPT in said.stderr:
        raise AccountingNotKept("the cluster keeps no accounts (AccountingStorageType)")
    _check("sacct", said)
    return await asyncio.to_thread(read_accounting, said.stdout, nonce)


async def look_at_cluster(agent: AgentConnection) -> ClusterState:
    """Return what the cluster is like. Raises Unavailable; accounting that is away fails nothing."""
    said = await _asked(agent.cluster())
    config_error = next((why for one in (said.config, said.partitions) if (why := _why_not_told(one))), "")
    answered = said.associations.exit_code == 0
    config = ClusterConfig(accounting=answered) if config_error else read_cluster_config(said.config.stdout)
    associations_error = ""
    if config.accounting and (why := _why_failed("sacctmgr", said.associations)) is not None:
        associations_error = why
    known = config.accounting and not associations_error
    return ClusterState(
        version=said.version.stdout.strip(),
        config=config,
        partitions=[] if config_error else read_partitions(said.partitions.stdout),
        associations=read_associations(said.associations.stdout) if known else None,
        associations_error=associations_error,
        config_error=config_error,
    )


def _why_not_told(said: CommandSaid) -> str | None:
    """Return why scontrol is not for this user, None where it answered. Raises Unavailable where it is for now."""
    why = _why_failed("scontrol", said)
    if why is None:
        return None
    missing = _MISSING.search(said.stderr) is not None
    if not missing and (said.exit_code is None or why_no_answer(said.stderr) is not None):
        raise Unavailable(why)
    return why


async def _asked(asking: Awaitable[T]) -> T:
    try:
        return await asking
    except Invalid as error:
        # SLURM's commands are not there (now): no word about any job either.
        raise Unavailable(error.message) from error


def _check(command: str, said: CommandSaid) -> None:
    if (why := _why_failed(command, said)) is not None:
        raise Unavailable(why)


def _why_failed(command: str, said: CommandSaid) -> str | None:
    """Return in words why this is no answer, None where it is one."""
    if said.exit_code == 0:
        return None
    words = last_words(said.stderr)
    if (why := why_no_answer(said.stderr)) is not None:
        return f"{why} ({words})"
    if said.exit_code is None:
        return words or f"{command} was ended before it had answered"
    return f"{command} failed: {words}" if words else f"{command} failed with exit code {said.exit_code}"
