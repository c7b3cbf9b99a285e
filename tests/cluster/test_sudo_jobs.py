"""Jobs on a real SLURM through sudo, by services of an unprivileged user."""

import pytest

from tests.workshop.sudo_site import SudoSite

pytestmark = pytest.mark.anyio

WRITES = 'id -un > who-{unit}; echo "unit {unit} of $(id -un)"; echo \'{"n": {args.n}}\' > {out_json}'


async def test_every_field_of_the_configuration_has_its_effect(sudo_site: SudoSite) -> None:
    cluster, ada = sudo_site.cluster, sudo_site.cluster.users.ada
    fields = {
        "cpus_per_task": 2,
        "mem": "300M",
        "constraint": "fast",
        "exclude": "n2",
        "nodelist": "n1",
        "time": "00:20:00",
        "extra_lines": ["#SBATCH --nice=7", "export FROM_LINES=yes"],
        "shebang_line": "#!/bin/bash",
    }
    profile = await sudo_site.profile_on(
        ada,
        jobs_runner_config={
            "default_slurm_config": fields,
            "batching_config": {"target_cpus_per_job": 4, "max_cpus_per_job": 4, "max_mem_per_job": 2000},
            "user_local_exports": {"MODELS": "models/here"},
        },
    )
    script = 'env; [ -n "$BASH_VERSION" ] || true; sleep 2'
    job = await sudo_site.submit(
        ada,
        ["sh", "-c", script],
        2,
        profile_id=profile,
        account="narrow",
        worker_init="export FROM_INIT='a b'\nexport SHELL_WAS=$BASH_VERSION",
        tasks_per_job=2,
        parallel_tasks_per_job=2,
    )
    await sudo_site.until(job.id, "running")
    (batch,) = await sudo_site.batches(job.id)
    assert batch.native_id is not None
    shown = cluster.job(batch.native_id)
    assert {
        name: shown[name] for name in ("Partition", "NodeList", "Features", "ExcNodeList", "Account", "TimeLimit")
    } == {
        "Partition": "main",
        "NodeList": "n1",
        "Features": "fast",
        "ExcNodeList": "n2",
        "Account": "narrow",
        "TimeLimit": "00:20:00",
    }
    assert (shown["NumCPUs"], shown["CPUs/Task"], shown["MinMemoryNode"], shown["Nice"]) == ("4", "4", "600M", "7")
    assert shown["Requeue"] == "0"
    assert (await sudo_site.until(job.id)).state == "succeeded"
    environment = dict(line.split("=", 1) for line in (await sudo_site.log(job.id, 1)).splitlines() if "=" in line)
    cache = environment["STOKER_CACHE_DIR"]
    assert cache.startswith(f"{ada.home}/")
    assert environment["FRACTAL_CACHE_DIR"] == cache
    assert environment["MODELS"] == f"{cache}/models/here"
    assert (environment["FROM_LINES"], environment["FROM_INIT"]) == ("yes", "a b")
    assert environment["SHELL_WAS"].startswith("5.")
    assert (environment["STOKER_CPUS"], environment["HOME"]) == ("2", str(ada.home))
    assert not [name for name in environment if name.startswith("STOKER_") and "KEY" in name]


async def test_memory_may_be_asked_for_per_cpu(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    config = {"use_mem_per_cpu": True, "cpus_per_task": 3, "mem": 300}
    batching = {"target_cpus_per_job": 3, "max_cpus_per_job": 3, "target_mem_per_job": 300}
    profile = await sudo_site.profile_on(
        ada, jobs_runner_config={"default_slurm_config": config, "batching_config": batching}
    )
    job = await sudo_site.run(ada, ["true"], profile_id=profile)
    (batch,) = await sudo_site.batches(job.id)
    shown = sudo_site.cluster.job(str(batch.native_id))
    assert (job.state, shown["MinMemoryCPU"], shown["NumCPUs"]) == ("succeeded", "100M", "3")


async def test_a_gpu_overlay_erases_nothing_and_each_slot_sees_its_own_gpus(sudo_site: SudoSite) -> None:
    """The users' own GPU configuration asks for them in extra lines: then units run one at a time."""
    cluster, ada = sudo_site.cluster, sudo_site.cluster.users.ada
    show = ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 1"]
    needs = {"needs_gpu": True, "mem": "120M"}
    job = await sudo_site.run(ada, show, 2, needs=needs, tasks_per_job=2, parallel_tasks_per_job=1)
    (batch,) = await sudo_site.batches(job.id)
    shown = cluster.job(str(batch.native_id))
    assert (job.state, shown["Partition"], shown["NumCPUs"], shown["MinMemoryNode"]) == (
        "succeeded",
        "gpu",
        "1",
        "120M",
    )
    assert "gres/gpu:v100=1" in shown["TRES"]

    batching = {"target_cpus_per_job": 2, "max_cpus_per_job": 2, "target_num_jobs": 1, "max_num_jobs": 1}
    gpu = {"extra_lines": [], "gres": "gpu:v100:2"}
    profile = await sudo_site.profile_on(
        ada, jobs_runner_config={"gpu_slurm_config": gpu, "batching_config": batching}
    )
    job = await sudo_site.run(ada, show, 2, profile_id=profile, needs={"needs_gpu": True})
    (batch,) = await sudo_site.batches(job.id)
    assert (job.state, batch.parallel) == ("succeeded", 2)
    assert "gres/gpu:v100=4" in cluster.job(str(batch.native_id))["TRES"]
    told = {(await sudo_site.log(job.id, unit)).strip() for unit in range(2)}
    assert told == {"0,1", "2,3"}


async def test_several_nodes_belong_to_one_unit(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    job = await sudo_site.run(ada, ["sh", "-c", "echo $SLURM_JOB_NUM_NODES"], needs={"nodes": 2})
    assert (job.state, await sudo_site.log(job.id)) == ("succeeded", "2\n")


async def test_units_run_as_steps_where_the_site_wants_it(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    batching = {"target_cpus_per_job": 2, "max_cpus_per_job": 2, "target_num_jobs": 1, "max_num_jobs": 1}
    profile = await sudo_site.profile_on(
        ada, jobs_runner_config={"units_as_steps": True, "batching_config": batching}
    )
    job = await sudo_site.run(ada, ["sh", "-c", "echo step $SLURM_STEP_ID"], 3, profile_id=profile)
    assert job.state == "succeeded", await sudo_site.units(job.id)
    steps = {(await sudo_site.log(job.id, unit)).strip() for unit in range(3)}
    assert steps == {"step 0", "step 1", "step 2"}
    assert len(sudo_site.cluster.commands.calls("srun")) >= 3
