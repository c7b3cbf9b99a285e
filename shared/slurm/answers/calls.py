"""How SLURM's commands are called: the environment, and what a failed call means."""

import re

from shared.remote.common.slurm import QUERY_ENVIRONMENT

__all__ = ["QUERY_ENVIRONMENT", "last_words", "only_gone", "why_no_answer"]

_NO_ANSWER = (
    (re.compile(r"socket timed out|timed out on send|i/o operation", re.IGNORECASE), "SLURM did not answer in time"),
    # Before the controller, of which the same words about the network are said.
    (
        re.compile(
            r"slurm_persist_conn_open|persistinit|problem talking to the database|unable to connect to database",
            re.IGNORECASE,
        ),
        "SLURM's accounting cannot be reached",
    ),
    (
        re.compile(
            r"unable to contact slurm controller|zero bytes were transmitted or received|connection refused"
            r"|connection reset|transport endpoint is not connected|communication (?:connection|shutdown) failure"
            r"|(?:no route to host|network is unreachable)|slurm backup controller in standby mode"
            r"|unexpected msg type received|could not load configuration",
            re.IGNORECASE,
        ),
        "SLURM's controller cannot be reached",
    ),
    (
        re.compile(r"munge|protocol authentication error|authentication (?:error|credential)", re.IGNORECASE),
        "SLURM does not accept the credentials of this host (is munge running, are the clocks right?)",
    ),
    (
        re.compile(
            r"unable to process configuration file|could not establish a configuration source|cannot stat file"
            r"|dns srv lookup failed|fetch_config",
            re.IGNORECASE,
        ),
        "SLURM's configuration cannot be read",
    ),
)
_GONE = re.compile(r"invalid job id|already completing or completed|job/step already comple", re.IGNORECASE)
_PREFIX = re.compile(r"^\s*[\w.-]{1,40}: (?:error|fatal|warning)?:?\s*", re.ASCII)
_LONGEST_LINE = 400


def why_no_answer(stderr: str) -> str | None:
    """Return in plain words why a call got no answer from SLURM; None where the message says something else.

    A call without an answer says nothing about any job, and a submission may have taken effect in spite of it.
    """
    for pattern, words in _NO_ANSWER:
        if pattern.search(stderr):
            return words
    return None


def only_gone(stderr: str) -> bool:
    """Whether all that scancel complained of are jobs that are gone already."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    return bool(lines) and all(_GONE.search(line) for line in lines)


def last_words(stderr: str) -> str:
    """Return what a command complained of, in one line and without its name; empty where it said nothing."""
    lines = [_PREFIX.sub("", line).strip() for line in stderr.splitlines()]
    lines = [line for line in lines if line and not line.startswith("Try ")]
    return "; ".join(dict.fromkeys(lines[-2:]))[:_LONGEST_LINE]
