"""A private sshd from Debian's package: a loopback port, host keys and a configuration of its own."""

import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.folders import PrivateFolder
from tests.servers.process import ServerProcess, free_port, program
from tests.servers.slurm.users import UnixUser, supplementary_groups

KEY_TYPES = ("ed25519", "ecdsa", "rsa")


class SshServer:
    """Let users in with `admit`; whatever is changed with `configure` counts after the start that it makes."""

    def __init__(
        self,
        *,
        address: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
        host_keys: Sequence[str] = ("ed25519",),
    ) -> None:
        self.address = address
        self.port = free_port()
        self._private = PrivateFolder("stoker-sshd-")
        self.folder = self._private.path
        self.folder.chmod(0o755)
        self._environment = dict(environment or {})
        self._host_keys = tuple(host_keys)
        for kind in self._host_keys:
            make_key(self._host_key(kind), kind=kind)
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        command = [program("sshd", "openssh-server"), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        dies_with_us = [program("setpriv", "util-linux"), "--pdeathsig=TERM"]
        self.process = ServerProcess([*dies_with_us, *command], log=self.folder / "sshd.log", is_ready=self._greets)
        self._write({})

    def _host_key(self, kind: str) -> Path:
        return self.folder / f"host_{kind}"

    def configure(self, **options: str | int) -> None:
        """Start it anew with these options of sshd_config besides its own."""
        self.process.stop()
        self._write(options)
        self.process.start()

    def change_host_key(self, kind: str = "ed25519") -> None:
        """Another key of that type, from the next start on, which this is."""
        for path in (self._host_key(kind), self._host_key(kind).with_suffix(".pub")):
            path.unlink(missing_ok=True)
        make_key(self._host_key(kind), kind=kind)
        self.process.stop()
        self.process.start()

    def _write(self, options: Mapping[str, str | int]) -> None:
        written = {
            "ListenAddress": f"[{self.address}]:{self.port}"
            if ":" in self.address
            else f"{self.address}:{self.port}",
            "PidFile": "none",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UseDNS": "no",
            "PrintMotd": "no",
            # As strict as can be: one connection serves with one channel.
            "MaxSessions": "1",
            "Subsystem": "sftp internal-sftp",
            **{name: str(value) for name, value in options.items()},
        }
        lines = [f"{name} {value}" for name, value in written.items()]
        lines += [f"HostKey {self._host_key(kind)}" for kind in self._host_keys]
        if self._environment:
            lines.append("SetEnv " + " ".join(f'{name}="{value}"' for name, value in self._environment.items()))
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")

    def _greets(self) -> bool:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        with socket.socket(family) as connection:
            connection.settimeout(2)
            try:
                connection.connect((self.address, self.port))
                return connection.recv(16).startswith(b"SSH-")
            except OSError:
                return False

    def known_hosts_line(self, *, host: str = "", port: int | None = None, kind: str = "ed25519") -> str:
        """The line that makes the server known (as reached through another port, if one is given)."""
        key_type, blob = self._host_key(kind).with_suffix(".pub").read_text().split()[:2]
        return f"[{host or self.address}]:{port or self.port} {key_type} {blob}\n"

    def fingerprint(self, kind: str = "ed25519") -> str:
        """Of the host's key, as `ssh-keygen -l` shows it: `SHA256:…`."""
        command = [program("ssh-keygen", "openssh-client"), "-l", "-f", str(self._host_key(kind))]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[1]

    def admit(self, user: UnixUser, *public_keys: str, options: str = "") -> None:
        """These public keys, and no others, log the user in; `options` precede each (`restrict,command="…"`)."""
        # An account without a password counts as locked, one with an impossible password does not.
        subprocess.run(["/usr/sbin/usermod", "-p", "*", user.name], check=True)
        text = "".join(f"{options} {key}\n".lstrip() for key in public_keys)
        write_as(user, user.home / ".ssh" / "authorized_keys", text)

    def close(self) -> None:
        """End it, with its sessions."""
        self.process.stop()
        self._private.remove()


def make_key(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> str:
    """Make a key pair; returns the public key's line."""
    command = [program("ssh-keygen", "openssh-client"), "-q", "-t", kind, "-N", passphrase, "-f", str(path)]
    subprocess.run([*command, *(["-b", "2048"] if kind == "rsa" else [])], check=True)
    return path.with_name(f"{path.name}.pub").read_text().strip()


def write_as(user: UnixUser, path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file below the user's home as that user, with its folder."""
    script = 'umask 077; mkdir -p "$(dirname "$1")" && cat > "$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"'
    subprocess.run(
        [shutil.which("sh") or "/bin/sh", "-c", script, "sh", str(path), f"{mode:o}"],
        input=text.encode(),
        user=user.uid,
        group=user.gid,
        extra_groups=supplementary_groups(user),
        cwd="/",
        check=True,
    )
