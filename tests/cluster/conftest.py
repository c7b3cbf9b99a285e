"""Whole sites beside the test clusters; each is started once per run of the tests."""

from collections.abc import Iterator

import pytest

from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.installation import PublicInstallation
from tests.servers.slurm.workspace import Workspace
from tests.workshop.cluster_stack import ClusterStackSite
from tests.workshop.ssh_site import SshSite
from tests.workshop.sudo_site import SudoSite


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def public_installation(slurm_workspace: Workspace) -> PublicInstallation:
    """The project as every user can run it."""
    folder = slurm_workspace.folder / "installation"
    folder.mkdir(mode=0o755)
    return PublicInstallation(folder)


def _started(site: SudoSite) -> Iterator[SudoSite]:
    try:
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture(scope="session")
def _sudo_site(_slurm_cluster: SlurmCluster, public_installation: PublicInstallation) -> Iterator[SudoSite]:
    yield from _started(SudoSite(_slurm_cluster, public_installation))


@pytest.fixture(scope="session")
def _bare_site(_bare_cluster: SlurmCluster, public_installation: PublicInstallation) -> Iterator[SudoSite]:
    graces = {"STOKER_FILES_GRACE_SECONDS": "20", "STOKER_ABSENT_GRACE_SECONDS": "5"}
    yield from _started(SudoSite(_bare_cluster, public_installation, graces))


@pytest.fixture
def sudo_site(request: pytest.FixtureRequest, _sudo_site: SudoSite) -> SudoSite:
    """Services that reach the cluster with accounting through sudo; tests leave them as they were."""
    request.getfixturevalue("slurm_cluster")  # tidy before and after
    _sudo_site.allow()  # the rule is one per cluster: another test may have changed it
    return _sudo_site


@pytest.fixture
def bare_site(request: pytest.FixtureRequest, _bare_site: SudoSite) -> SudoSite:
    """The same beside the cluster that keeps no accounts and forgets jobs two seconds after their end."""
    request.getfixturevalue("bare_cluster")
    _bare_site.allow()
    return _bare_site


@pytest.fixture(scope="session")
def _ssh_site(_slurm_cluster: SlurmCluster, public_installation: PublicInstallation) -> Iterator[SshSite]:
    site = SshSite(_slurm_cluster, public_installation)
    try:
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture
def ssh_site(request: pytest.FixtureRequest, _ssh_site: SshSite) -> Iterator[SshSite]:
    """Services that reach the cluster with accounting through SSH; tests cut the line, and do not kill them."""
    request.getfixturevalue("slurm_cluster")  # tidy before and after
    _ssh_site.allow()  # other sites let the same users in with other keys
    yield _ssh_site
    _ssh_site.line.set()
    _ssh_site.line.heal()


@pytest.fixture(params=["sudo", "ssh"])
def site(request: pytest.FixtureRequest) -> ClusterStackSite:
    """Services that reach the cluster with accounting, either way."""
    found: ClusterStackSite = request.getfixturevalue(f"{request.param}_site")
    return found
