"""What a package's manifest and the users' configurations say, seen in SLURM and by the units, either way."""

import pytest

from stoker.contracts.environments import EnvironmentFromPypi
from stoker.contracts.jobs import JobSubmit
from stoker.contracts.tasks import TaskRun
from tests.servers.slurm.accounts import DEFAULT_ACCOUNT, NARROW_ACCOUNT
from tests.workshop.cluster_builds import created, settled
from tests.workshop.cluster_stack import ClusterStackSite
from tests.workshop.packages import manifest, task_files

pytestmark = pytest.mark.anyio

SHOWING = """\
import argparse, json, os
parser = argparse.ArgumentParser()
parser.add_argument("--args-json")
parser.add_argument("--out-json")
options = parser.parse_args()
with open(options.args_json) as file:
    arguments = json.load(file)
print(os.environ.get("FROM_PACKAGE", "-"), os.environ["FRACTAL_CACHE_DIR"])
if "zarr_dir" in arguments:
    images = [{"zarr_url": f"/data/{n % 3}"} for n in range(4)]
    with open(options.out_json, "w") as file:
        json.dump({"parallelization_list": images}, file)
"""
TASK = {
    "name": "Both",
    "executable_non_parallel": "show.py",
    "executable_parallel": "show.py",
    "meta_non_parallel": {"mem": "120M", "needs_gpu": "true"},
    "meta_parallel": {
        "cpus_per_task": "1",
        "mem": 110.0,
        "extra_lines": ["#SBATCH --nice=5", "export FROM_PACKAGE=yes"],
        "tasks_per_job": 2,
        "parallel_tasks_per_job": 1,
        "colour": "red",
    },
}


async def test_a_package_is_run_as_its_manifest_and_the_configurations_say(site: ClusterStackSite) -> None:
    cluster, ada = site.cluster, site.cluster.users.ada
    files = task_files("said_tasks", manifest(TASK)) | {"said_tasks/show.py": SHOWING}
    site.index.add("said-tasks", "1.0", files)
    cache = ada.home / "people" / "ada"
    default = {"account": NARROW_ACCOUNT}
    gpu = {"extra_lines": ["#SBATCH --gres=gpu:v100:1", "#SBATCH --nice=3"]}
    (profile_id,) = await site.profiles_on(
        ada,
        profile={"cache_dir": str(cache)},
        jobs_runner_config={"default_slurm_config": default, "gpu_slurm_config": gpu},
    )
    ready = await settled(
        site, (await created(site, EnvironmentFromPypi(profile_id=profile_id, package="said-tasks"))).id
    )
    assert ready.state == "ready", (ready, site.stack.logs())
    async with site.stack.executor() as executor:
        [task] = [task async for task in executor.tasks(environment_id=ready.id)]
        assert task.warnings == ["meta_parallel.colour is left out: it has no meaning here"]
        run = TaskRun(environment_id=ready.id, task="Both", zarr_dir="/data")
        job = await executor.submit(JobSubmit(profile_id=profile_id, task=run))
    assert (await site.until(job.id)).state == "succeeded", site.stack.logs()
    batches = await site.batches(job.id)
    # Of the init's four elements two are the same.
    assert [(batch.unit_count, batch.parallel) for batch in batches] == [(1, 1), (2, 1), (1, 1)]
    shown = [cluster.job(str(batch.native_id)) for batch in batches]
    names = ("Partition", "Account", "Nice", "MinMemoryNode")
    assert [tuple(one[name] for name in names) for one in shown] == [
        ("gpu", NARROW_ACCOUNT, "3", "120M"),
        ("main", NARROW_ACCOUNT, "5", "110M"),
        ("main", NARROW_ACCOUNT, "5", "110M"),
    ]
    assert [await site.log(job.id, unit) for unit in range(4)] == [f"- {cache}\n", *[f"yes {cache}\n"] * 3]
    assert cache.stat().st_uid == ada.uid

    other = await site.run(ada, ["true"], profile_id=profile_id, account=DEFAULT_ACCOUNT)
    (batch,) = await site.batches(other.id)
    assert cluster.job(str(batch.native_id))["Account"] == DEFAULT_ACCOUNT
