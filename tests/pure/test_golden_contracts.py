"""What programs of others have been told: these forms stay readable, and are written the same way."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.contracts.keys import AccessKey, Caller, NewAccessKey
from shared.contracts.problems import FieldError, Problem
from shared.contracts.profiles import Profile, ProfileSpec
from shared.contracts.queues import ClusterQueue, QueueEntry
from shared.contracts.resources import Resource, ResourceSpec
from shared.contracts.ssh import SshHostKey, SshHostKeys
from shared.contracts.watches import (
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
