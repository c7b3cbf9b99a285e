"""Commands on one cluster: as its administrator, or in a user's clean login environment."""

import subprocess
from pathlib import Path

from tests.servers.process import ServerNotUsableError
from tests.servers.slurm.users import UnixUser, supplementary_groups

Done = subprocess.CompletedProcess[str]
_COMMAND_SECONDS = 60.0


def run_command(
    command: tuple[str, ...],
    *,
    user: UnixUser | None,
    configuration: Path | None,
    path: str = "/usr/sbin:/usr/bin:/sbin:/bin",
    standard_input: str = "",
    check: bool = True,
) -> Done:
    """As `user` in their home, or as root in `/`; ServerNotUsableError carries the words of a command that failed."""
    environment = {"PATH": path, "LANG": "C.UTF-8"}
    if configuration is not None:
        environment["SLURM_CONF"] = str(configuration)
    if user is not None:
        environment = {**user.environment, **environment}
    done = subprocess.run(
        command,
        env=environment,
        cwd="/" if user is None else user.home,
        user=None if user is None else user.uid,
        group=None if user is None else user.gid,
        extra_groups=None if user is None else supplementary_groups(user),
        umask=0o022,
        input=standard_input,
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    if check and done.returncode != 0:
        raise ServerNotUsableError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr}{done.stdout}")
    return done


def fields_of(line: str) -> dict[str, str]:
    """`scontrol -o show …` as a mapping: `Key=value Key=value with spaces …`."""
    fields: dict[str, str] = {}
    key = ""
    for word in line.split(" "):
        name, equals, value = word.partition("=")
        if equals and name.replace(":", "").replace("/", "").replace("_", "").isalnum() and name[:1].isupper():
            key = name
            fields[key] = value
        elif key:
            fields[key] += f" {word}"
    return {name: value.strip() for name, value in fields.items()}
