"""Pipes through SSH: one connection, one held channel. The only package that knows paramiko."""

from shared.pipes.ssh.host_keys import HostKey
from shared.pipes.ssh.known_hosts import add_to_known_hosts, trust_state
from shared.pipes.ssh.opening import open_ssh_pipe
from shared.pipes.ssh.scanning import scan_host_keys
from shared.pipes.ssh.target import SshLimits, SshTarget

__all__ = [
    "HostKey",
    "SshLimits",
    "SshTarget",
    "add_to_known_hosts",
    "open_ssh_pipe",
    "scan_host_keys",
    "trust_state",
]
