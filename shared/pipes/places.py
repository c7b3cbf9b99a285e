"""Names of files and folders on a resource: a root that the pipe was opened with, and a path below it."""

import msgspec


class Place(msgspec.Struct, frozen=True):
    """`path` is relative to the root and normalised (`2026-11/<job id>/batches/00000`); "" is the root itself."""

    root: str
    path: str = ""

    def __truediv__(self, name: str) -> "Place":
        return Place(self.root, f"{self.path}/{name}" if self.path else name)

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rpartition("/")[2]
