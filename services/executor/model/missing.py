"""What does not exist for a caller: the same words whether it is not there or not for the caller to see."""

from stoker.errors import NotFound

_ID_LENGTH = 26


def no_such_job(job_id: str) -> NotFound:
    """What to raise for a job."""
    return NotFound(f"There is no job {job_id}")


def no_such_profile(profile_id: str) -> NotFound:
    """What to raise for a profile."""
    return NotFound(f"There is no profile {profile_id}")


def no_such_environment(environment_id: str) -> NotFound:
    """What to raise for an environment."""
    return NotFound(f"There is no environment {environment_id}")


def no_such_activity(activity_id: str) -> NotFound:
    """What to raise for an activity."""
    return NotFound(f"There is no activity {activity_id}")


def check_id(text: str, missing: NotFound) -> None:
    """Raise `missing` for what no id looks like: not every text may be sent to a database."""
    if len(text) != _ID_LENGTH or not (text.isascii() and text.isalnum()):
        raise missing
