"""The runner, the agent and the builder, each as one self-contained Python file.

The file carries the sources of its modules and an importer that finds them there; nothing is written to disk and no
package has to be installed where it runs. Tracebacks show the modules' own names, lines and text.
"""

from functools import cache
from importlib.resources import files

_HEAD = '''\
"""{title}: one self-contained file (standard library only, Python 3.9 and newer)."""
import importlib.abc
import importlib.machinery
import sys

SOURCES = {{
{sources}}}


class _Embedded(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def find_spec(self, name, path=None, target=None):
        if name not in SOURCES:
            return None
        package = any(other.startswith(name + ".") for other in SOURCES)
        return importlib.machinery.ModuleSpec(name, self, origin=self._file(name), is_package=package)

    def _file(self, name):
        return "<{title}>/" + name.replace(".", "/") + ".py"

    def get_source(self, name):
        return SOURCES[name]

    def exec_module(self, module):
        exec(compile(SOURCES[module.__name__], self._file(module.__name__), "exec"), module.__dict__)


sys.meta_path.insert(0, _Embedded())


def _start():
    from {main} import main
    try:
        return main({arguments})
    except Exception:
        import traceback
        traceback.print_exc()
        return 70


{tail}
'''

_COMMON = "shared.remote.common"


@cache
def runner_source() -> bytes:
    """Return the runner as one file, the same bytes every time."""
    return _bundle("stoker-runner", "shared.remote.runner", "sys.argv[1:]")


@cache
def agent_source() -> bytes:
    """Return the agent as one file, the same bytes every time."""
    return _bundle("stoker-agent", "shared.remote.agent", "globals().get('__file__'), sys.argv[1:]")


@cache
def builder_source() -> bytes:
    """Return the builder as one file, the same bytes every time."""
    return _bundle("stoker-builder", "shared.remote.builder", "sys.argv[1:]")


def _bundle(title: str, package: str, arguments: str) -> bytes:
    modules = {"shared": "", "shared.remote": ""} | _modules(_COMMON) | _modules(package)
    sources = "".join(f"{name!r}: (\n{_literal(text)}),\n" for name, text in sorted(modules.items()))
    tail = "if __name__ == '__main__':\n    sys.exit(_start())"
    text = _HEAD.format(title=title, sources=sources, main=f"{package}.main", arguments=arguments, tail=tail)
    return text.encode()


def _modules(package: str) -> dict[str, str]:
    found = {}
    for entry in files(package).iterdir():
        if entry.name.endswith(".py"):
            name = package if entry.name == "__init__.py" else f"{package}.{entry.name.removesuffix('.py')}"
            found[name] = entry.read_text("utf-8")
        elif entry.is_dir() and entry.joinpath("__init__.py").is_file():
            found |= _modules(f"{package}.{entry.name}")
    return found


def _literal(text: str) -> str:
    return "".join(f"{line!r}\n" for line in text.splitlines(keepends=True)) or "''\n"
