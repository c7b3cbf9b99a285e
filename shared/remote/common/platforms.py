"""What a program has to fit to run here."""

from __future__ import annotations

import os


def machine() -> str:
    """The kind of processor, as the kernel calls it: `x86_64`."""
    return os.uname().machine


def libc() -> str:
    """The C library, `glibc 2.36`; nothing where it is another one than glibc."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ""
