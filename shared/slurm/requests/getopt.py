"""The options of sbatch, read from words exactly as sbatch reads them: GNU's getopt_long with SLURM's own table.

A long name may be cut to as much as only one begins with. Short options stand together behind one dash, and the first
that takes a value takes the rest of the word. What needs a value takes the next word, whatever that is.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

Takes = Literal["nothing", "value", "perhaps"]

_NOTHING = """
contiguous help hold ignore-pbs no-requeue overcommit oversubscribe parsable quiet reboot requeue share spread-job
test-only usage use-min-nodes verbose version wait external stepmgr
"""
_PERHAPS = "exclusive get-user-env nice no-kill oom-kill-step propagate resv-ports"
_VALUE = """
account acctg-freq admin-comment array batch bb bbf begin chdir cluster cluster-constraint clusters comment
consolidate-segments constraint container container-id context core-spec cores-per-socket cpu-freq cpus-per-gpu
cpus-per-task deadline delay-boot dependency distribution error exclude export export-file extra extra-node-info gid
gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint input job-name
kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network
nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket ntasks-per-tres
open-mode output partition power prefer priority profile qos reservation segment signal sockets-per-node switches
task-prolog tasks-per-node thread-spec threads-per-core time time-min tmp tres-bind tres-per-task uid wait-all-nodes
wckey workdir wrap
"""
LONG: dict[str, Takes] = {
    **dict.fromkeys(_NOTHING.split(), "nothing"),
    **dict.fromkeys(_PERHAPS.split(), "perhaps"),
    **dict.fromkeys(_VALUE.split(), "value"),
}
"""Long names of any version of the last years, and what follows them."""

SHORT: dict[str, str] = {
    "A": "account",
    "B": "extra-node-info",
    "C": "constraint",
    "D": "chdir",
    "F": "nodefile",
    "G": "gpus",
    "H": "hold",
    "J": "job-name",
    "L": "licenses",
    "M": "clusters",
    "N": "nodes",
    "O": "overcommit",
    "Q": "quiet",
    "S": "core-spec",
    "V": "version",
    "W": "wait",
    "a": "array",
    "b": "begin",
    "c": "cpus-per-task",
    "d": "dependency",
    "e": "error",
    "h": "help",
    "i": "input",
    "k": "no-kill",
    "m": "distribution",
    "n": "ntasks",
    "o": "output",
    "p": "partition",
    "q": "qos",
    "s": "oversubscribe",
    "t": "time",
    "v": "verbose",
    "w": "nodelist",
    "x": "exclude",
}


class Option(msgspec.Struct, frozen=True):
    """One option: its full name, its value if it has one, and how it was and how it is to be written."""

    name: str
    value: str | None
    shown: str
    words: tuple[str, ...]


def read_options(words: Sequence[str]) -> Iterator[Option | str]:
    """Yield the options in the words of one line, and in words what is wrong with the line."""
    left = list(reversed(words))
    while left:
        word = left.pop()
        if word.startswith("--") and word[2:3].isalpha():
            yield _long(word, left)
        elif word.startswith("-") and word[1:2].isalpha():
            yield from _short(word, left)
        else:
            yield f'{word} is not an option; write "#SBATCH --option=value"'


def _long(word: str, left: list[str]) -> Option | str:
    written, equals, text = word[2:].partition("=")
    value = text if equals else None
    shown = f"--{written}"
    name = written
    if written not in LONG:
        fitting = [known for known in LONG if known.startswith(written)]
        if len(fitting) > 1:
            return f"{shown} can be {', '.join(f'--{one}' for one in fitting)}; write the whole name"
        if fitting:
            name = fitting[0]
    if value is not None:
        if LONG.get(name) == "nothing":
            return f"{shown} takes no value"
        return Option(name, value, shown, (word,) if name == written else (f"--{name}={value}",))
    # Of an option that only other versions have, it is not known whether it takes a value.
    takes_next = name not in LONG and bool(left) and not left[-1].startswith("-")
    if LONG.get(name) == "value" or takes_next:
        if not left:
            return f"{shown} needs a value"
        value = left.pop()
        return Option(name, value, shown, (word, value) if name == written else (f"--{name}={value}",))
    return Option(name, None, shown, (f"--{name}",))


def _short(word: str, left: list[str]) -> Iterator[Option | str]:
    for place, letter in enumerate(word[1:], start=1):
        name, shown = SHORT.get(letter), f"-{letter}"
        if name is None:
            yield f"{shown} is no option of sbatch"
            return
        if LONG[name] == "nothing":
            yield Option(name, None, shown, (shown,))
            continue
        rest = word[place + 1 :]
        if rest or LONG[name] == "perhaps":
            yield Option(name, rest or None, shown, (shown + rest,))
        elif left:
            value = left.pop()
            yield Option(name, value, shown, (shown, value))
        else:
            yield f"{shown} needs a value"
        return
