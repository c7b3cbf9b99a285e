"""Whether what a unit wrote into its out file is what its kind of job may write; nobody judges commands of users."""

from typing import Any

import msgspec

from services.executor.building.results import read_result
from services.executor.planning.growth import Growth, shape_of
from services.executor.repositories.rows import JobRow
from services.executor.repositories.stored_submit import submit_of
from services.executor.repositories.units import Verify
from services.executor.tasks.outputs import read_init_output, read_task_output
from stoker.contracts.jobs import Reason
from stoker.errors import Invalid


def verifier_of(job: JobRow) -> Verify | None:
    """What judges the outputs of a job's units; None where they are taken as they are."""
    if job.kind == "activity":
        return _of_builder
    phases = submit_of(job).phases
    if not phases:
        return None

    def of_task(index: int, output: bytes) -> Reason | None:
        try:
            if len(phases) > 1 and index == 0:
                count = len(read_init_output(decoded(output)))
                if count:
                    shape_of(job, Growth(phase=1), count, 1)
            else:
                read_task_output(decoded(output))
        except Invalid as error:
            words = "; ".join(f"{one.path} {one.message}" for one in error.errors)
            return Reason(code="invalid_output", text=f"{error.message}: {words}" if words else error.message)
        return None

    return of_task


def decoded(output: bytes) -> Any:
    """The JSON value of an out file, None where there was none."""
    return msgspec.json.decode(output) if output else None


def _of_builder(index: int, output: bytes) -> Reason | None:
    del index
    found = read_result(decoded(output))
    return found if isinstance(found, Reason) else None
