"""Host keys of a real server: unknown and changed ones are refused, each time, before anything of ours is shown."""

import pytest

from shared.pipes.ssh import SshTarget, add_to_known_hosts, scan_host_keys
from shared.pipes.ssh.errors import HostKeyRefused, NothingInCommon
from tests.servers.slurm.users import ClusterUsers
from tests.servers.sshd import KEY_TYPES
from tests.workshop.ssh import SHORT, SshWorkshop

pytestmark = pytest.mark.anyio


def target(ssh: SshWorkshop) -> SshTarget:
    return SshTarget.of(ssh.connection(), str(ssh.known_hosts))


async def test_an_unknown_host_is_refused_until_its_key_is_trusted(ssh: SshWorkshop) -> None:
    ssh.known_hosts.unlink()
    with pytest.raises(HostKeyRefused, match=r"is unknown, it is ssh-ed25519 SHA256:.*ssh-trust") as refused:
        await ssh.agent()
    assert "Accepted" not in ssh.server.process.log.read_text()

    keys = await scan_host_keys(target(ssh), SHORT)
    assert keys[0].fingerprint in refused.value.message
    add_to_known_hosts(str(ssh.known_hosts), "127.0.0.1", ssh.line.port, keys)
    await (await ssh.agent()).close()


async def test_a_changed_key_is_refused_and_can_be_replaced(ssh: SshWorkshop) -> None:
    (before,) = await scan_host_keys(target(ssh), SHORT)
    ssh.server.change_host_key()
    (after,) = await scan_host_keys(target(ssh), SHORT)
    with pytest.raises(HostKeyRefused, match="has changed") as refused:
        await ssh.agent()
    assert before.fingerprint in refused.value.message
    assert after.fingerprint in refused.value.message
    add_to_known_hosts(str(ssh.known_hosts), "127.0.0.1", ssh.line.port, [after], replace=True)
    await (await ssh.agent()).close()


async def test_a_resource_may_name_a_file_of_its_own(ssh: SshWorkshop) -> None:
    own = ssh.folder / "own"
    ssh.known_hosts.rename(own)
    with pytest.raises(HostKeyRefused, match="is unknown"):
        await ssh.agent()
    await (await ssh.agent(ssh.connection(ssh_known_hosts=str(own)))).close()


@pytest.mark.parametrize("kind", KEY_TYPES)
async def test_of_many_keys_the_known_one_is_asked_for(slurm_users: ClusterUsers, kind: str) -> None:
    ssh = SshWorkshop(slurm_users, host_keys=KEY_TYPES)
    try:
        ssh.start()
        assert [key.type for key in await scan_host_keys(target(ssh), SHORT)] == [
            "ssh-ed25519",
            "ecdsa-sha2-nistp256",
            "ssh-rsa",
        ]
        ssh.known_hosts.write_text(ssh.server.known_hosts_line(port=ssh.line.port, kind=kind))
        await (await ssh.agent()).close()
    finally:
        ssh.close()


async def test_a_host_with_which_nothing_can_be_agreed_says_so(ssh: SshWorkshop) -> None:
    ssh.server.configure(Ciphers="chacha20-poly1305@openssh.com")
    with pytest.raises(NothingInCommon, match="have no algorithm in common"):
        await ssh.agent()
    with pytest.raises(NothingInCommon):
        await scan_host_keys(target(ssh), SHORT)
