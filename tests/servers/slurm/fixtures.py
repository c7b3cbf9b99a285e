"""Fixtures of real SLURM clusters: `slurm_cluster` (all features) and `bare_cluster` (no accounting, forgets fast).

A cluster is started once per test process, when the first test asks for it, and is tidied before every test that
asks. Tests stop its controller and take its nodes down, so one cluster serves one test at a time. With xdist,
`--dist loadgroup` sends all tests of one cluster to one worker (they are marked by the fixture that they ask for, no
test has to say so) while the other workers run the rest. Without `loadgroup` it still works: each worker that needs a
cluster starts one, since folders, ports and users are all its own; that only costs time. The two clusters are two
groups; a test that asks for both starts both in the first one's worker.

Without root, or without the Debian packages, these tests are skipped with the reason; where they must not be (CI),
set STOKER_SLURM_REQUIRED=1, which makes it an error.
"""

import os
from collections.abc import Iterator

import pytest

from tests.servers.slurm import packages
from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.configuration import BARE, FULL
from tests.servers.slurm.users import ClusterUsers
from tests.servers.slurm.workspace import Workspace

_GROUPS = {"slurm_cluster": "slurm", "bare_cluster": "bare-slurm"}


def _obstacle() -> str | None:
    if os.geteuid() != 0:
        return "a private SLURM is started by root only (it runs jobs as other users)"
    if absent := packages.missing():
        return f"not installed: {' '.join(absent)}; install with: python -m tests.servers.slurm.packages"
    return None


@pytest.hookimpl(tryfirst=True)  # before xdist's own hook reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        names = getattr(item, "fixturenames", ())
        group = next((group for name, group in _GROUPS.items() if name in names), None)
        if group is not None:
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def slurm_workspace() -> Iterator[Workspace]:
    """The folder of this run's clusters; with it everything goes."""
    obstacle = _obstacle()
    if obstacle is not None:
        if os.environ.get("STOKER_SLURM_REQUIRED") == "1":
            pytest.fail(obstacle)
        pytest.skip(obstacle)
    workspace = Workspace()
    try:
        yield workspace
    finally:
        workspace.remove()


@pytest.fixture(scope="session")
def slurm_users(slurm_workspace: Workspace) -> ClusterUsers:
    """`stoker`, `ada` and `grace`, for both clusters; further ones with `create`."""
    return ClusterUsers(slurm_workspace)


@pytest.fixture(scope="session")
def _slurm_cluster(slurm_workspace: Workspace, slurm_users: ClusterUsers) -> Iterator[SlurmCluster]:
    cluster = SlurmCluster(short_name="full", plan=FULL, workspace=slurm_workspace, users=slurm_users)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def _bare_cluster(slurm_workspace: Workspace, slurm_users: ClusterUsers) -> Iterator[SlurmCluster]:
    cluster = SlurmCluster(short_name="bare", plan=BARE, workspace=slurm_workspace, users=slurm_users)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def slurm_cluster(_slurm_cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """Nodes n1, n2 (partition main), g1 (gpu, four v100), p1 (preemption); accounting. Idle and without a job."""
    _slurm_cluster.tidy()
    yield _slurm_cluster
    _slurm_cluster.tidy()


@pytest.fixture
def bare_cluster(_bare_cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """Nodes b1, b2; no accounting; forgets jobs two seconds after their end; arrays of at most four elements."""
    _bare_cluster.tidy()
    yield _bare_cluster
    _bare_cluster.tidy()
