"""What a job on SLURM does whatever the way to the cluster: through sudo, and through SSH."""

import stat

import pytest

from shared.contracts.jobs import JobSubmit
from shared.contracts.needs import Needs
from tests.waiting import until
from tests.workshop.cluster_stack import ClusterStackSite

pytestmark = pytest.mark.anyio

WRITES = 'id -un > who-{unit}; echo "unit {unit} of $(id -un)"; echo \'{"n": {args.n}}\' > {out_json}'


async def test_the_users_own_configuration_runs_a_job_as_the_scientist(site: ClusterStackSite) -> None:
    ada = site.cluster.users.ada
    units = [{"n": n} for n in range(3)]
    job = await site.run(ada, ["sh", "-c", WRITES], units)
    assert (job.state, job.counts.succeeded) == ("succeeded", 3), (job, site.stack.logs())
    assert [unit.output for unit in await site.units(job.id)] == units
    assert await site.log(job.id, 2) == f"unit 2 of {ada.name}\n"
    folder = site.job_folder(ada, job)
    assert {path.stat().st_uid for path in folder.rglob("*")} == {ada.uid}
    assert [(folder / f"work/who-{n}").read_text() for n in range(3)] == [f"{ada.name}\n"] * 3
    assert stat.S_IMODE(ada.home.stat().st_mode) == 0o700
    assert folder.stat().st_uid == ada.uid
    for batch in await site.batches(job.id):
        assert batch.native_id is not None
        assert batch.host
        assert site.cluster.job(batch.native_id)["UserId"].startswith(f"{ada.name}(")
