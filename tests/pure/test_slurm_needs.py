import json
from typing import Any

import msgspec
import pytest

from shared.slurm.requests.gpus import count_gpus, count_gres, multiply_gpus, multiply_gres
from shared.slurm.requests.needs import UnitNeeds, merge_needs
from shared.slurm.requests.script import batch_script
from stoker.contracts.needs import SchedulingRequest
from stoker.contracts.resources import BatchingConfig, SlurmConfig, SlurmRunnerConfig
from stoker.errors import Invalid

BATCHING = {
    "target_cpus_per_job": 1,
    "max_cpus_per_job": 1,
    "target_mem_per_job": 200,
    "max_mem_per_job": 500,
    "target_num_jobs": 2,
    "max_num_jobs": 4,
}
DEFAULT = {"partition": "main", "cpus_per_task": 2, "mem": "100M", "constraint": "avx", "time": "1:00:00"}
GPU = {"partition": "gpu", "extra_lines": ["#SBATCH --gres=gpu:v100:1"]}


def merge(default: dict[str, Any] | None = None, gpu: dict[str, Any] | None = None, **request: Any) -> UnitNeeds:
    config = {"default_slurm_config": default or DEFAULT, "batching_config": BATCHING}
    if gpu is not None:
        config["gpu_slurm_config"] = gpu
    return merge_needs(
        msgspec.json.decode(json.dumps(config), type=SlurmRunnerConfig),
        msgspec.json.decode(json.dumps(request), type=SchedulingRequest),
    )


def wrong(*args: Any, **request: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        merge(*args, **request)
    return {error.path: error.message for error in caught.value.errors}


def test_the_default_configuration_holds_where_nothing_else_is_said() -> None:
    needs = merge()
    assert (needs.partition, needs.cpus, needs.memory_mb, needs.time_seconds) == ("main", 2, 100, 3600)
    assert needs.shebang_line == "#!/bin/sh"
    assert needs.warnings == []


def test_a_gpu_configuration_replaces_only_the_keys_that_were_written() -> None:
    needs = merge(gpu=GPU, needs={"needs_gpu": True})
    assert (needs.partition, needs.cpus, needs.memory_mb, needs.constraint) == ("gpu", 2, 100, "avx")
    assert (needs.gres, needs.gpus_per_unit, needs.one_at_a_time) == ("gpu:v100:1", 1, None)


def test_a_gpu_configuration_is_not_looked_at_by_a_job_that_needs_no_gpu() -> None:
    needs = merge(gpu=GPU)
    assert (needs.partition, needs.gres) == ("main", None)


def test_the_request_wins_over_both() -> None:
    asked = {
        "cpus_per_task": 4,
        "mem": "2G",
        "time": "UNLIMITED",
        "constraint": "b",
        "nodelist": "n1",
        "exclude": "n2",
    }
    needs = merge(gpu=GPU, needs={"needs_gpu": True, "gres": "gpu:a100:2", **asked})
    assert (needs.cpus, needs.memory_mb, needs.time_seconds) == (4, 2000, float("inf"))
    assert (needs.constraint, needs.nodelist, needs.exclude) == ("b", "n1", "n2")
    assert (needs.gres, needs.gpus_per_unit, needs.partition) == ("gpu:a100:2", 2, "gpu")


def test_extra_lines_are_kept_in_order_options_before_shell() -> None:
    default = DEFAULT | {"extra_lines": ["module load a", "#SBATCH --qos=low", "#SBATCH --nice=5 -H"]}
    needs = merge(default, extra_lines=["export B=1", "#SBATCH --licenses matlab:1"])
    assert needs.options == [("--qos=low",), ("--nice=5",), ("-H",), ("--licenses", "matlab:1")]
    assert needs.shell_lines == ["module load a", "export B=1"]


def test_a_line_or_an_option_that_is_there_twice_is_refused() -> None:
    default = DEFAULT | {"extra_lines": ["#SBATCH --qos=low", "module load a"]}
    assert "there already" in wrong(default, extra_lines=["module load a"])["extra_lines[0]"]
    message = wrong(default, extra_lines=["#SBATCH --qos=high"])["extra_lines"]
    assert "there already (jobs_runner_config.default_slurm_config.extra_lines); give it once" in message
    assert "give it once" in wrong(needs={"gres": "gpu:1"}, extra_lines=["#SBATCH --gres=gpu:2"])["extra_lines[0]"]


@pytest.mark.parametrize(
    "line",
    [
        "#SBATCH --output=/etc/x",
        "#SBATCH --outp=/etc/x",
        "#SBATCH -o/etc/x",
        "#SBATCH --array=1-1000",
        "#SBATCH --job-name=x",
        "#SBATCH -J x",
        "#SBATCH --comment=x",
        "#SBATCH --export=NONE",
        "#SBATCH --requeue",
        "#SBATCH --qos=a --mem=1G",
        "#SBATCH --nodes=3",
        "#SBATCH --signal=KILL@10",
        "#SBATCH --chdir=/",
        "#SBATCH --propagate=ALL",
        "#SBATCH --cpus-per-gpu=8",
        "#SBATCH --mem-per-gpu=8",
        "#SBATCH --clusters=other",
    ],
)
def test_options_that_stoker_sets_itself_are_refused(line: str) -> None:
    assert "Stoker sets" in wrong(extra_lines=[line])["extra_lines[0]"]


@pytest.mark.parametrize(
    "line",
    [
        "a\nb",
        "a\rb",
        "a\0b",
        "#SBATCH",
        "#SBATCH hetjob",
        "#SBATCH --qos='a b'",
        "#SBATCH --qos=a # --mem=1",
        "#SBATCH --qos=a\\",
        "#SBATCH--qos=a",
        "#PBS -l nodes=4",
        "#BSUB -n 4",
        "#SBATCH --time",
    ],
)
def test_lines_that_are_more_or_other_than_one_clear_line_are_refused(line: str) -> None:
    assert set(wrong(extra_lines=[line])) == {"extra_lines[0]"}


def test_an_option_with_a_field_of_its_own_counts_as_that_field() -> None:
    needs = merge(extra_lines=["#SBATCH --time=10", "#SBATCH -p long -w node[1-2]"])
    assert (needs.time_seconds, needs.partition, needs.nodelist) == (600, "long", "node[1-2]")
    assert needs.options == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mem", "3g"),
        ("mem", -1),
        ("time", "soon"),
        ("gres", "gpu:1 --mem=9"),
        ("gpus", "many"),
        ("constraint", "a b"),
        ("nodelist", "/etc/passwd"),
        ("exclude", "n1#"),
        ("partition", "a\nb"),
    ],
)
def test_every_wrong_value_is_named(field: str, value: object) -> None:
    if field == "partition":
        assert list(wrong(DEFAULT | {field: value})) == ["jobs_runner_config.default_slurm_config.partition"]
    else:
        assert list(wrong(needs={field: value})) == [f"needs.{field}"]


def test_all_wrong_values_are_told_at_once() -> None:
    found = wrong(needs={"mem": "x", "time": "y"}, account="a b", unit_time="0", worker_init="\x07")
    assert set(found) == {"needs.mem", "needs.time", "account", "unit_time", "worker_init"}


@pytest.mark.parametrize("site", [{"account": "site"}, {"extra_lines": ["#SBATCH --account=site"]}])
def test_the_configurations_account_holds_unless_the_job_names_one(site: dict[str, Any]) -> None:
    default = DEFAULT | site
    assert merge(default).account == "site"
    assert merge(default).warnings == []
    assert merge(default, account="lab").account == "lab"
    assert merge(default, extra_lines=["#SBATCH -A lab"]).account == "lab"
    assert merge(default, {"account": "gpus"}, needs={"needs_gpu": True}).account == "gpus"


@pytest.mark.parametrize(
    ("request_", "path"),
    [({"account": "lab"}, "account"), ({"extra_lines": ["#SBATCH --account=lab"]}, "extra_lines")],
)
def test_an_administrator_can_keep_jobs_from_naming_an_account(request_: dict[str, Any], path: str) -> None:
    config = SlurmRunnerConfig(
        default_slurm_config=msgspec.convert(DEFAULT | {"account": "site"}, SlurmConfig),
        batching_config=msgspec.convert(BATCHING, BatchingConfig),
        prevent_job_accounts=True,
    )
    assert merge_needs(config, SchedulingRequest()).account == "site"
    with pytest.raises(Invalid) as caught:
        merge_needs(config, msgspec.convert(request_, SchedulingRequest))
    assert [(error.path, "may not name an account" in error.message) for error in caught.value.errors] == [
        (path, True)
    ]


def test_lines_and_options_of_the_gpu_configuration_take_the_place_of_the_defaults() -> None:
    default = DEFAULT | {"extra_lines": ["#SBATCH --qos=normal", "module load a"]}
    gpu = {"partition": "gpu", "extra_lines": ["#SBATCH --qos=gpu", "#SBATCH --gres=gpu:1"]}
    needs = merge(default, gpu, needs={"needs_gpu": True}, extra_lines=["export B=1"])
    assert (needs.options, needs.shell_lines, needs.gres) == ([("--qos=gpu",)], ["export B=1"], "gpu:1")
    without = merge(default, {"partition": "gpu"}, needs={"needs_gpu": True})
    assert (without.options, without.shell_lines) == ([("--qos=normal",)], ["module load a"])
    assert merge(default, gpu, needs={"needs_gpu": False}).options == [("--qos=normal",)]


@pytest.mark.parametrize(
    ("before", "after", "gres", "gpus"),
    [
        ({"gpus": "1"}, {"gres": "gpu:v100:1"}, "gpu:v100:1", None),
        ({"gres": "gpu:1"}, {"gpus": "v100:1"}, None, "v100:1"),
        ({"gres": "lustre"}, {"gpus": "1"}, "lustre", "1"),
        ({"gpus": "1"}, {"extra_lines": ["#SBATCH --gres=gpu:1"]}, "gpu:1", None),
    ],
)
def test_the_gpu_configuration_says_how_gpus_are_asked_for(
    before: dict[str, Any], after: dict[str, Any], gres: str | None, gpus: str | None
) -> None:
    needs = merge(DEFAULT | before, after, needs={"needs_gpu": True})
    assert (needs.gres, needs.gpus) == (gres, gpus)


def test_gpus_in_two_ways_are_refused_with_both_places() -> None:
    message = wrong(gpu=GPU, needs={"needs_gpu": True, "gpus": "2"})["needs.gpus"]
    assert "gpu_slurm_config.extra_lines" in message


@pytest.mark.parametrize(
    "line", ["--gpus-per-node=2", "--gpus-per-task=1", "--tres-per-task=gres/gpu:1", "--gpus-per-n=1"]
)
def test_gpus_that_cannot_be_multiplied_make_units_run_one_at_a_time(line: str) -> None:
    assert line.partition("=")[0] in merge(extra_lines=[f"#SBATCH {line}"]).one_at_a_time


@pytest.mark.parametrize(
    ("line", "three"),
    [
        ("--licenses=matlab:2,comsol@server", "--licenses=matlab:6,comsol@server:3"),
        ("--licenses matlab", "--licenses=matlab:3"),
        ("-L matlab:1", "--licenses=matlab:3"),
        ("-Lmatlab:1", "--licenses=matlab:3"),
        ("--lic=matlab:1", "--licenses=matlab:3"),
        ("--tmp=10G", "--tmp=30G"),
        ("--tmp 500", "--tmp=1500"),
        ("--nice=5", "--nice=5"),
        ("--gres=lscratch:10", "--gres=lscratch:30"),
        ("--gres=shard:2,gpu:1", "--gres=shard:6,gpu:3"),
        ("--gres=lscratch:10G", "--gres=lscratch:30G"),
        ("--gres=nvme:fast:2", "--gres=nvme:fast:6"),
        ("--gres=nvme:fast", "--gres=nvme:fast:3"),
    ],
)
def test_what_a_unit_asks_for_is_multiplied_by_the_units_at_once(line: str, three: str) -> None:
    unit = merge(extra_lines=[f"#SBATCH {line}"])
    assert unit.one_at_a_time is None
    script = batch_script(unit, parallel=3, python="/p", job_folder="/j").splitlines()
    assert f"#SBATCH {three}" in script
    # Names are passed on in full: another version may have one more that begins so.
    line = line.replace("--lic=", "--licenses=")
    assert f"#SBATCH {line}" in batch_script(unit, parallel=1, python="/p", job_folder="/j").splitlines()


@pytest.mark.parametrize(
    "line", ["--licenses=a:1|b:1", "--licenses=a;b", "--tmp=lots", "--bb=capacity=1G", "--gres=a=1"]
)
def test_what_cannot_be_multiplied_makes_units_run_one_at_a_time(line: str) -> None:
    assert "cannot be" in merge(extra_lines=[f"#SBATCH {line}"]).one_at_a_time


@pytest.mark.parametrize("mem", [0, "0"])
def test_all_memory_of_a_node_is_for_one_unit_at_a_time(mem: int | str) -> None:
    unit = merge(needs={"mem": mem})
    assert "all memory of its node" in unit.one_at_a_time
    assert "#SBATCH --mem=0" in batch_script(unit, parallel=1, python="/p", job_folder="/j").splitlines()


def test_gpus_that_cannot_be_counted_make_units_run_one_at_a_time() -> None:
    assert merge(needs={"gres": "gpu=2"}).one_at_a_time


def test_several_nodes_make_units_run_one_at_a_time() -> None:
    assert "2 nodes" in merge(needs={"nodes": 2}).one_at_a_time


def test_a_gpu_that_the_resource_does_not_know_of_is_a_warning() -> None:
    assert any("needs_gpu" in warning for warning in merge(needs={"needs_gpu": True}).warnings)


def test_memory_that_nobody_asked_for_is_a_warning() -> None:
    needs = merge({"partition": "main"})
    assert needs.memory_mb is None
    assert len(needs.warnings) == 1


@pytest.mark.parametrize(
    ("text", "count", "three"),
    [
        ("gpu", 1, "gpu:3"),
        ("gpu:2", 2, "gpu:6"),
        ("gpu:v100", 1, "gpu:v100:3"),
        ("gpu:v100:1", 1, "gpu:v100:3"),
        ("gpu:v100:1,nvme:100G", 1, "gpu:v100:3,nvme:300G"),
        ("gpu:v100:2(S:0,1),gpu:a100:1", 3, "gpu:v100:6(S:0,1),gpu:a100:3"),
        ("lustre", 0, "lustre:3"),
    ],
)
def test_gres_is_counted_and_multiplied(text: str, count: int, three: str) -> None:
    assert count_gres(text) == count
    assert multiply_gres(text, 3) == three


@pytest.mark.parametrize(
    ("text", "count", "three"), [("1", 1, "3"), ("v100:2", 2, "v100:6"), ("v100:1,a100:1", 2, "v100:3,a100:3")]
)
def test_gpus_are_counted_and_multiplied(text: str, count: int, three: str) -> None:
    assert count_gpus(text) == count
    assert multiply_gpus(text, 3) == three
