"""The sudo rule as text, and what it refuses to say."""

from pathlib import Path

import pytest

from shared.pipes.sudo.errors import why_no_agent
from shared.pipes.sudo.sudoers import sudoers_rule
from shared.pipes.sudo.trust import Doubt, untrusted_parts
from stoker.errors import Invalid

PYTHON, AGENT = "/usr/bin/python3", "/opt/stoker/agent.py"


def test_the_rule_names_one_command_and_its_users() -> None:
    assert sudoers_rule("stoker", ["%cluster-users"], PYTHON, AGENT) == (
        "stoker ALL=(%cluster-users) NOPASSWD:NOSETENV: /usr/bin/python3 -I -S /opt/stoker/agent.py"
    )
    assert "(ada,grace,%lab1)" in sudoers_rule("stoker", ["ada", "grace", "%lab1"], PYTHON, AGENT)


def test_what_sudoers_would_read_as_something_else_is_escaped() -> None:
    rule = sudoers_rule("EXAMPLE\\stoker", ["%domain users"], "/opt/my py:3,=x/python", "/opt/a,b:c=d#.py")
    assert rule == (
        r"EXAMPLE\\stoker ALL=(%domain\ users) NOPASSWD:NOSETENV: "
        r"/opt/my\ py\:3\,\=x/python -I -S /opt/a\,b\:c\=d\#.py"
    )


def test_names_of_directories_are_taken_whatever_their_script() -> None:
    rule = sudoers_rule("stoker", [r"DOM\jürgen.m", "анна@lab.example", "%DOM\\domain users"], PYTHON, AGENT)
    assert r"ALL=(DOM\\jürgen.m,анна@lab.example,%DOM\\domain\ users) " in rule


@pytest.mark.parametrize(
    ("service", "runas", "python", "agent"),
    [
        ("stoker", [], PYTHON, AGENT),
        ("stoker", ["ALL"], PYTHON, AGENT),
        ("stoker", ["root"], PYTHON, AGENT),
        ("stoker", ["#0"], PYTHON, AGENT),
        ("stoker", ["%#0"], PYTHON, AGENT),
        ("stoker", ["!ada"], PYTHON, AGENT),
        ("stoker", ["ada,root"], PYTHON, AGENT),
        ("stoker", ["-u"], PYTHON, AGENT),
        ("stoker", ["ada\nroot"], PYTHON, AGENT),
        ("%stoker", ["ada"], PYTHON, AGENT),
        ("ALL", ["ada"], PYTHON, AGENT),
        ("stoker", ["ada"], "python3", AGENT),
        ("stoker", ["ada"], "/usr/bin/py*", AGENT),
        ("stoker", ["ada"], PYTHON, "/opt/stoker/*.py"),
        ("stoker", ["ada"], PYTHON, "/opt/stoker/agent[0-9].py"),
        ("stoker", ["ada"], PYTHON, "/opt/a\\b.py"),
        ("stoker", ["ada"], PYTHON, "/opt/my agent.py"),
        ("stoker", ["ada"], PYTHON, "/opt/../tmp/agent.py"),
        ("stoker", ["ada"], PYTHON, "/opt/stoker/"),
        ("stoker", ["ada"], "/usr/bin/python3\nroot ALL=(ALL) ALL", AGENT),
    ],
)
def test_a_rule_that_would_allow_more_is_not_written(service: str, runas: list[str], python: str, agent: str) -> None:
    with pytest.raises(Invalid):
        sudoers_rule(service, runas, python, agent)


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        ("sudo: sorry, you must have a tty to run sudo\n", "Defaults !requiretty"),
        ('sudo: The "no new privileges" flag is set, which prevents sudo from running as root.\n', "NoNewPrivileges"),
        ("/etc/sudoers.d/x:1:5: syntax error\n", "visudo -c"),
        ("sudo: PAM account management error: Permission denied\n", "PAM"),
        ("stoker is not in the sudoers file.\n", "/etc/sudoers.d/stoker: "),
        ("SyntaxError: future feature annotations is not defined\n", "Python 3.9 or newer"),
        ("something new\n", "sudo started no agent as ada (it said: something new)"),
        ("", "sudo started no agent as ada"),
    ],
)
def test_what_cannot_be_provoked_here_has_words_too(stderr: str, words: str) -> None:
    assert words in why_no_agent(stderr, "ada", PYTHON, AGENT)


def test_what_root_alone_can_change_is_trusted() -> None:
    assert untrusted_parts("/usr/bin/env") == []


def test_whatever_others_may_change_on_the_way_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "agent.py").touch()
    folder.chmod(0o775)
    link = tmp_path / "link"
    link.symlink_to("folder/../folder")
    findings = untrusted_parts(str(link / "agent.py"))
    assert Doubt(f"{folder} is writable by others than root", f"chmod go-w {folder}") in findings
    folder.chmod(0o755)
    (folder / "agent.py").chmod(0o646)
    assert any(
        one.detail.startswith(f"{folder}/agent.py is writable") for one in untrusted_parts(str(link / "agent.py"))
    )


def test_what_is_no_file_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    assert any("is not a file" in one.detail for one in untrusted_parts("/usr"))
    assert any("No such file" in one.detail for one in untrusted_parts(str(tmp_path / "missing" / "agent.py")))
    assert any("too many links" in one.detail for one in untrusted_parts(str(tmp_path / "round")))
    assert untrusted_parts("agent.py") == [Doubt("agent.py is not an absolute path")]
