"""Where agents are told to find SLURM."""

from typing import Any

import msgspec
import pytest

from shared.pipes import slurm_of
from stoker.contracts.holds import Connection
from tests.pure.test_golden_contracts import profile, resource


def connection(kind: Any, **changes: Any) -> Connection:
    made = resource(kind)
    spec = msgspec.convert(msgspec.to_builtins(made.spec) | changes, type(made.spec))
    return Connection(resource=msgspec.structs.replace(made, spec=spec), profile=profile(kind))


@pytest.mark.parametrize("kind", ["slurm_sudo", "slurm_ssh"])
def test_what_the_resource_names_is_told(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/etc/own.conf")
    named = connection(kind, slurm_conf="/opt/b/slurm.conf", slurm_commands_dir="/opt/b/bin")
    assert slurm_of(named) == {"commands_dir": "/opt/b/bin", "conf": "/opt/b/slurm.conf"}


def test_beside_the_service_its_own_configuration_reaches_every_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/etc/own.conf")
    told = {kind: slurm_of(connection(kind)) for kind in ("local", "slurm_sudo", "slurm_ssh")}
    assert told == {"local": {}, "slurm_sudo": {"conf": "/etc/own.conf"}, "slurm_ssh": {}}
    monkeypatch.delenv("SLURM_CONF")
    assert slurm_of(connection("slurm_sudo")) == {}
