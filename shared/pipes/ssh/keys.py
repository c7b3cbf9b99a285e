"""The private key of a profile, read at each connection, so that a new one counts from the next on."""

from pathlib import Path

import paramiko

from shared.pipes.errors import CannotConnect

_LARGEST_BYTES = 64 * 1024
_NEW_KEY = "make one with: ssh-keygen -t ed25519 -N ''"


def load_key(path: str) -> paramiko.PKey:
    """Return the key. Raises CannotConnect, in words for each way in which a file is no usable key."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LARGEST_BYTES)
    except FileNotFoundError as error:
        raise CannotConnect(f"there is no key file {path}", "put it there, or correct ssh_key_path") from error
    except OSError as error:
        message = f"the key file {path} cannot be read: {error.strerror}"
        raise CannotConnect(message, "let the service's user, and nobody else, read it") from error
    if b"PRIVATE KEY-----" not in data:
        what = "a public key" if data.startswith((b"ssh-", b"ecdsa-")) else "no private key"
        raise CannotConnect(f"the key file {path} holds {what}", _NEW_KEY)
    try:
        return paramiko.PKey.from_path(path)
    except (paramiko.PasswordRequiredException, TypeError) as error:
        message = f"the key in {path} has a passphrase, which nobody could type in"
        raise CannotConnect(message, f"take it off with: ssh-keygen -p -N '' -f {path}") from error
    except paramiko.pkey.UnknownKeyType as error:
        raise CannotConnect(f"the key in {path} is of a type that is not served", _NEW_KEY) from error
    except Exception as error:
        # The libraries below raise whatever their parsers stumble over.
        if _asks_for_a_passphrase(error):
            message = f"the key in {path} has a passphrase, which nobody could type in"
            raise CannotConnect(message, f"take it off with: ssh-keygen -p -N '' -f {path}") from error
        raise CannotConnect(f"the key in {path} is damaged, or of a type that is not served", _NEW_KEY) from error


def _asks_for_a_passphrase(error: Exception) -> bool:
    return any(word in str(error).lower() for word in ("password", "passphrase", "encrypted"))
