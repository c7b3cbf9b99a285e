"""One authenticated SSH connection, made step by step; each step has a time limit and an error of its own.

All of it blocks: it is called in threads. `abandon` may be called from any thread at any time and ends whatever the
others are waiting for.
"""

import contextlib
import logging
import socket
import threading
import time

import paramiko

from shared.pipes.errors import CannotConnect
from shared.pipes.ssh.errors import NothingInCommon
from shared.pipes.ssh.host_keys import HostKey
from shared.pipes.ssh.keys import load_key
from shared.pipes.ssh.known_hosts import known_keys, verify
from shared.pipes.ssh.sockets import open_socket
from shared.pipes.ssh.target import SshLimits, SshTarget

# Its log is tracebacks of what is told as errors here.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

# Enough for 40 MB/s over a line with a round trip of 100 ms.
WINDOW_BYTES = 4 * 1024**2
# Authenticated encryption in one pass costs less than cipher and checksum one after the other.
_FIRST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")


class SshLine:
    """`doing` says which step is under way, for whoever gives up waiting for it."""

    def __init__(self, target: SshTarget, limits: SshLimits) -> None:
        self.target = target
        self.doing = "looking up the host's name"
        self._limits = limits
        self._lock = threading.Lock()
        self._abandoned = False
        self._socket: socket.socket | None = None
        self._transport: paramiko.Transport | None = None

    @property
    def transport(self) -> paramiko.Transport:
        """The connection; only after `handshake`."""
        if self._transport is None:
            raise CannotConnect(f"there is no connection to {self.target.shown}")
        return self._transport

    def handshake(self, host_key_types: tuple[str, ...] = ()) -> HostKey:
        """Connect and agree on keys; returns the host's. `host_key_types`: only these are asked for."""
        self.doing = "connecting"
        made = open_socket(self.target, self._limits.connect)
        with self._lock:
            self._socket = made
        self._go_on()
        self.doing = "waiting for the host's greeting"
        transport = paramiko.Transport(made)
        with self._lock:
            self._transport = transport
        self._go_on()
        transport.banner_timeout = self._limits.banner
        transport.handshake_timeout = self._limits.login
        options = transport.get_security_options()
        options.ciphers = _first(_FIRST_CIPHERS, tuple(options.ciphers))
        options.key_types = host_key_types or self._known_types(tuple(options.key_types))
        began = time.monotonic()
        try:
            transport.start_client(timeout=self._limits.banner + self._limits.login)
            key = transport.get_remote_server_key()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._no_agreement(error, time.monotonic() - began) from error
        return HostKey(key.get_name(), key.asbytes())

    def log_in(self) -> None:
        """Verify the host's key, then show ours."""
        key = load_key(self.target.key_path)
        verify(self.target, self.handshake())
        self.doing = "logging in"
        self.transport.auth_timeout = self._limits.login
        try:
            left = self.transport.auth_publickey(self.target.username, key)
        except paramiko.AuthenticationException as error:
            raise self._refused(HostKey(key.get_name(), key.asbytes())) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._closed("while logging in", error) from error
        if left:
            wanted = ", ".join(left)
            raise CannotConnect(
                f"{self.target.shown} asks for more than a key ({wanted})", "exempt this user from it in sshd_config"
            )

    def run(self, command: str) -> paramiko.Channel:
        """Open the one channel and start the command in it."""
        self.doing = "opening a channel"
        limit = self._limits.channel
        try:
            channel = self.transport.open_session(window_size=WINDOW_BYTES, timeout=limit)
        except paramiko.ChannelException as error:
            message = f"{self.target.shown} opens no channel ({error.text})"
            raise CannotConnect(message, "allow a session to this user (MaxSessions in sshd_config)") from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._closed("when a channel was asked for", error) from error
        self.doing = "starting a command"
        try:
            channel.settimeout(limit)
            channel.exec_command(command)
            channel.settimeout(None)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._closed("instead of starting a command", error) from error
        return channel

    def abandon(self) -> None:
        """End the connection, whatever state it is in."""
        with self._lock:
            self._abandoned = True
            transport, made = self._transport, self._socket
        if made is not None:
            with contextlib.suppress(OSError):  # it is not connected (any more)
                made.shutdown(socket.SHUT_RDWR)
            made.close()
        if transport is not None:
            transport.close()

    def _go_on(self) -> None:
        with self._lock:
            abandoned = self._abandoned
        if abandoned:
            self.abandon()
            raise CannotConnect("the attempt was given up")

    def _known_types(self, supported: tuple[str, ...]) -> tuple[str, ...]:
        """Ask for the types first that are known of this host, or it would show another one of its keys."""
        known = known_keys(self.target.known_hosts, self.target.host, self.target.port)
        types = {one.key.type for one in known if not one.revoked}
        first = [name for name in supported if name in types or (name.startswith("rsa-") and "ssh-rsa" in types)]
        return _first(tuple(first), supported)

    def _no_agreement(self, error: Exception, waited_seconds: float) -> CannotConnect:
        shown, text = self.target.shown, str(error)
        if self.transport.remote_version == "":
            if waited_seconds >= self._limits.banner:
                message = f"{shown} takes the connection and says nothing for {self._limits.banner:g} seconds"
                return CannotConnect(message, "see whether an SSH server is there, and whether it is overloaded")
            if "Indecipherable" in text:
                return CannotConnect(f"{shown} is no SSH server: it says other things", "correct host and port")
            message = f"{shown} closes the connection before it says anything"
            return CannotConnect(
                message, "it may have too many logins under way (MaxStartups in sshd_config), or not let this host in"
            )
        if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
            return NothingInCommon(f"{shown} and Stoker have no algorithm in common: {text}", "update its SSH server")
        if self.transport.is_active():
            return CannotConnect(f"{shown} has not agreed on keys in {self._limits.login:g} seconds", "see its load")
        return self._closed("while keys were exchanged", error)

    def _refused(self, key: HostKey) -> CannotConnect:
        return CannotConnect(
            f"{self.target.shown} does not let {self.target.username} in with the key in {self.target.key_path} "
            f"({key.type} {key.fingerprint})",
            "see whether the user exists there, may log in, and has the public key in ~/.ssh/authorized_keys",
        )

    def _closed(self, when: str, error: Exception) -> CannotConnect:
        why = str(error) or type(error).__name__
        return CannotConnect(f"{self.target.shown} closed the connection {when} ({why})")


def _first(wanted: tuple[str, ...], supported: tuple[str, ...]) -> tuple[str, ...]:
    ahead = tuple(name for name in wanted if name in supported)
    return ahead + tuple(name for name in supported if name not in ahead)
