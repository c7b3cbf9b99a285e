"""An environment on every resource of the stack: made from a wheel, its task run, made again and removed."""

from pathlib import Path

import pytest

from stoker.clients import ExecutorClient
from stoker.contracts.environments import FINAL_ACTIVITY_STATES, Environment, EnvironmentFromWheel
from stoker.contracts.jobs import JobSubmit
from stoker.contracts.tasks import TaskRun
from stoker.errors import NotFound
from tests.over_http.address import StackAddress
from tests.over_http.place import Place
from tests.over_http.work import END_SECONDS, succeeds
from tests.waiting import until
from tests.workshop.packages import make_wheel, task_files

pytestmark = pytest.mark.anyio


async def settled(executor: ExecutorClient, environment_id: str) -> Environment:
    """The environment once its latest activity has ended."""

    async def over() -> bool:
        activity = (await executor.environment(environment_id)).activity
        return activity is not None and activity.state in FINAL_ACTIVITY_STATES

    await until(over, f"the end of what is done to environment {environment_id}", seconds=END_SECONDS)
    return await executor.environment(environment_id)


async def test_an_environment_is_made_used_made_again_and_removed(
    address: StackAddress, place: Place, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path, "some-tasks", "1.0", task_files("some_tasks"))
    wanted = EnvironmentFromWheel(profile_id=place.profile_id, file_name=wheel.name, content=wheel.read_bytes())
    async with address.executor() as executor:
        made = await settled(executor, (await executor.create_environment(wanted)).id)
        assert made.state == "ready", made
        run = TaskRun(environment_id=made.id, task="Look", zarr_urls=["/data/a", "/data/b"])
        job = await executor.submit(JobSubmit(profile_id=place.profile_id, task=run))
        await succeeds(executor, job)
        outputs = [result.output async for result in executor.results(job.id)]
        assert [one["image_list_updates"][0]["zarr_url"] for one in outputs] == ["/data/a", "/data/b"]
        await executor.deactivate_environment(made.id)
        assert (await settled(executor, made.id)).state == "inactive"
        await executor.reactivate_environment(made.id)
        assert (await settled(executor, made.id)).state == "ready"
        await executor.delete_environment(made.id)

        async def gone() -> bool:
            try:
                await executor.environment(made.id)
            except NotFound:
                return True
            return False

        await until(gone, "the environment is gone", seconds=END_SECONDS)
