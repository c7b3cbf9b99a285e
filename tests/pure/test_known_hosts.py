"""Files with host keys: what they say of a host, and how they are added to."""

import base64
import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.pipes.errors import CannotConnect
from shared.pipes.ssh import HostKey, SshTarget, add_to_known_hosts
from shared.pipes.ssh.errors import HostKeyRefused
from shared.pipes.ssh.known_hosts import known_keys, verify

KEY = HostKey("ssh-ed25519", b"\0\0\0\x0bssh-ed25519 one")
OTHER = HostKey("ssh-ed25519", b"\0\0\0\x0bssh-ed25519 two")
RSA = HostKey("ssh-rsa", b"\0\0\0\x07ssh-rsa three")
TEXT = base64.b64encode(KEY.blob).decode()


def hashed(name: str) -> str:
    salt = b"twenty bytes of salt"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("names", "host", "port", "known"),
    [
        ("login.example.org", "login.example.org", 22, True),
        ("login.example.org", "LOGIN.Example.org", 22, True),
        ("login.example.org", "login.example.org", 2222, False),
        ("[login.example.org]:2222", "login.example.org", 2222, True),
        ("[login.example.org]:2222", "login.example.org", 22, False),
        ("other,login.example.org,10.0.0.1", "login.example.org", 22, True),
        ("*.example.org", "login.example.org", 22, True),
        ("*.example.org,!login.example.org", "login.example.org", 22, False),
        ("login?.example.org", "login1.example.org", 22, True),
        ("[*.example.org]:2222", "login.example.org", 2222, True),
        ("[::1]:2222", "::1", 2222, True),
        ("::1", "::1", 22, True),
        (hashed("login.example.org"), "login.example.org", 22, True),
        (hashed("[login.example.org]:2222"), "login.example.org", 2222, True),
        (hashed("login.example.org"), "login2.example.org", 22, False),
        ("|1|nonsense", "login.example.org", 22, False),
        ("@cert-authority login.example.org", "login.example.org", 22, False),
        ("# login.example.org", "login.example.org", 22, False),
    ],
)
def test_names_are_read_as_openssh_reads_them(
    tmp_path: Path, names: str, host: str, port: int, *, known: bool
) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"\n# a comment\nbroken\nother ssh-ed25519 !!!\n{names} ssh-ed25519 {TEXT} a comment\n")
    assert [one.key for one in known_keys(str(file), host, port)] == ([KEY] if known else [])


def target(path: Path) -> SshTarget:
    return SshTarget(
        resource="My cluster",
        host="login",
        port=2222,
        username="u",
        key_path="/k",
        known_hosts=str(path),
        python="/p",
    )


def test_an_unknown_key_is_refused_with_what_was_seen_and_how_to_accept_it(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    with pytest.raises(HostKeyRefused) as refused:
        verify(target(file), KEY)
    for words in ("login:2222 is unknown", KEY.fingerprint, 'stoker ssh-trust "My cluster"', KEY.line("login", 2222)):
        assert words in refused.value.message
    file.write_text(KEY.line("login", 2222) + "\n")
    verify(target(file), KEY)


def test_a_changed_key_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"# first\n{KEY.line('login', 2222)}\n{RSA.line('login', 2222)}\n")
    with pytest.raises(HostKeyRefused) as refused:
        verify(target(file), OTHER)
    for words in ("has changed", OTHER.fingerprint, f"{KEY.fingerprint} (line 2)", RSA.fingerprint, "--replace"):
        assert words in refused.value.message


def test_a_revoked_key_is_refused_although_another_line_has_it(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"{KEY.line('login', 2222)}\n@revoked * ssh-ed25519 {TEXT}\n")
    with pytest.raises(HostKeyRefused, match="revoked"):
        verify(target(file), KEY)


def test_a_file_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(CannotConnect, match="cannot be read: Is a directory"):
        known_keys(str(tmp_path), "login", 22)


def test_keys_are_added_once_and_all_of_many_writers(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("# mine\nother ssh-ed25519 AAAA")
    with ThreadPoolExecutor(8) as pool:
        for number in range(40):
            pool.submit(add_to_known_hosts, str(file), f"host{number % 20}", 22, [KEY, RSA])
    lines = file.read_text().splitlines()
    assert lines[:2] == ["# mine", "other ssh-ed25519 AAAA"]
    assert sorted(lines[2:]) == sorted(key.line(f"host{number}", 22) for number in range(20) for key in (KEY, RSA))


def test_a_replaced_key_takes_out_the_lines_of_this_host_alone(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    kept = [f"login,other ssh-ed25519 {TEXT}", f"* ssh-ed25519 {TEXT}", KEY.line("login", 2222), "# login"]
    file.write_text("\n".join([KEY.line("login", 22), *kept, f"{hashed('login')} ssh-ed25519 {TEXT}"]) + "\n")
    add_to_known_hosts(str(file), "login", 22, [OTHER], replace=True)
    assert file.read_text().splitlines() == [*kept, OTHER.line("login", 22)]
