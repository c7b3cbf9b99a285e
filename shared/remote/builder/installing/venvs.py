"""Environments made by uv or pip, from a package's name or from a wheel."""

from __future__ import annotations

import os
from collections.abc import Sequence

from shared.remote.builder import answers, trees
from shared.remote.builder.answers import Answer
from shared.remote.builder.commands import Commands
from shared.remote.builder.failures import Failure
from shared.remote.builder.installing.compiling import compile_all
from shared.remote.builder.installing.installers import Installer, choose
from shared.remote.builder.installing.pins import check_held, check_pins
from shared.remote.builder.installing.verdicts import failed_install
from shared.remote.builder.kernel import to_disk
from shared.remote.builder.packages.contents import Contents, look, show_freeze
from shared.remote.builder.packages.names import normalised, package_name
from shared.remote.builder.packages.sent_files import keep, kept_file, sent_file, url_of
from shared.remote.builder.packages.wheels import check_wheel
from shared.remote.builder.places import FREEZE, VENV, Place, attempts, nothing_kept
from shared.remote.builder.request import Request
from shared.remote.builder.scratch import Scratch
from shared.remote.builder.steps import Steps


class Venvs:
    """The work on one environment of this kind."""

    def __init__(self, request: Request, commands: Commands, scratch: Scratch) -> None:
        self._request = request
        self._commands = commands
        self._scratch = scratch.folder()
        self._extras = [package_name(extra, "extras") for extra in request.source.texts("extras")]
        self._pre = request.source.pins("pre_pins")
        self._post = request.source.pins("post_pins")
        check_pins([*self._pre, *self._post])

    def create(self) -> Answer:
        """Make it, or answer what is there when it was made before; a failure leaves nothing."""
        wheel = sent_file(self._request) if self._request.source_type == "wheel" else None
        name = check_wheel(wheel) if wheel else None
        package = name.package if name else package_name(self._request.package)
        for place in attempts(self._request.root, package, self._request.environment_id):
            if place.ready():
                return self.again(place)
            place.discard()
        installer = self._installer()
        steps = Steps((3 if wheel else 4) + bool(self._pre) + bool(self._post) + self._request.compiled)
        version = name.version if name else self._find(package, installer, steps)
        place = Place(self._request.root, package, version, self._request.environment_id)
        with place.discarded_on_failure():
            place.make()
            self._make(place, installer, steps)
            self._install_all(place, installer, steps, keep(wheel, place) if wheel else None)
            steps.next("look for the tasks")
            contents = look(self._commands, _python(place), package)
            check_held([*self._pre, *self._post], contents)
            return self._finish(place, contents, installer.name, steps)

    def rebuild(self) -> Answer:
        """Make it again, exactly as it was; a failure leaves what was kept."""
        place = Place(self._request.root, *self._request.known_package(), self._request.environment_id)
        if place.ready():
            return self.again(place)
        freeze = self._request.freeze or _kept_freeze(place)
        wheel = kept_file(place) or (sent_file(self._request) if self._request.source_type == "wheel" else None)
        installer = self._installer()
        steps = Steps(3 + self._request.compiled)
        place.discard(VENV)
        with place.discarded_on_failure(VENV):
            place.make()
            self._make(place, installer, steps)
            steps.next("install what was there")
            requirements = _frozen(freeze, place, keep(wheel, place) if wheel else None)
            self._install(place, installer, requirements, "what was there", alone=True)
            steps.next("compare")
            contents = look(self._commands, _python(place), place.package)
            _compare(contents.freeze, freeze)
            return self._finish(place, contents, installer.name, steps)

    def again(self, place: Place) -> Answer:
        """Answer what is there."""
        record = place.ready() or {}
        contents = look(self._commands, _python(place), place.package)
        installer = record.get("installer")
        name = installer if isinstance(installer, str) else None
        answer = answers.described(contents, command=[_python(place)], installer=name)
        return {**answer, **answers.placed(place), "made_before": True}

    def _finish(self, place: Place, contents: Contents, installer: str, steps: Steps) -> Answer:
        show_freeze(contents)
        answer = answers.described(contents, command=[_python(place)], installer=installer)
        if self._request.compiled:
            compile_all(self._commands, [_python(place)], steps)
        trees.open_to_readers(place.folder)
        place.write(FREEZE, contents.freeze.encode())
        to_disk(place.folder)
        place.mark_ready(answers.ready_record(place, answer, self._request.source_type))
        return {**answer, **answers.placed(place), "made_before": False}

    def _installer(self) -> Installer:
        python = self._request.python
        if not python:
            raise Failure("request_invalid", "python must be the path of an interpreter")
        if not os.access(python, os.X_OK) or not os.path.isfile(python):
            raise Failure("python_not_usable", f"{python} is not an interpreter that can be started here")
        self._commands.environment["TMPDIR"] = self._scratch
        if self._commands.read([python, "-I", "-c", "import venv"], cwd=self._scratch, quiet=True).code:
            raise Failure("python_not_usable", f"{python} is not a Python interpreter with the module venv")
        return choose(self._request, self._commands, python, self._scratch)

    def _find(self, package: str, installer: Installer, steps: Steps) -> str:
        asked = self._request.version
        steps.next(f"look for {package} {asked or '(the newest version)'}")
        found = installer.find(f"{package}=={asked}" if asked else package, self._scratch)
        if found:
            return found
        newest = installer.find(package, self._scratch) if asked else None
        if newest:
            text = f"{package} has no version {asked} for this Python; the newest one is {newest}"
            raise Failure("version_not_found", text)
        raise Failure("package_not_found", f"the package index has no package {package} for this Python")

    def _make(self, place: Place, installer: Installer, steps: Steps) -> None:
        steps.next(f"a virtual environment at {place.path(VENV)}")
        installer.make(place.path(VENV), self._scratch)

    def _install_all(self, place: Place, installer: Installer, steps: Steps, wheel: str | None) -> None:
        extras = f"[{','.join(self._extras)}]" if self._extras else ""
        source = f" @ {url_of(wheel)}" if wheel else f"=={place.version}"
        wanted = f"{place.package}{extras}{source}"
        if self._pre:
            steps.next("the pins that come first")
            self._install(place, installer, self._pre, "the pins that come first")
        steps.next(f"install {place.package} {place.version}")
        # The pins are asked for again: what contradicts them is refused instead of replacing them.
        self._install(place, installer, [*self._pre, wanted], place.package)
        if self._post:
            steps.next("the pins that come last")
            self._install(place, installer, self._post, "the pins that come last")

    def _install(
        self, place: Place, installer: Installer, requirements: Sequence[str], what: str, *, alone: bool = False
    ) -> None:
        done = installer.install(place.path(VENV), requirements, self._scratch, alone=alone)
        if done.code:
            raise failed_install(done, what)


def _python(place: Place) -> str:
    return place.path(VENV, "bin", "python")


def _kept_freeze(place: Place) -> str:
    try:
        with open(place.path(FREEZE), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        raise nothing_kept(place) from None


def _frozen(freeze: str, place: Place, wheel: str | None) -> list[str]:
    """Return the freeze as requirements, the package itself taken from its wheel where it came from one."""
    lines = freeze.splitlines()
    if wheel is None:
        return lines
    others = [line for line in lines if normalised(line.partition("==")[0]) != place.package]
    return [*others, f"{place.package} @ {url_of(wheel)}"]


def _compare(now: str, before: str) -> None:
    if now != before:
        raise Failure("freeze_differs", f"the same versions cannot be had any more; now it would be:\n{now}")
