"""Rules for access keys."""

from collections.abc import Mapping
from typing import Any

from services.registry.rules import texts
from services.registry.rules.texts import Wrong
from shared.service.web.bodies.errors import Rules
from stoker.contracts.keys import AccessKeyCreate


def _access_key(fields: Mapping[str, Any]) -> Wrong:
    yield from texts.name(fields)
    if isinstance(fields.get("owner"), str) and not fields["owner"].strip():
        yield "owner", "must not be empty; leave it out for the name"


ACCESS_KEY_RULES: Rules = {AccessKeyCreate: texts.with_one_line(_access_key)}
