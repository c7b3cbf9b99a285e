"""`queue`, `account`, `cluster`, `scancel`: what SLURM's commands say, told as they said it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable

from shared.remote.agent import commands
from shared.remote.agent.arguments import count, strings
from shared.remote.agent.errors import RequestError, invalid
from shared.remote.agent.exchange import Exchange
from shared.remote.common.slurm import QUERY_ENVIRONMENT

QUERIES = {"queue": "squeue", "account": "sacct"}
LARGEST_OUTPUT_BYTES = 64 * 1024 * 1024
LARGEST_CLUSTER_OUTPUT_BYTES = 4 * 1024 * 1024
DEFAULT_SECONDS = 30
ASSOCIATIONS_SECONDS = 8
"""For sacctmgr, whose answer is good to have: an accounting that hangs holds up nobody who wants to know the rest."""

_NATIVE_ID = re.compile(r"\d{1,12}(?:_(?:\d{1,9}|\[[\d,-]{1,100000}\]))?", re.ASCII)
_ASSOCIATION = "Cluster,Account,Partition,QOS,DefaultQOS,MaxJobs,MaxSubmitJobs,MaxWall"


def query(verb: str, request: dict[str, object], exchange: Exchange) -> None:
    """Run the verb `queue` or `account`: the output as a stream, exit code and standard error at its end."""
    _tell([commands.program(QUERIES[verb]), *_arguments(request)], request, exchange)


def scancel(request: dict[str, object], exchange: Exchange) -> None:
    """Run the verb: one scancel for all."""
    native_ids = strings(request, "native_ids")
    for one in native_ids:
        if not _NATIVE_ID.fullmatch(one):
            raise invalid(f"not a job of SLURM: {one!r}", "native_ids")
    if not native_ids:
        raise invalid("native_ids is empty", "native_ids")
    _tell([commands.program("scancel"), "--quiet", *native_ids], request, exchange)


def cluster(user: str, request: dict[str, object], exchange: Exchange) -> None:
    """Run the verb: what the cluster is like, by four commands at once. The stream is a JSON object."""
    commands.program("sbatch")
    wanted = {
        "version": ["sbatch", "--version"],
        "config": ["scontrol", "show", "config"],
        # Partitions may be hidden, or closed to whoever asks here and open to those who submit.
        "partitions": ["scontrol", "--all", "--oneliner", "show", "partition"],
        "associations": ["sacctmgr", "--readonly", "--noheader", "--parsable2", "show", "assoc", "where"],
    }
    wanted["associations"] += [f"user={user}", f"format={_ASSOCIATION}"]
    exchange.begin({})
    said: dict[str, object] = {}
    seconds = _seconds(request)
    limits = {"associations": min(seconds, ASSOCIATIONS_SECONDS)}
    threads = [
        threading.Thread(target=_note, args=(said, name, command, limits.get(name, seconds), exchange), daemon=True)
        for name, command in wanted.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exchange.pause(0)
    exchange.send(json.dumps(said).encode())
    exchange.finish({"exit_code": 0, "stderr": ""})


def _note(said: dict[str, object], name: str, command: list[str], seconds: int, exchange: Exchange) -> None:
    pieces: list[bytes] = []
    try:
        words = [commands.program(command[0]), *command[1:]]
        ended = _run(words, seconds, LARGEST_CLUSTER_OUTPUT_BYTES, pieces.append, exchange)
    except RequestError as error:
        ended = commands.Ended(None, error.message)
    except OSError as error:
        ended = commands.Ended(None, f"{command[0]} cannot be started: {error.strerror}")
    stdout = b"".join(pieces).decode("utf-8", "replace")
    said[name] = {"exit_code": ended.exit_code, "stdout": stdout, "stderr": ended.stderr}


def _tell(command: list[str], request: dict[str, object], exchange: Exchange) -> None:
    seconds = _seconds(request)
    exchange.begin({})
    try:
        ended = _run(command, seconds, LARGEST_OUTPUT_BYTES, exchange.send, exchange)
    except OSError as error:
        ended = commands.Ended(None, f"{command[0]} cannot be started: {error.strerror}")
    exchange.finish({"exit_code": ended.exit_code, "stderr": ended.stderr})


def _run(
    command: list[str], seconds: int, limit_bytes: int, take: Callable[[bytes], None], exchange: Exchange
) -> commands.Ended:
    environment = {**commands.clean_environment(), **QUERY_ENVIRONMENT}
    return commands.run(
        command,
        environment=environment,
        timeout_seconds=seconds,
        limit_bytes=limit_bytes,
        take=take,
        exchange=exchange,
    )


def _arguments(request: dict[str, object]) -> list[str]:
    arguments = strings(request, "arguments")
    if any("\0" in one for one in arguments):
        raise invalid("arguments hold a null byte", "arguments")
    return arguments


def _seconds(request: dict[str, object]) -> int:
    return count(request, "timeout_seconds", DEFAULT_SECONDS)
