"""Whole sites beside the test clusters; each is started once per run of the tests."""

from collections.abc import Iterator

import pytest

from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.installation import PublicInstallation
from tests.servers.slurm.workspace import Workspace
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


@pytest.fixture(scope="session")
def _sudo_site(_slurm_cluster: SlurmCluster, public_installation: PublicInstallation) -> Iterator[SudoSite]:
    site = SudoSite(_slurm_cluster, public_installation)
    try:
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture
def sudo_site(request: pytest.FixtureRequest, _sudo_site: SudoSite) -> SudoSite:
    """Services that reach the cluster with accounting through sudo; tests do not kill them."""
    request.getfixturevalue("slurm_cluster")  # tidy before and after
    _sudo_site.allow()  # the rule is one per cluster: another test may have changed it
    return _sudo_site
