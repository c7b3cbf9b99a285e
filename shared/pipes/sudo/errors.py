"""Why sudo started no agent, in words, with the line that mends it."""

import os
import pwd
import re
import shlex

from shared.pipes.sudo.sudoers import rule_or_reason

_CASES = (
    (r"a (?:terminal|password) is required|not allowed to execute|not in the sudoers file|may not run sudo", "rule"),
    (r"unknown user", "user"),
    (r"does not run as root", "root"),
    (r"must have a tty", "tty"),
    (r"must be owned by uid 0 and have the setuid bit|no new privileges", "setuid"),
    (r"syntax error|parse error|unable to (?:open|read) /etc/sudoers|is world writable|is owned by uid", "sudoers"),
    (r"account (?:validation failure|or password is expired)|PAM", "account"),
    (r"can't open file .*Permission denied", "unreadable"),
    (r"can't open file", "agent"),
    (r"sudo: .*: command not found|unable to execute", "python"),
    (r"SyntaxError|ImportError|ModuleNotFoundError|unknown option", "old"),
)


def why_no_agent(stderr: str, user: str, python: str, agent_file: str) -> str:
    """Return the reason; what was said on standard error is part of it."""
    kind = next((kind for pattern, kind in _CASES if re.search(pattern, stderr)), "")
    said = " / ".join(line.strip() for line in stderr.splitlines() if line.strip())[-600:]
    reason = _reason(kind, user, python, agent_file)
    return f"{reason} (it said: {said})" if said else reason


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _reason(kind: str, user: str, python: str, agent_file: str) -> str:
    file = shlex.quote(agent_file)
    words = {
        "user": f"this host has no user {user}; mend the profile's username",
        "root": f"{user} is root here, and nothing is run as root; mend the profile's username",
        "tty": "sudo wants a terminal here; mend it in sudoers with: Defaults !requiretty",
        "setuid": "sudo cannot work in this process: it lacks its setuid bit, or the service runs with "
        "NoNewPrivileges (systemd: NoNewPrivileges=no)",
        "sudoers": "sudo cannot use its rules; mend them with: visudo -c",
        "account": f"the system lets nobody become {user} (PAM: expired, locked or not allowed here)",
        "python": f"the interpreter {python} is not there; mend jobs_slurm_python_worker of the resource",
        "agent": f"the agent is not installed as {agent_file}; mend it as root with: stoker agent > {file}",
        "unreadable": f"{user} may not read the agent {agent_file}; mend it as root with: chmod 0755 {file} (and the "
        "folders above it)",
        "old": f"{python} cannot run the agent: Python 3.9 or newer is needed; mend jobs_slurm_python_worker",
    }
    if kind == "rule":
        rule = rule_or_reason(_own_name(), [user], python, agent_file)
        line = f"mend it with this line in /etc/sudoers.d/stoker: {rule}"
        return f"sudo lets this service start no agent as {user}; {line}"
    return words.get(kind, f"sudo started no agent as {user}")
