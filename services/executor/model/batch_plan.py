"""The division of a job's units into batches, however it was found."""

import msgspec

from stoker.contracts.jobs import PlannedBatch


class BatchPlan(msgspec.Struct, frozen=True):
    """The batches of a job and what its submitter should know about them."""

    batches: list[PlannedBatch]
    warnings: list[str] = []
