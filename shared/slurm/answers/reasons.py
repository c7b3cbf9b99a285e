"""Why SLURM lets a job wait, in plain words."""

import re

_WORDS = {
    "None": "SLURM has not looked at it yet",
    "Priority": "jobs with a higher priority are ahead of it",
    "Resources": "it is next: waiting for enough free CPUs, memory or GPUs",
    "Dependency": "waiting for a job that it depends on",
    "DependencyNeverSatisfied": "the job that it depends on did not end as it should: it will never start",
    "BeginTime": "not to be started yet: its earliest start, or the pause after a requeue, has not come",
    "Cleaning": "its earlier run is still being cleaned up",
    "JobArrayTaskLimit": "as many batches of this job run as may run at once",
    "JobHeldUser": "held by its user: it starts after `scontrol release`",
    "JobHeldAdmin": "held by an administrator: it starts when an administrator releases it",
    "JobLaunchFailure": "it could not be started on its node",
    "BadConstraints": "no node has what is asked for: it will never start as it is",
    "InvalidAccount": "its account is not valid: it will never start as it is",
    "InvalidQOS": "its QOS is not valid: it will never start as it is",
    "AccountNotAllowed": "its account may not use this partition",
    "QOSNotAllowed": "its QOS may not be used in this partition",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition takes jobs but does not start them now",
    "PartitionNodeLimit": "it asks for more nodes or CPUs than its partition allows: it will not start as it is",
    "PartitionTimeLimit": "its time limit is above that of its partition: it will not start as it is",
    "PartitionConfig": "it asks for more than its partition can give: it will not start as it is",
    "NodeDown": "a node that it needs is down",
    "ReqNodeNotAvail": "a node that it needs is not available now (down, drained or reserved)",
    "Reservation": "waiting for its reservation to begin",
    "ReservationDeleted": "its reservation was deleted: it will not start as it is",
    "Licenses": "waiting for a licence",
    "FrontEndDown": "no front-end node is available",
    "SystemFailure": "SLURM had a failure while it looked after it",
    "InactiveLimit": "it was inactive for too long",
    "NonZeroExitCode": "it ended with an exit code other than 0",
    "OutOfMemory": "it ran out of memory",
    "TimeLimit": "it reached its time limit",
    "RaisedSignal": "it was ended by a signal",
    "NodeFail": "its node failed",
    "WaitingForScheduling": "SLURM has not looked at it yet",
    "MaxRequeue": "it was requeued as often as the cluster allows",
    "QOSJobLimit": "the limit of jobs of its QOS is reached",
    "QOSResourceLimit": "the limit of resources of its QOS is reached",
    "QOSTimeLimit": "the limit of time of its QOS is reached",
    "QOSUsageThreshold": "the usage that its QOS requires is not reached",
    "AssociationJobLimit": "the limit of jobs of its account or user is reached",
    "AssociationResourceLimit": "the limit of resources of its account or user is reached",
    "AssociationTimeLimit": "the limit of time of its account or user is reached",
    "BurstBufferResources": "waiting for space in the burst buffer",
    "BurstBufferStageIn": "its files are being brought into the burst buffer",
    "DeadLine": "it could no longer end before its deadline",
    "Prolog": "its node is being prepared",
}

# AssocMaxJobsLimit, AssocGrpCpuLimit, QOSMaxJobsPerUserLimit, QOSMaxGRESPerUser and about a hundred more.
_LIMIT = re.compile(
    r"(?P<of>QOS|Assoc)(?P<kind>Max|Grp|Min)(?P<what>[A-Za-z]+?)(?P<per>PerUser|PerAccount|PerJob|PerNode|PU|PA)?"
    r"(?P<limit>Limit)?",
    re.ASCII,
)
_OF = {"QOS": "the QOS", "Assoc": "the account or user"}
_PER = {
    "PerUser": " per user",
    "PU": " per user",
    "PerAccount": " per account",
    "PA": " per account",
    "PerJob": " per job",
    "PerNode": " per node",
}
_WHAT = (
    ("SubmitJob", "queued jobs"),
    ("Job", "running jobs"),
    ("CpuRunMin", "CPU time of running jobs"),
    ("CPURunMin", "CPU time of running jobs"),
    ("RunMin", "reserved time of running jobs"),
    ("CpuMin", "CPU time"),
    ("CPUMin", "CPU time"),
    ("Minutes", "time"),
    ("Cpu", "CPUs"),
    ("CPU", "CPUs"),
    ("Node", "nodes"),
    ("Mem", "memory"),
    ("GRES", "GPUs and other devices"),
    ("Gres", "GPUs and other devices"),
    ("Wall", "run time"),
    ("Billing", "billing units"),
    ("License", "licences"),
    ("Energy", "energy"),
    ("BB", "burst buffer space"),
)
_LONGEST = 200


def pending_reason(reason: str) -> str:
    """Return SLURM's reason (squeue's %r) in words, with SLURM's own word after them. Never raises."""
    text = reason.strip()[:_LONGEST]
    head, _, details = text.partition(",")
    head = head.strip("() ")
    details = details.strip("() ")
    words = _WORDS.get(head) or _limit(head)
    if words is None:
        return f"SLURM says: {text}" if text else _WORDS["None"]
    if details:
        words = f"{words}; {details}"
    return words if head == "None" else f"{words} ({head})"


def limit_refusal(limit: str) -> str:
    """Say of a limit that sbatch named (QOSMaxCpuPerUserLimit) that a job is above it all by itself. Never raises."""
    found = _LIMIT.fullmatch(limit)
    if found is None:
        return f"a limit of the cluster does not allow it: {limit[:_LONGEST]}"
    verb = "less" if found["kind"] == "Min" else "more"
    per = _PER.get(found["per"] or "", "")
    return f"it asks for {verb} than {_OF[found['of']]} allows: {_what(found)}{per}"


def _what(found: re.Match[str]) -> str:
    return next((words for part, words in _WHAT if part in found["what"]), found["what"])


def _limit(head: str) -> str | None:
    found = _LIMIT.fullmatch(head)
    if found is None:
        return None
    what = _what(found)
    if found["kind"] == "Min":
        return f"it asks for less than {_OF[found['of']]} requires: {what}{_PER.get(found['per'] or '', '')}"
    # What one job asks for does not shrink while it waits.
    ending = ": it will not start as it is" if found["per"] == "PerJob" else ""
    return f"the limit of {_OF[found['of']]} on {what}{_PER.get(found['per'] or '', '')} is reached{ending}"
