"""Why a connection through SSH cannot be made, where it matters which of the reasons it is."""

from shared.pipes.errors import CannotConnect


class NothingInCommon(CannotConnect):
    """The host and Stoker have no algorithm in common."""


class HostKeyRefused(CannotConnect):
    """The host showed a key that is not known, or another one than is known."""
