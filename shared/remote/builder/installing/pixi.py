"""Environments made by pixi from a project's archive, with its lock file or without."""

from __future__ import annotations

import os
import shutil

from shared.remote.builder import answers, trees
from shared.remote.builder.answers import Answer
from shared.remote.builder.commands import Commands
from shared.remote.builder.failures import Failure
from shared.remote.builder.installing.compiling import compile_all
from shared.remote.builder.installing.verdicts import failed_install
from shared.remote.builder.kernel import to_disk
from shared.remote.builder.packages.archives import ArchiveName, unpack
from shared.remote.builder.packages.contents import Contents, look, show_freeze
from shared.remote.builder.packages.names import package_name, plain_name, version
from shared.remote.builder.packages.sent_files import sent_file
from shared.remote.builder.places import FREEZE, PROJECT, WRAPPER, Place, attempts, nothing_kept
from shared.remote.builder.removal import PIXI_ENVIRONMENTS
from shared.remote.builder.request import Request
from shared.remote.builder.scratch import Scratch
from shared.remote.builder.steps import Steps

LOCK = "pixi.lock"
PROJECT_FILES = ("pixi.toml", "pyproject.toml")
_WRAPPER = """#!/usr/bin/env bash
# The environment's Python, with the environment activated.
{activation}
export PYTHONNOUSERSITE=1
exec python "$@"
"""
_OPTIONS = {"PIXI_CONCURRENT_SOLVES": "--concurrent-solves", "PIXI_CONCURRENT_DOWNLOADS": "--concurrent-downloads"}
"""Settings that pixi takes as options of `install`; all others are variables."""


class PixiProjects:
    """The work on one environment of this kind."""

    def __init__(self, request: Request, commands: Commands, scratch: Scratch) -> None:
        self._request = request
        self._commands = commands
        self._scratch = scratch
        source = request.source
        self._home = source.absolute_path("home")
        self._environment = plain_name(source.text("environment"), "source.environment")
        self._use_lock = source.flag("use_lock", default=True)
        self._project_files = source.mapping("project_files")
        if not set(self._project_files) <= set(PROJECT_FILES):
            raise Failure("request_invalid", f"source.project_files may hold {' and '.join(PROJECT_FILES)} only")
        settings = source.mapping("variables")
        self._options = [
            word for name in sorted(_OPTIONS.keys() & settings) for word in (_OPTIONS[name], settings[name])
        ]
        self._more = {
            "RATTLER_AUTH_FILE": os.path.join(self._home, "credentials.json"),
            "PIXI_HOME": self._home,
            "PIXI_CACHE_DIR": source.optional_text("cache_dir") or os.path.join(self._home, "cache"),
            "PIXI_NO_PROGRESS": "1",
            **{name: value for name, value in settings.items() if name not in _OPTIONS},
        }

    def create(self) -> Answer:
        """Make it, or answer what is there when it was made before; a failure leaves nothing."""
        file = sent_file(self._request)
        name = ArchiveName(os.path.basename(file))
        for place in attempts(self._request.root, package_name(name.package), self._request.environment_id):
            if place.ready():
                return self.again(place)
            place.discard()
        place = Place(self._request.root, name.package, version(name.version), self._request.environment_id)
        steps = Steps(4 + self._request.compiled)
        with place.discarded_on_failure():
            steps.next(f"unpack {name.file_name}")
            self._unpack(file, place)
            self._install(place, steps)
            steps.next("look for the tasks")
            return self._finish(place, self._look(place, name.package), steps)

    def rebuild(self) -> Answer:
        """Make it again from the project and the lock file that were kept; a failure leaves them."""
        place = Place(self._request.root, *self._request.known_package(), self._request.environment_id)
        if place.ready():
            return self.again(place)
        before = _read(place.path(PROJECT, LOCK))
        if before is None:
            raise nothing_kept(place)
        steps = Steps(3 + self._request.compiled)
        self._use_lock = True
        with place.discarded_on_failure(PROJECT, PIXI_ENVIRONMENTS):
            self._install(place, steps)
            steps.next("compare")
            self._compare(place, before)
            return self._finish(place, self._look(place, place.package), steps)

    def again(self, place: Place) -> Answer:
        """Answer what is there."""
        contents = self._look(place, place.package)
        return {**self._described(place, contents), **answers.placed(place), "made_before": True}

    def _unpack(self, file: str, place: Place) -> None:
        project = self._scratch.name()
        unpack(file, project)
        for name, text in self._project_files.items():
            with open(os.path.join(project, name), "w", encoding="utf-8") as changed:
                changed.write(text)
        found = [name for name in PROJECT_FILES if os.path.isfile(os.path.join(project, name))]
        if not found:
            raise Failure("pixi_project_invalid", f"the archive holds neither {' nor '.join(PROJECT_FILES)}")
        shutil.rmtree(os.path.join(project, PIXI_ENVIRONMENTS), ignore_errors=True)
        lock = os.path.join(project, LOCK)
        self._use_lock = self._use_lock and os.path.isfile(lock)
        if not self._use_lock and os.path.lexists(lock):
            os.unlink(lock)
        place.make()
        os.rename(project, place.path(PROJECT))

    def _install(self, place: Place, steps: Steps) -> None:
        frozen = ["--frozen"] if self._use_lock else []
        steps.next("install what the lock file names" if frozen else "find versions that fit, and install them")
        done = self._commands.run(
            self._pixi(place, "install", *frozen, *self._options), cwd=place.folder, more=self._more
        )
        if done.code:
            failure = failed_install(done, place.package)
            raise Failure("pixi_failed", failure.text) if failure.code == "install_failed" else failure
        if not os.access(self._python(place), os.X_OK):
            text = f"pixi made no Python at {self._python(place)}: the project must depend on python"
            raise Failure("pixi_project_invalid", text)
        steps.next("write down how it is activated")
        trees.separate(place.path(PROJECT, PIXI_ENVIRONMENTS))
        # What pixi says on standard error is for people: in the wrapper it would be run before every task.
        words = self._pixi(place, "shell-hook", "--frozen", "--shell", "bash")
        hook = self._commands.read(words, cwd=place.folder, more=self._more)
        if hook.code:
            raise Failure("pixi_failed", f"pixi does not say how to activate it: {hook.words}")
        place.write(WRAPPER, _WRAPPER.format(activation=hook.output.rstrip()).encode())
        os.chmod(place.path(WRAPPER), 0o755)  # noqa: S103 - everybody who may read it runs it

    def _finish(self, place: Place, contents: Contents, steps: Steps) -> Answer:
        show_freeze(contents)
        answer = self._described(place, contents)
        if self._request.compiled:
            compile_all(self._commands, [self._python(place)], steps)
        trees.open_to_readers(place.folder)
        place.write(FREEZE, contents.freeze.encode())
        to_disk(place.folder)
        place.mark_ready(answers.ready_record(place, answer, self._request.source_type))
        return {**answer, **answers.placed(place), "made_before": False}

    def _described(self, place: Place, contents: Contents) -> Answer:
        answer = answers.described(contents, command=[place.path(WRAPPER)], installer="pixi")
        return {**answer, "lock": _read(place.path(PROJECT, LOCK))}

    def _compare(self, place: Place, before: str) -> None:
        if _read(place.path(PROJECT, LOCK)) == before:
            return
        with open(place.path(PROJECT, LOCK), "w", encoding="utf-8") as file:
            file.write(before)
        raise Failure("freeze_differs", "pixi changed the lock file while it made the environment again")

    def _look(self, place: Place, package: str) -> Contents:
        return look(self._commands, place.path(WRAPPER), package, wrapped=True)

    def _pixi(self, place: Place, verb: str, *options: str) -> list[str]:
        pixi = os.path.join(self._home, "bin", "pixi")
        if not os.access(pixi, os.X_OK):
            raise Failure("pixi_failed", f"{pixi} is not there, or cannot be started")
        found = next(name for name in PROJECT_FILES if os.path.isfile(place.path(PROJECT, name)))
        where = ["--manifest-path", place.path(PROJECT, found), "--environment", self._environment]
        return [pixi, verb, *where, *options]

    def _python(self, place: Place) -> str:
        return place.path(PROJECT, PIXI_ENVIRONMENTS, "envs", self._environment, "bin", "python")


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
