"""Where, and as whom, environments are made on each kind of resource."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.executor.building.slurm_builds import slurm_build
from services.executor.building.uv_program import UvProgram, own_uv
from services.executor.environments.new_activities import BuildSettings, place_name, site_of
from shared.pipes import JOBS, Hello, place_of_activities, roots_of
from shared.remote.common import platforms
from stoker.contracts.holds import Connection
from stoker.contracts.resources import SlurmRunnerConfig
from tests.pure.test_golden_contracts import profile, resource
from tests.workshop.registry import seed


def connection(kind: Any, **changes: Any) -> Connection:
    made = resource(kind)
    spec = msgspec.convert(msgspec.to_builtins(made.spec) | changes, type(made.spec))
    return Connection(resource=msgspec.structs.replace(made, spec=spec), profile=profile(kind))


@pytest.mark.parametrize("kind", ["local", "slurm_ssh"])
def test_where_jobs_are_run_as_whom_they_are(kind: str) -> None:
    own = connection(kind)
    assert place_of_activities(own) == own


def test_beside_a_cluster_the_service_makes_them_on_this_machine() -> None:
    own = connection("slurm_sudo")
    place = place_of_activities(own)
    assert (place.resource.type, place.profile.resource_type) == ("local", "local")
    assert roots_of(place) == {JOBS: seed("resource_slurm_sudo")["jobs_local_dir"]}
    assert place.profile.id != own.profile.id  # a connection of its own, whatever the folders are
    assert place_of_activities(place) == place


def test_a_user_for_tasks_makes_them_through_sudo() -> None:
    place = place_of_activities(connection("slurm_sudo", tasks_user="builder"))
    assert place.resource.type == "slurm_sudo"
    assert getattr(place.profile.spec, "username", None) == "builder"
    assert place_of_activities(place) == place


def test_each_user_of_a_cluster_behind_ssh_has_environments_of_their_own() -> None:
    here, far = connection("slurm_sudo"), connection("slurm_ssh")
    assert place_name(here) == here.resource.id
    assert place_name(far) == f"{far.resource.id}/{far.profile.id}"
    site = site_of(far, BuildSettings(time_limit_seconds=5))
    assert (site.root, site.uv) == (seed("profile_slurm_ssh")["tasks_remote_dir"], None)
    uv = UvProgram(path=Path("/opt/uv"), sha256="ab12")
    assert site_of(here, BuildSettings(uv=uv)).uv == "/opt/uv"
    assert site_of(far, BuildSettings(uv=uv)).uv == f"{site.root}/.uv-ab12/uv"
    assert site_of(here, BuildSettings()).root == seed("resource_slurm_sudo")["tasks_local_dir"]


@pytest.mark.parametrize(
    ("machine", "libc", "fits"),
    [
        ("x86_64", "glibc 2.17", True),
        ("x86_64", "glibc 2.40", True),
        ("x86_64", "glibc 2.5", False),
        ("aarch64", "glibc 2.40", False),
        ("x86_64", "", False),
        ("", "", False),
    ],
)
def test_uv_goes_only_where_it_can_be_expected_to_run(machine: str, libc: str, fits: bool) -> None:  # noqa: FBT001
    uv = UvProgram(path=Path("/opt/uv"), sha256="ab12", needs={"x86_64": (2, 17)})
    assert uv.fits(host(machine=machine, libc=libc)) == fits


def test_the_uv_of_this_installation_fits_this_machine() -> None:
    uv = own_uv()
    assert uv is not None
    assert uv.fits(host(machine=platforms.machine(), libc=platforms.libc()))


def host(**fields: Any) -> Hello:
    known = {"protocol": 1, "version": "1", "user": "ada", "uid": 1, "home": "/home/ada", "host": "login"}
    return msgspec.convert({**known, "boot_id": "b", "python": "3.9.1", "clock": 0.0, "roots": {}, **fields}, Hello)


PIXI = {"action": "create", "source": {"type": "pixi"}}
IN_SLURM = {"partition": "builds", "cpus": 4, "mem": "8G", "time": "01:00:00"}


def pixi_on(kind: Any, slurm: Any, **changes: Any) -> Connection:
    config = {"default_version": "1", "versions": {"1": "/pixi/1"}, "SLURM_CONFIG": slurm}
    return place_of_activities(connection(kind, tasks_pixi_config=config, **changes))


@pytest.mark.parametrize("action", ["create", "rebuild"])
def test_what_the_configuration_sends_into_slurm_gets_what_it_says_and_nothing_of_what_jobs_get(action: str) -> None:
    place = pixi_on("slurm_ssh", IN_SLURM | {"preamble": ["module load x"]})
    build = slurm_build(place, PIXI | {"action": action})
    assert build is not None
    assert msgspec.to_builtins(build.config.default_slurm_config) == {
        "partition": "builds",
        "cpus_per_task": 4,
        "mem": 8000,
        "time": "01:00:00",
        "use_mem_per_cpu": False,
    }
    assert build.lines == ["module load x"]
    assert isinstance(build.place.resource.spec.jobs_runner_config, SlurmRunnerConfig)
    assert build.place.resource.spec.jobs_runner_config == build.config
    assert roots_of(build.place) == roots_of(place)


@pytest.mark.parametrize(
    ("memory", "megabytes"),
    [({"mem": "1500K"}, 2), ({"mem": "71M"}, 71), ({"mem": "2T"}, 2_000_000), ({"mem_per_cpu": "2G"}, 8000)],
)
def test_memory_of_builds_is_megabytes_of_the_whole_job(memory: dict[str, str], megabytes: int) -> None:
    slurm = {name: value for name, value in IN_SLURM.items() if name != "mem"} | memory
    build = slurm_build(pixi_on("slurm_ssh", slurm), PIXI)
    assert build is not None
    assert build.config.default_slurm_config.mem == megabytes
    assert build.config.default_slurm_config.use_mem_per_cpu == ("mem_per_cpu" in memory)


def test_what_takes_no_time_and_what_the_services_user_makes_is_not_sent_into_slurm() -> None:
    far = pixi_on("slurm_ssh", IN_SLURM)
    for arguments in (
        PIXI | {"action": "remove"},
        PIXI | {"source": {"type": "existing"}},
        PIXI | {"source": {"type": "pypi"}},
    ):
        assert slurm_build(far, arguments) is None
    assert slurm_build(pixi_on("slurm_sudo", IN_SLURM), PIXI) is None
    assert slurm_build(pixi_on("slurm_sudo", IN_SLURM, tasks_user="builder"), PIXI) is not None
    python = seed("resource_slurm_ssh")["tasks_python_config"] | {"SLURM_CONFIG": IN_SLURM}
    own = connection("slurm_ssh", tasks_python_config=python)
    assert slurm_build(own, {"action": "create", "source": {"type": "wheel"}}) is not None
    assert slurm_build(own, PIXI) is None
