"""Reaching agents: a pipe per kind of resource, one connection and one pool above them."""

from shared.pipes.connection import AgentConnection
from shared.pipes.errors import CannotConnect, PipeLost, Refused
from shared.pipes.opening import PipeOpener, PipeSettings, open_pipe
from shared.pipes.own_place import place_of_activities
from shared.pipes.pipe import Pipe
from shared.pipes.places import Place
from shared.pipes.pool import AgentPool
from shared.pipes.protocol.answers import (
    Cancellation,
    Claim,
    ClusterSaid,
    CommandSaid,
    End,
    Evidence,
    FetchEnd,
    FileSlice,
    FollowSeen,
    FollowTarget,
    Hello,
    LaunchOutcome,
    LaunchSeen,
    LeftOut,
    Measure,
    Removal,
    Revocation,
    SubmissionSeen,
)
from shared.pipes.protocol.lines import complete_lines
from shared.pipes.protocol.streams import FetchedFile, FetchStream, ReadStream
from shared.pipes.roots import JOBS, TASKS, roots_of
from shared.pipes.slurm_place import slurm_of
from shared.pipes.staged_files import StagedFile

__all__ = [
    "JOBS",
    "TASKS",
    "AgentConnection",
    "AgentPool",
    "Cancellation",
    "CannotConnect",
    "Claim",
    "ClusterSaid",
    "CommandSaid",
    "End",
    "Evidence",
    "FetchEnd",
    "FetchStream",
    "FetchedFile",
    "FileSlice",
    "FollowSeen",
    "FollowTarget",
    "Hello",
    "LaunchOutcome",
    "LaunchSeen",
    "LeftOut",
    "Measure",
    "Pipe",
    "PipeLost",
    "PipeOpener",
    "PipeSettings",
    "Place",
    "ReadStream",
    "Refused",
    "Removal",
    "Revocation",
    "StagedFile",
    "SubmissionSeen",
    "complete_lines",
    "open_pipe",
    "place_of_activities",
    "roots_of",
    "slurm_of",
]
