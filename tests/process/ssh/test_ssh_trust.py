"""Trusting a host through the services, as `stoker ssh-trust` does; and what a check says of an SSH profile."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from shared.pipes.ssh import SshTarget
from stoker.clients.executor import ExecutorClient
from stoker.contracts.checks import CheckReport, Finding
from stoker.contracts.profiles import SlurmSshProfileSpec
from stoker.contracts.resources import Resource
from stoker.contracts.ssh import SshTrust
from stoker.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from tests.workshop.serving import World
from tests.workshop.ssh import SshWorkshop

pytestmark = pytest.mark.anyio


@pytest.fixture
async def ssh_world(tmp_path: Path, sqlite_url: str, embedded_redis_url: str) -> AsyncIterator[World]:
    """A registry that also serves SSH resources, with a local resource in it."""
    made = World(tmp_path, sqlite_url, embedded_redis_url, resource_types="local,slurm_ssh")
    async with made.registry() as made.registry_client:
        await made.add_local_resource(made.registry_client)
        yield made


@pytest.fixture
async def cluster(ssh: SshWorkshop, ssh_world: World) -> Resource:
    spec = msgspec.to_builtins(ssh.connection().resource.spec)
    return await ssh_world.registry_client.create_resource(spec)


@pytest.fixture
async def executor(ssh: SshWorkshop, ssh_world: World) -> AsyncIterator[ExecutorClient]:
    ssh.known_hosts.unlink()
    async with ssh_world.executor(STOKER_SSH_KNOWN_HOSTS=str(ssh.known_hosts)) as client:
        yield client


async def test_a_host_is_trusted_by_the_fingerprint_that_was_seen(
    ssh: SshWorkshop, cluster: Resource, executor: ExecutorClient
) -> None:
    seen = await executor.scan_host_keys(cluster.id)
    (key,) = seen.keys
    assert (key.type, key.state, seen.port, seen.known_hosts) == (
        "ssh-ed25519",
        "unknown",
        ssh.line.port,
        str(ssh.known_hosts),
    )
    assert f"{key.line}\n" == ssh.server.known_hosts_line(port=ssh.line.port)
    assert not ssh.known_hosts.exists()

    after = await executor.trust_host_keys(cluster.id, SshTrust(fingerprints=[key.fingerprint]))
    assert [one.state for one in after.keys] == ["trusted"]
    await (await ssh.agent()).close()


async def test_a_key_that_the_host_no_longer_shows_is_not_trusted(
    ssh: SshWorkshop, cluster: Resource, executor: ExecutorClient
) -> None:
    (key,) = (await executor.scan_host_keys(cluster.id)).keys
    await asyncio.to_thread(ssh.server.change_host_key)
    with pytest.raises(Conflict, match="does not show"):
        await executor.trust_host_keys(cluster.id, SshTrust(fingerprints=[key.fingerprint]))
    assert not ssh.known_hosts.exists()


async def test_a_changed_key_is_trusted_only_when_the_old_one_is_to_be_forgotten(
    ssh: SshWorkshop, cluster: Resource, executor: ExecutorClient
) -> None:
    ssh.trust()
    await asyncio.to_thread(ssh.server.change_host_key)
    (key,) = (await executor.scan_host_keys(cluster.id)).keys
    assert key.state == "changed"
    with pytest.raises(Conflict, match="other keys are known"):
        await executor.trust_host_keys(cluster.id, SshTrust(fingerprints=[key.fingerprint]))
    await executor.trust_host_keys(cluster.id, SshTrust(fingerprints=[key.fingerprint], replace=True))
    await (await ssh.agent()).close()


async def test_only_administrators_trust_and_only_ssh_hosts(
    ssh_world: World, cluster: Resource, executor: ExecutorClient
) -> None:
    async with ssh_world.client(await ssh_world.user_key(ssh_world.registry_client, "bob", granted=False)) as bob:
        with pytest.raises(Forbidden):
            await bob.scan_host_keys(cluster.id)
        with pytest.raises(Forbidden):
            await bob.trust_host_keys(cluster.id, SshTrust(fingerprints=["SHA256:" + "A" * 43]))
    with pytest.raises(Invalid, match="not reached through SSH"):
        await executor.scan_host_keys(ssh_world.resource.id)
    with pytest.raises(NotFound):
        await executor.scan_host_keys("0" * 26)
    with pytest.raises(Invalid):
        await executor.trust_host_keys(cluster.id, SshTrust(fingerprints=["SHA256:short"]))


async def test_a_file_that_cannot_be_written_is_told_with_the_lines_to_add(
    cluster: Resource, ssh_world: World
) -> None:
    async with ssh_world.executor(STOKER_SSH_KNOWN_HOSTS="/proc/known_hosts") as client:
        (key,) = (await client.scan_host_keys(cluster.id)).keys
        with pytest.raises(Unavailable, match=r"/proc/known_hosts cannot be written .* ssh-ed25519 AAAA"):
            await client.trust_host_keys(cluster.id, SshTrust(fingerprints=[key.fingerprint]))


def stoker(world: World, *words: str, answer: str = "") -> "subprocess.CompletedProcess[str]":
    environment = {
        "PATH": os.environ["PATH"],
        "STOKER_KEY": world.admin_key,
        "STOKER_REGISTRY_URL": world.registry_url,
        "STOKER_EXECUTOR_URL": world.executor_url,
    }
    command = [sys.executable, "-m", "stoker", *words]
    return subprocess.run(
        command, env=environment, input=answer, capture_output=True, text=True, timeout=60, check=False
    )


async def test_the_command_line_shows_the_fingerprint_and_asks(
    ssh: SshWorkshop, ssh_world: World, cluster: Resource, executor: ExecutorClient
) -> None:
    (key,) = (await executor.scan_host_keys(cluster.id)).keys
    refused = await asyncio.to_thread(stoker, ssh_world, "ssh-trust", "cluster", answer="n\n")
    assert refused.returncode == 3, refused.stderr
    assert key.fingerprint in refused.stdout
    assert "Trust these keys?" in refused.stderr
    assert not ssh.known_hosts.exists()

    trusted = await asyncio.to_thread(stoker, ssh_world, "ssh-trust", "cluster", answer="y\n")
    assert trusted.returncode == 0, trusted.stderr
    again = await asyncio.to_thread(stoker, ssh_world, "ssh-trust", "cluster", "--yes")
    assert (again.returncode, "trusted already" in again.stderr) == (0, True)
    await (await ssh.agent()).close()

    await asyncio.to_thread(ssh.server.change_host_key)
    changed = await asyncio.to_thread(stoker, ssh_world, "ssh-trust", "cluster", "--yes")
    assert (changed.returncode, "--replace" in changed.stderr) == (3, True)
    replaced = await asyncio.to_thread(stoker, ssh_world, "ssh-trust", "cluster", "--yes", "--replace")
    assert replaced.returncode == 0, replaced.stderr
    await (await ssh.agent()).close()


def agent_finding(report: CheckReport) -> Finding:
    return next(finding for finding in report.findings if finding.name == "agent")


async def test_a_check_says_why_a_cluster_is_not_reached_and_what_mends_it(
    ssh: SshWorkshop, ssh_world: World, cluster: Resource, executor: ExecutorClient
) -> None:
    wanted = ssh.connection().profile.spec
    assert isinstance(wanted, SlurmSshProfileSpec)
    registry = ssh_world.registry_client
    profile = await registry.create_profile(cluster.id, msgspec.to_builtins(wanted))

    unknown = agent_finding(await executor.check(profile.id))
    assert unknown.level == "error"
    assert "is unknown, it is ssh-ed25519 SHA256:" in unknown.detail
    assert 'stoker ssh-trust "cluster"' in unknown.mend

    ssh.trust()
    await registry.patch_profile(profile.id, {"ssh_key_path": "/no/such/key"})
    assert "no key file /no/such/key" in agent_finding(await executor.check(profile.id)).detail

    await registry.patch_profile(profile.id, {"ssh_key_path": wanted.ssh_key_path})
    good = agent_finding(await executor.check(profile.id))
    assert good.level == "ok", good
    assert ssh.users.ada.name in good.detail


def test_the_resource_names_its_own_file_for_host_and_login_alike(ssh: SshWorkshop) -> None:
    connection = ssh.connection(ssh_known_hosts="/etc/own")
    assert SshTarget.of(connection, "/etc/other").known_hosts == "/etc/own"
