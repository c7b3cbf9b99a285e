"""Clients of the three services; the one package that speaks HTTP to them."""

from shared.clients.executor import ExecutorClient
from shared.clients.poller import PollerClient
from shared.clients.registry import RegistryClient

__all__ = ["ExecutorClient", "PollerClient", "RegistryClient"]
