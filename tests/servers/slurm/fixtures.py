"""Fixtures of real SLURM clusters: `slurm_cluster` (all features) and `bare_cluster` (no accounting, forgets fast).

A cluster is started once per test process, in some five seconds, when the first test asks for it, and tidied before
and after every test that asks. Tests stop its controller and take its nodes down, so a cluster serves one test at a
time; and with xdist each worker has clusters of its own: folders, ports, users and keys differ, so any number of
workers, and of people on one machine, may run them at once. That is preferred to sending all these tests to one
worker, which would then be the slowest by far (and `--dist loadgroup` of xdist 3.8 does nothing under pytest 9.2).

Without root these tests are skipped with the reason; as root without the Debian packages they fail and name them.
"""

import os
from collections.abc import Iterator

import pytest

from tests.servers.slurm import packages
from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.configuration import BARE, FULL
from tests.servers.slurm.users import ClusterUsers
from tests.servers.slurm.workspace import Workspace


@pytest.fixture(scope="session")
def slurm_workspace() -> Iterator[Workspace]:
    """The folder of this run's clusters; with it everything goes."""
    if os.geteuid() != 0:
        pytest.skip("a private SLURM is started by root only: it runs jobs as other users")
    if absent := packages.missing():
        pytest.fail(f"not installed: {' '.join(absent)}; install as root with: .ci/packages {' '.join(absent)}")
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
