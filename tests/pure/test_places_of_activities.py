"""Where, and as whom, environments are made on each kind of resource."""

from typing import Any

import msgspec
import pytest

from services.executor.environments.building import BuildSettings, place_name, site_of
from shared.contracts.holds import Connection
from shared.pipes import JOBS, place_of_activities, roots_of
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
    assert site_of(here, BuildSettings()).root == seed("resource_slurm_sudo")["tasks_local_dir"]
