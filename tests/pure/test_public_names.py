"""What can be imported from `stoker`, and that the two wheels are of one version."""

import importlib
import inspect
import pkgutil
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, UnionType

import msgspec
import pytest

import stoker
from stoker.clients import ExecutorClient, PollerClient, RegistryClient
from stoker.clients.base import ServiceClient

ROOT = Path(__file__).parents[2]
CLIENTS = (RegistryClient, ExecutorClient, PollerClient)


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(stoker.__path__, "stoker."):
        if found.name != "stoker.__main__":
            yield importlib.import_module(found.name)


def parts(annotation: object) -> Iterator[object]:
    """An annotation and all that it is made of, the fields of our classes included."""
    pending, seen = [annotation], []
    while pending:
        one = pending.pop()
        if one in seen:
            continue
        seen.append(one)
        yield one
        pending += one if isinstance(one, list) else [typing.get_origin(one), *typing.get_args(one)]
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            pending += typing.get_type_hints(one).values()


def taken_and_given(client: type[ServiceClient]) -> list[object]:
    methods = [
        method
        for name, method in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_") or name == "__init__"
    ]
    return [part for method in methods for hint in typing.get_type_hints(method).values() for part in parts(hint)]


@pytest.mark.parametrize("client", CLIENTS)
def test_all_classes_that_a_client_takes_and_gives_are_public(client: type[ServiceClient]) -> None:
    classes = {part for part in taken_and_given(client) if isinstance(part, type)}
    ours = {one for one in classes if one.__module__.partition(".")[0] == "stoker"}
    assert len(ours) > 5
    missing = {one.__name__ for one in ours if getattr(stoker, one.__name__, None) is not one}
    assert missing == set()


@pytest.mark.parametrize("client", CLIENTS)
def test_the_names_of_what_a_client_takes_and_gives_are_public(client: type[ServiceClient]) -> None:
    """A union or a choice of words that has a name in the library has it in `stoker` too."""
    used = [
        part
        for part in taken_and_given(client)
        if isinstance(part, UnionType) or typing.get_origin(part) in {typing.Union, typing.Literal}
    ]
    named = {
        name: value
        for module in modules()
        if module.__name__.startswith(("stoker.contracts.", "stoker.clients."))
        for name, value in vars(module).items()
        if name[0].isupper() and value in used
    }
    assert {name for name, value in named.items() if getattr(stoker, name, None) != value} == set()


def test_the_public_names_are_listed_in_order_and_there() -> None:
    names = list(stoker.__all__)
    assert names == sorted(names, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(stoker, name) for name in names)


def test_every_error_of_the_library_is_of_one_module() -> None:
    errors = {
        value
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, stoker.StokerError)
    }
    assert {error.__module__ for error in errors} == {"stoker.errors"}
    assert {error.__name__ for error in errors} <= set(stoker.__all__)


def test_both_wheels_are_of_one_version() -> None:
    first, second = (
        tomllib.loads((ROOT / place / "pyproject.toml").read_text())["project"]
        for place in (".", "wheels/stoker-server")
    )
    assert second["version"] == first["version"]
    assert second["dependencies"] == [f"stoker=={first['version']}"]
    assert second["requires-python"] == first["requires-python"]
