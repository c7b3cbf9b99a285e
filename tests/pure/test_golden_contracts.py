"""What programs of others have been told: these forms stay readable, and are written the same way."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stoker.contracts.environments import Activity, Environment, EnvironmentCreate, EnvironmentFromPypi, Freeze
from stoker.contracts.jobs import Reason
from stoker.contracts.keys import AccessKey, Caller, NewAccessKey
from stoker.contracts.needs import PartNeeds
from stoker.contracts.problems import FieldError, Problem
from stoker.contracts.profiles import Profile, ProfileSpec
from stoker.contracts.queues import ClusterQueue, QueueEntry
from stoker.contracts.resources import Resource, ResourceSpec
from stoker.contracts.ssh import SshHostKey, SshHostKeys
from stoker.contracts.tasks import Task, TaskRun
from stoker.contracts.watches import (
    Observation,
    Observations,
    ResourceHealth,
    WatchedBatch,
    WatchedProfile,
    WatchList,
)
from tests.workshop.registry import KINDS, seed

GOLDEN = Path(__file__).parents[1] / "golden"
ID = "01k5qj6y2z4e8m3n7p9r1s5t0v"
MADE = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CHANGED = datetime(2026, 2, 1, 8, 30, 15, 250_000, tzinfo=UTC)


def resource(kind: Any) -> Resource:
    spec: Any = msgspec.convert(seed(f"resource_{kind}"), ResourceSpec)
    return Resource(
        id=ID,
        name=spec.name,
        type=kind,
        version=2,
        created_at=MADE,
        updated_at=CHANGED,
        spec=spec,
    )


def profile(kind: Any) -> Profile:
    spec: Any = msgspec.convert(seed(f"profile_{kind}"), ProfileSpec)
    return Profile(
        id=ID,
        resource_id=ID,
        name=spec.name,
        resource_type=kind,
        version=1,
        created_at=MADE,
        updated_at=MADE,
        spec=spec,
    )


ACCESS_KEY = AccessKey(
    id=ID, name="laptop", role="user", owner="group", profile_ids=[ID], created_at=MADE, expires_at=CHANGED
)
WATCHED = WatchedBatch(
    batch_id=ID,
    job_id=ID,
    folder="2026-01/job/batches/00000",
    native_id="4711_3",
    state="queued",
    events_offset=19,
    scheduler="PENDING|Priority|1769860800",
)
SEEN = Observation(
    batch_id=ID,
    job_id=ID,
    resource_id=ID,
    native_id="4711_3",
    observed_at=1769860801.5,
    events_length=19,
    results_length=0,
    scheduler_state="RUNNING",
    scheduler="RUNNING|None|1769860800",
)
WAITING = QueueEntry(
    native_id="4711_[5-9]",
    launches=5,
    state="PENDING",
    waits=True,
    reason="jobs with a higher priority are ahead of it (Priority)",
    partition="main",
    nodes="",
    cpus=2,
    memory="4G",
    gres="gpu:v100:1",
    submitted_at=MADE,
    starts_at=CHANGED,
    user="jdoe",
    account="lab1",
    name="stoker-1",
)
ACTIVITY = Activity(
    id=ID,
    environment_id=ID,
    kind="reactivate",
    state="failed",
    owner="group",
    created_at=MADE,
    reason=Reason(code="index_unreachable", text="the package index could not be reached"),
    started_at=MADE,
    ended_at=CHANGED,
)
ENVIRONMENT = Environment(
    id=ID,
    state="inactive",
    source="pypi",
    package="fractal-tasks-core",
    version="1.5.0",
    extras=["more"],
    pre_pins={"numpy": "1.26.4"},
    python_version="3.12.1",
    installer="uv 0.13.9",
    resource_id=ID,
    profile_id=ID,
    owner="group",
    created_at=MADE,
    updated_at=CHANGED,
    folder=f"/data/tasks/fractal-tasks-core/1.5.0/{ID}",
    disk_bytes=8192,
    task_names=["Cellpose"],
    activity=ACTIVITY,
)
TASK = Task(
    id=ID,
    environment_id=ID,
    package="fractal-tasks-core",
    package_version="1.5.0",
    name="Cellpose",
    type="compound",
    needs_non_parallel=PartNeeds(mem="1G"),
    needs_parallel=PartNeeds(cpus_per_task=4, mem=16000, needs_gpu=True),
    input_types={"3D": True},
    args_schema_parallel={"type": "object"},
    args_schema_version="pydantic_v2",
    docs_info="# Cellpose",
    category="Segmentation",
    tags=["nuclei"],
    authors="Ada",
)
THINGS: dict[str, msgspec.Struct] = {
    **{f"resource_{kind}": resource(kind) for kind in KINDS},
    **{f"profile_{kind}": profile(kind) for kind in KINDS},
    "access_key": ACCESS_KEY,
    "new_access_key": NewAccessKey(access_key=ACCESS_KEY, key=f"stk_{ID}_{'A' * 43}"),
    "caller": Caller(key_id=ID, role="user", owner="group", profile_ids=frozenset({ID})),
    "ssh_host_keys": SshHostKeys(
        resource_id=ID,
        host="login.example.org",
        port=2222,
        known_hosts="/etc/ssh/ssh_known_hosts",
        keys=[
            SshHostKey(
                type="ssh-ed25519",
                fingerprint=f"SHA256:{'A' * 43}",
                state="unknown",
                line="[login.example.org]:2222 ssh-ed25519 AAAA",
            )
        ],
    ),
    "watch_list": WatchList(
        profiles=[
            WatchedProfile(
                profile_id=ID,
                resource_id=ID,
                jobs_root="~/stoker",
                poll_interval_seconds=5.0,
                batches=[WATCHED],
                resource_type="slurm_sudo",
                scheduler=True,
            )
        ]
    ),
    "observations": Observations(poller_id="host-1", observations=[SEEN]),
    "resource_health": ResourceHealth(
        profile_id=ID,
        resource_id=ID,
        reachable=True,
        since=1769860800.0,
        last_look_at=1769860900.0,
        watched_batches=1,
        scheduler_error="SLURM's controller cannot be reached",
        scheduler_since=1769860850.0,
    ),
    "cluster_queue": ClusterQueue(
        resource_id=ID,
        looked_at=MADE,
        age_seconds=2.5,
        watched=True,
        count=1,
        items=[WAITING],
    ),
    "activity": ACTIVITY,
    "environment": ENVIRONMENT,
    "freeze": Freeze(freeze="numpy==1.26.4\n", freeze_sha256="0" * 64),
    "task": TASK,
    "problem": Problem(
        type="urn:stoker:problem:invalid-request",
        title="The request is not valid",
        status=422,
        detail="one field is not valid",
        instance="/v1/resources",
        errors=[FieldError("jobs_runner_config.default_slurm_config.mem", 'must be "3G"')],
        request_id="r-1",
    ),
}


@pytest.mark.parametrize("name", THINGS)
def test_it_is_written_as_it_always_was(name: str) -> None:
    written = json.loads(msgspec.json.encode(THINGS[name]))
    assert written == json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.mark.parametrize("name", THINGS)
def test_what_was_written_is_still_read_and_additions_of_later_versions_are_tolerated(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    later = golden | {"added_in_a_later_version": {"a": [1]}}
    assert msgspec.json.decode(json.dumps(later), type=type(THINGS[name])) == THINGS[name]


def test_a_new_key_does_not_show_in_its_repr() -> None:
    assert "AAAA" not in repr(THINGS["new_access_key"])


REQUESTS: dict[str, tuple[dict[str, Any], Any]] = {
    "pypi": ({"source": "pypi", "profile_id": ID, "package": "a", "post_pins": {"b": "1.0"}}, EnvironmentCreate),
    "wheel": ({"source": "wheel", "profile_id": ID, "file_name": "a.whl", "content": "eA=="}, EnvironmentCreate),
    "pixi": (
        {"source": "pixi", "profile_id": ID, "file_name": "a-1.tar.gz", "content": "eA==", "use_lock": False},
        EnvironmentCreate,
    ),
    "existing": ({"source": "existing", "profile_id": ID, "path": "/env", "package": "a"}, EnvironmentCreate),
    "run": (
        {"environment_id": ID, "task": "a", "zarr_urls": ["/d"], "needs_parallel": {"mem": "1G"}},
        TaskRun,
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_of_people_are_read_and_a_typo_in_them_is_an_error(name: str) -> None:
    written, kind = REQUESTS[name]
    assert msgspec.convert(written, kind)
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert(written | {"verison": "1.0"}, kind)


def test_what_a_shell_would_misread_is_no_package() -> None:
    for package in ("a; id", "$(id)", "-r", "a b", "../a", ""):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"source": "pypi", "profile_id": ID, "package": package}, EnvironmentCreate)
    assert EnvironmentFromPypi(profile_id=ID, package="a").version is None
