"""The sudo rule: one fixed command, for the users that it names, and never as root."""

import re
from collections.abc import Sequence

from stoker.errors import Invalid

_NAME = re.compile(r"\w[\w.@\\ -]{0,255}\$?")
_ESCAPED_IN_PATHS = frozenset(" :,=#")
"""Others than these (patterns, quotes, backslashes) sudo cannot be given in a path."""

_PLAIN = re.compile(r"[A-Za-z0-9_./@%+-]", re.ASCII)
_RESERVED = frozenset({"ALL", "root"})


def agent_command(python: str, agent_file: str) -> list[str]:
    """Return the one command that the rule allows."""
    return [python, "-I", "-S", agent_file]


def sudoers_rule(service_user: str, runas: Sequence[str], python: str, agent_file: str) -> str:
    """Return the line that lets `service_user` start the agent.

    `runas` are the users as whom, or groups of users (`%cluster-users`). NOSETENV keeps the service from passing
    environment variables where a site lets everybody do that. Raises Invalid for what cannot be said safely.
    """
    if not runas:
        raise Invalid("the rule has to name users, or a group of them")
    names = ",".join(_principal(one) for one in runas)
    if any(character.isspace() for character in agent_file):
        # sudo compares all arguments as one text: with a space in it, other files would match too.
        raise Invalid(f"the agent's path must hold no spaces: {agent_file!r}")
    command = " ".join(_word(one) for one in agent_command(_absolute(python), _absolute(agent_file)))
    return f"{_principal(service_user, group=False)} ALL=({names}) NOPASSWD:NOSETENV: {command}"


def rule_or_reason(service_user: str, runas: Sequence[str], python: str, agent_file: str) -> str:
    """`sudoers_rule`, for messages: where there can be none, the reason."""
    try:
        return sudoers_rule(service_user, runas, python, agent_file)
    except Invalid as error:
        return f"(none: {error.message})"


def _principal(name: str, *, group: bool = True) -> str:
    is_group = group and name.startswith("%")
    bare = name[1:] if is_group else name
    if not _NAME.fullmatch(bare) or bare in _RESERVED:
        raise Invalid(f"{name!r} is not a user or group that a rule may name")
    # Letters of other scripts mean nothing to sudo.
    return ("%" if is_group else "") + "".join(one if one.isalnum() else _word(one) for one in bare)


def _absolute(path: str) -> str:
    if not path.startswith("/") or any(ord(character) < ord(" ") or character == "\x7f" for character in path):
        raise Invalid(f"{path!r} is not an absolute path")
    if path.endswith("/") or "/../" in path or "/./" in path:
        raise Invalid(f"{path!r} does not name a file plainly")
    if wrong := [one for one in path if not (_PLAIN.fullmatch(one) or one in _ESCAPED_IN_PATHS)]:
        raise Invalid(f"a sudo rule cannot hold {wrong[0]!r} in a path: {path!r}")
    return path


def _word(text: str) -> str:
    """Escape all that sudoers reads as something else: separators, quotes, comments, patterns."""
    return "".join(one if _PLAIN.fullmatch(one) else f"\\{one}" for one in text)
