"""Names inside a job folder, and the exit codes of a runner that did not run its batch."""

from __future__ import annotations

FORMAT = 1
"""Of batch.json; a runner refuses what it does not know."""

RUNNER = "runner.py"
BATCHES = "batches"

BATCH = "batch.json"
UNITS = "units.jsonl"
EVENTS = "events.jsonl"
RESULTS = "results.jsonl"
CLAIM = "claim"
END = "end.json"
STOP = "stop"
RUNNER_LOG = "runner.log"
LOGS = "logs"
RESERVE_PREFIX = "reserve."
ALIVE_PREFIX = "alive."
LOCAL_PREFIX = "local-"
"""Of the native ids of launches on the agent's own machine, each of which leaves a file of its own."""
LOST_CLAIM_PREFIX = "lost-claim."

CANNOT_START_EXIT = 78
LOST_CLAIM_EXIT = 79
"""Reserved: says that another launch, or a revocation, was first. Never a verdict about the batch."""

MARK_VARIABLE = "STOKER_MARK"
"""In the environment of every unit; its value is the batch's mark."""
UNIT_VARIABLE = "STOKER_UNIT"
