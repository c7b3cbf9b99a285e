"""Clients of the three services; the one package that speaks HTTP to them."""

from stoker.clients.executor import ExecutorClient
from stoker.clients.poller import PollerClient
from stoker.clients.registry import RegistryClient

__all__ = ["ExecutorClient", "PollerClient", "RegistryClient"]
