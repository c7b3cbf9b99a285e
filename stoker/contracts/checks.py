"""Findings of a check: is this resource and profile usable, and what mends it."""

from typing import Literal

import msgspec


class CheckRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /v1/checks`; `test_job` also runs a real unit."""

    profile_id: str
    test_job: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `mend` is the line that mends it."""

    name: str
    level: Literal["ok", "warning", "error"]
    detail: str
    mend: str = ""


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """All findings; `usable` when none of them is an error."""

    profile_id: str
    resource_id: str
    usable: bool
    findings: list[Finding]
