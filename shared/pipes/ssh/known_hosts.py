"""Files with the keys of hosts, in OpenSSH's format (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).

Read anew for each connection, so that what is added or taken away counts at once. Certificate authorities are not
used; a line that makes no sense counts as absent.
"""

import base64
import binascii
import contextlib
import fcntl
import fnmatch
import hashlib
import hmac
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from shared.pipes.errors import CannotConnect
from shared.pipes.ssh.errors import HostKeyRefused
from shared.pipes.ssh.host_keys import HostKey, host_pattern
from shared.pipes.ssh.target import SshTarget

_LARGEST_BYTES = 16 * 1024**2


class KnownKey(msgspec.Struct, frozen=True):
    """One key of a host, and the line that it is in."""

    key: HostKey
    line: int
    revoked: bool


def known_keys(path: str, host: str, port: int) -> list[KnownKey]:
    """All keys of the host in the file; none when there is no file. CannotConnect when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(_LARGEST_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        message = f"the known hosts in {path} cannot be read: {error.strerror}"
        raise CannotConnect(message, "let the service's user read it") from error
    return list(_keys(text, host_pattern(host.lower(), port)))


def trust_state(target: SshTarget, seen: HostKey) -> Literal["trusted", "unknown", "changed", "revoked"]:
    """What the file says of a key of this host. `changed`: it has another one of the same type."""
    same_type = [one for one in known_keys(target.known_hosts, target.host, target.port) if one.key.type == seen.type]
    if any(one.revoked and one.key == seen for one in same_type):
        return "revoked"
    valid = [one for one in same_type if not one.revoked]
    if not valid:
        return "unknown"
    return "trusted" if any(one.key == seen for one in valid) else "changed"


def verify(target: SshTarget, seen: HostKey) -> None:
    """Return when the host's key is known. Raises HostKeyRefused, whose message names key and remedy."""
    known = known_keys(target.known_hosts, target.host, target.port)
    if any(one.revoked and one.key == seen for one in known):
        raise HostKeyRefused(f"the host key of {target.shown} is marked as revoked in {target.known_hosts}")
    valid = [one for one in known if not one.revoked]
    if any(one.key == seen for one in valid):
        return
    shown = f"{seen.type} {seen.fingerprint}"
    trust = (
        f'compare it with the cluster\'s administrators, then accept it with: stoker ssh-trust "{target.resource}"'
    )
    if not valid:
        message = f"the host key of {target.shown} is unknown, it is {shown}"
        line = seen.line(target.host, target.port)
        raise HostKeyRefused(message, f"{trust} (or add to {target.known_hosts} the line: {line})")
    expected = ", ".join(f"{one.key.type} {one.key.fingerprint} (line {one.line})" for one in valid)
    raise HostKeyRefused(
        f"the host key of {target.shown} has changed, or somebody is in between: it is {shown}, and "
        f"{target.known_hosts} has {expected}",
        f"{trust} --replace",
    )


def add_to_known_hosts(path: str, host: str, port: int, keys: Sequence[HostKey], *, replace: bool = False) -> None:
    """Add keys of a host to the file, which is complete at any moment.

    `replace`: lines that name this host alone are taken out. Raises OSError when the folder cannot be written.
    """
    with _locked(path):
        try:
            old = Path(path).read_bytes().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            old = ""
        pattern = host_pattern(host.lower(), port)
        kept = [line for line in old.splitlines() if not (replace and _is_of(line, pattern))]
        new = [key.line(host, port) for key in keys]
        text = "".join(f"{line}\n" for line in [*kept, *(line for line in new if line not in kept)])
        temporary = Path(f"{path}.new")
        temporary.write_bytes(text.encode("utf-8", "surrogateescape"))
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    with Path(f"{path}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _keys(text: str, pattern: str) -> Iterator[KnownKey]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or marker not in ("", "@revoked"):  # noqa: PLR2004 - names, type, key
            continue
        if _names(words[0], pattern):
            with contextlib.suppress(binascii.Error, ValueError):
                key = HostKey(words[1], base64.b64decode(words[2], validate=True))
                yield KnownKey(key, number, revoked=bool(marker))


def _is_of(line: str, pattern: str) -> bool:
    words = line.split()
    return bool(words) and "," not in words[0] and not set("*?!#@") & set(words[0]) and _names(words[0], pattern)


def _names(field: str, pattern: str) -> bool:
    """Whether the first field of a line means this host."""
    if field.startswith("|1|"):
        return _is_hash_of(field, pattern)
    matched = False
    for one in field.lower().split(","):
        # Brackets around a host with a port are meant as they are, not as a set of characters.
        wild = one.removeprefix("!").replace("[", "[[]")
        if fnmatch.fnmatchcase(pattern, wild):
            if one.startswith("!"):
                return False
            matched = True
    return matched


def _is_hash_of(field: str, pattern: str) -> bool:
    try:
        _, _, salt, digest = field.split("|")
        made = hmac.new(base64.b64decode(salt), pattern.encode(), hashlib.sha1).digest()
        return hmac.compare_digest(made, base64.b64decode(digest))
    except ValueError:
        return False
