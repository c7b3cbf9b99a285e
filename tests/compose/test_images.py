"""What is in the service images, seen from inside their containers."""

import pytest

from tests.compose.containers import RunningContainers

pytestmark = pytest.mark.anyio

SERVICES = ("registry", "executor", "poller")


@pytest.mark.parametrize("service", SERVICES)
async def test_no_process_of_a_service_is_root(containers: RunningContainers, service: str) -> None:
    said = await containers.inside(service, "grep -h ^Uid: /proc/[0-9]*/status")
    users = {line.split()[1] for line in said.splitlines()}
    assert "1500" in users
    assert "0" not in users


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_has_no_compiler_and_no_installer(containers: RunningContainers, service: str) -> None:
    programs = "gcc cc g++ make pip pip3 curl wget"
    assert await containers.inside(service, f"for name in {programs}; do command -v $name; done; true") == ""
    assert await containers.inside(service, "ls -d /root/.cache /var/cache/apt/*.bin /build 2>/dev/null; true") == ""


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_cannot_change_its_own_programs(containers: RunningContainers, service: str) -> None:
    assert "Read-only file system" in await containers.inside(service, "touch /opt/stoker/new 2>&1; true")
    assert await containers.inside(service, "find /opt/stoker ! -user root") == ""


@pytest.mark.parametrize("service", ["executor", "poller"])
async def test_sudo_allows_the_agent_as_scientists_and_nothing_else(
    containers: RunningContainers, service: str
) -> None:
    agent = "/usr/bin/python3 -I -S /opt/stoker/agent.py"
    assert "STOKER-AGENT" in await containers.inside(service, f"sudo -n -u ada -- {agent} </dev/null")
    for refused in (f"-u root -- {agent}", f"-u stoker -- {agent}", "-u ada -- id", f"-u ada -- {agent} more"):
        said = await containers.inside(service, f"sudo -n {refused} </dev/null 2>&1 || echo refused")
        assert said.endswith("refused\n"), refused


async def test_only_sudo_makes_somebody_else_of_its_caller(containers: RunningContainers) -> None:
    search = "find / -xdev -perm /6000 -type f 2>/dev/null | sort; true"
    assert await containers.inside("registry", search) == ""
    assert (await containers.inside("executor", search)).split() == ["/usr/bin/sudo"]


@pytest.mark.parametrize("service", SERVICES)
async def test_the_administrators_key_is_in_no_service(containers: RunningContainers, service: str) -> None:
    assert await containers.inside(service, "ls -A /etc/stoker/admin 2>/dev/null; true") == ""
    assert "stk_" not in await containers.inside(service, "env; cat /proc/[0-9]*/environ 2>/dev/null; true")
