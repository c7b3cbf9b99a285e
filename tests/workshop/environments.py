"""Waiting for what is done to environments, and what it said."""

from stoker.clients.executor import ExecutorClient
from stoker.contracts.environments import FINAL_ACTIVITY_STATES, Environment
from stoker.errors import NotFound
from tests.waiting import until


async def settled(client: ExecutorClient, environment_id: str) -> Environment:
    """The environment once its latest activity has ended."""

    async def over() -> bool:
        activity = (await client.environment(environment_id)).activity
        return activity is not None and activity.state in FINAL_ACTIVITY_STATES

    await until(over, f"the end of what is done to environment {environment_id}", seconds=180)
    return await client.environment(environment_id)


async def gone(client: ExecutorClient, environment_id: str) -> None:
    """Return when there is no such environment any more."""

    async def absent() -> bool:
        try:
            await client.environment(environment_id)
        except NotFound:
            return True
        return False

    await until(absent, f"the end of environment {environment_id}")


async def log_of(client: ExecutorClient, activity_id: str) -> str:
    """All that an activity has said."""
    return b"".join([part async for part in client.activity_log(activity_id)]).decode()
