"""Whether a cluster can be used through sudo: what is good is found good, what is wrong has its mending line."""

import asyncio
import os
import secrets
import shlex
from typing import Any

import pytest

from stoker.contracts.checks import CheckReport, Finding
from tests.servers.slurm.users import UnixUser
from tests.workshop.sudo_site import SYSTEM_PYTHON, SudoSite

pytestmark = pytest.mark.anyio


async def checked(site: SudoSite, profile_id: str, *, test_job: bool = False) -> CheckReport:
    async with site.stack.executor() as executor:
        return await executor.check(profile_id, test_job=test_job)


async def findings(site: SudoSite, profile_id: str, level: str = "error") -> dict[str, Finding]:
    """What is wrong, by name. With an error in it the profile counts as not usable, else as usable."""
    report = await checked(site, profile_id)
    assert report.usable is all(one.level != "error" for one in report.findings)
    return {one.name: one for one in report.findings if one.level == level}


async def only(site: SudoSite, user: UnixUser, **changes: Any) -> Finding:
    """The only error of a profile on a resource with these changes."""
    found = await findings(site, await site.profile_on(user, **changes))
    assert len(found) == 1, found
    return next(iter(found.values()))


async def test_a_good_profile_is_usable_and_runs_a_test_job(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    report = await checked(sudo_site, sudo_site.profile(ada), test_job=True)
    told = {one.name: one.detail for one in report.findings}
    assert report.usable, report
    assert [one for one in report.findings if one.level != "ok"] == []
    assert f"as {ada.name}" in told["agent"]
    assert sudo_site.cluster.name in told["SLURM"]
    assert "MaxArraySize=1001, MinJobAge=300 s" in told["limits"]
    assert "limited, narrow, science" in told["accounting"]
    assert "is seen by" in told["tasks folder"]
    assert f"{ada.home}/stoker/jobs" in told["jobs folder"]
    assert told["test job"] == "a unit ran and succeeded"


async def test_a_rule_that_is_missing_is_told_with_the_rule(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    sudo_site.forbid()
    try:
        found = await findings(sudo_site, sudo_site.profile(ada))
    finally:
        sudo_site.allow()
    rule = f"{sudo_site.service_user.name} ALL=({ada.name}) NOPASSWD:NOSETENV: {SYSTEM_PYTHON} -I -S"
    assert list(found) == ["agent"]
    assert f"{rule} {sudo_site.agent_file}" in found["agent"].mend


async def test_an_agent_that_is_missing_or_that_others_may_exchange_blocks(sudo_site: SudoSite) -> None:
    profile, file = sudo_site.profile(sudo_site.cluster.users.ada), sudo_site.agent_file
    away = file.with_suffix(".away")
    file.rename(away)
    try:
        found = await findings(sudo_site, profile)
    finally:
        away.rename(file)
    assert found["agent's file"].detail == f"{file}: No such file or directory"
    assert found["agent's file"].mend == f"as root: stoker agent > {file}"
    assert "is not installed" in found["agent"].detail
    for path in (file, file.parent):
        mode = path.stat().st_mode & 0o777
        path.chmod(mode | 0o022)
        try:
            found = await findings(sudo_site, profile)
        finally:
            path.chmod(mode)
        assert list(found) == ["agent's file"]
        assert found["agent's file"].detail == f"{path} is writable by others than root"
        assert found["agent's file"].mend == f"chmod go-w {path}"
    assert await findings(sudo_site, profile) == {}


async def test_an_interpreter_that_is_missing_or_a_users_own_blocks(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    found = await findings(sudo_site, await sudo_site.profile_on(ada, jobs_slurm_python_worker="/usr/bin/python9"))
    assert found["interpreter's file"].detail == "/usr/bin/python9: No such file or directory"
    assert found["interpreter's file"].mend == "mend jobs_slurm_python_worker of the resource"
    own = ada.home / f"python-{secrets.token_hex(4)}"
    own.symlink_to(SYSTEM_PYTHON)
    sudo_site.allow(str(own))
    try:
        report = await checked(sudo_site, await sudo_site.profile_on(ada, jobs_slurm_python_worker=str(own)))
    finally:
        sudo_site.allow()
    wrong = [one for one in report.findings if one.name == "interpreter's file"]
    assert [one.mend for one in wrong][:1] == [f"chown -h root {ada.home}"]
    assert not report.usable


async def test_a_partition_that_does_not_exist_is_told_with_those_that_do(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    config = {"default_slurm_config": {"partition": "nowhere"}}
    found = await only(sudo_site, ada, jobs_runner_config=config)
    assert (found.name, found.detail) == ("partition", "there is no partition nowhere")
    assert "jobs_runner_config.default_slurm_config.partition" in found.mend
    assert "gpu, hidden, main" in found.mend
    gpu = {"gpu_slurm_config": {"partition": "nowhere"}}
    found = await only(sudo_site, ada, jobs_runner_config=gpu)
    assert "jobs_runner_config.gpu_slurm_config.partition" in found.mend


async def test_a_user_without_an_account_is_told_where_one_is_needed(sudo_site: SudoSite) -> None:
    user = sudo_site.newcomer("accountless", account=None)
    found = await findings(sudo_site, await sudo_site.profile_of(user))
    assert list(found) == ["account"]
    assert found["account"].mend == f"sacctmgr add user {user.name} account=ACCOUNT"


async def test_a_controller_that_is_down_is_told(sudo_site: SudoSite) -> None:
    cluster = sudo_site.cluster
    await asyncio.to_thread(cluster.daemons.controller.stop)
    try:
        found = await findings(sudo_site, sudo_site.profile(cluster.users.ada))
    finally:
        await asyncio.to_thread(cluster.start_controller)
    assert list(found) == ["SLURM"]
    assert "scontrol ping" in found["SLURM"].mend


async def test_accounting_that_is_down_is_told(sudo_site: SudoSite) -> None:
    accounting = sudo_site.cluster.daemons.accounting
    assert accounting is not None
    await asyncio.to_thread(accounting.process.stop)
    try:
        found = await findings(sudo_site, sudo_site.profile(sudo_site.cluster.users.ada), "warning")
    finally:
        await asyncio.to_thread(accounting.start)
    assert found["accounting"].mend == "start slurmdbd; see its log"


async def test_jobs_that_are_hidden_from_others_are_told(sudo_site: SudoSite) -> None:
    with sudo_site.cluster.settings(PrivateData="jobs"):
        found = await findings(sudo_site, sudo_site.profile(sudo_site.cluster.users.ada), "ok")
    assert "the queue is asked once per profile" in found["private data"].detail


async def test_a_folder_of_tasks_that_the_user_cannot_read_is_told(sudo_site: SudoSite) -> None:
    profile, folder = sudo_site.profile(sudo_site.cluster.users.ada), sudo_site.tasks_dir
    folder.chmod(0o700)
    try:
        found = await findings(sudo_site, profile, "warning")
        assert found["tasks folder"].mend == f"chmod a+rx '{folder}' and the folders above it"
        os.chown(folder, 0, -1)
        found = await findings(sudo_site, profile, "warning")
        assert f"chown {sudo_site.service_user.name} '{folder}'" in found["tasks folder"].mend
    finally:
        os.chown(folder, sudo_site.service_user.uid, -1)
        folder.chmod(0o755)


async def test_a_folder_of_jobs_that_is_another_users_is_told(sudo_site: SudoSite) -> None:
    ada, grace = sudo_site.cluster.users.scientists
    profile = await sudo_site.profile_of(grace, jobs_remote_dir=f"{ada.home}/stoker/jobs")
    found = await findings(sudo_site, profile)
    assert "jobs folder" in found
    assert "Permission denied" in found["jobs folder"].detail
    assert f"chown {grace.name} '{ada.home}/stoker/jobs'" in found["jobs folder"].mend


async def test_a_cluster_that_forgets_fast_and_keeps_no_accounts_is_warned_of(bare_site: SudoSite) -> None:
    profile = bare_site.profile(bare_site.cluster.users.ada)
    found = await findings(bare_site, profile, "warning")
    assert {"accounting", "memory of the queue"} <= found.keys()
    assert found["memory of the queue"].mend == "set MinJobAge=300 in slurm.conf"
    # The users' own configuration names a GPU partition, which this cluster has not.
    assert list(await findings(bare_site, profile)) == ["partition"]


async def test_the_command_line_checks_and_prints_the_rule_with_which_a_job_runs(sudo_site: SudoSite) -> None:
    ada, stack = sudo_site.cluster.users.ada, sudo_site.stack
    profile_id = await sudo_site.profile_on(ada)
    async with stack.registry() as registry:
        resource = await registry.resource((await registry.profile(profile_id)).resource_id)
    printed = await asyncio.to_thread(stack.run, "sudoers", resource.name, "--agent-file", str(sudo_site.agent_file))
    assert printed.code == 0, printed
    assert f"stoker agent > {sudo_site.agent_file}" in printed.err
    rule = printed.out.strip()
    assert rule == (
        f"{sudo_site.service_user.name} ALL=({ada.name}) NOPASSWD:NOSETENV: "
        f"{SYSTEM_PYTHON} -I -S {shlex.quote(str(sudo_site.agent_file))}"
    )
    sudo_site.forbid()
    refused = await asyncio.to_thread(stack.run, "check", profile_id)
    assert (refused.code, rule in refused.out) == (3, True), refused
    try:
        sudo_site.allow_by(rule)  # visudo has read it
        good = await asyncio.to_thread(stack.run, "check", "--test-job", profile_id)
        assert (good.code, "a unit ran and succeeded" in good.out) == (0, True), good
        report = await asyncio.to_thread(stack.run, "check", "--json", profile_id)
        assert (report.code, report.json["usable"]) == (0, True)
        job = await sudo_site.run(ada, ["id", "-un"], profile_id=profile_id)
        assert (job.state, await sudo_site.log(job.id)) == ("succeeded", f"{ada.name}\n")
    finally:
        sudo_site.allow()
