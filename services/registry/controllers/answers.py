"""What the controllers of resources and profiles share: versions as ETags, and specs from bodies."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from litestar import MediaType, Response

from services.registry.rules import PROFILE_RULES, RESOURCE_RULES
from services.registry.rules.as_written import as_written
from services.registry.rules.profiles import normal_form as normal_profile
from services.registry.rules.resources import normal_form as normal_resource
from shared.service.web.bodies.decoding import convert_body, decode_json, merge_patch
from shared.service.web.bodies.errors import Rules
from shared.service.web.bodies.large import off_the_loop
from shared.service.web.etags import etag
from stoker.contracts.profiles import Profile, ProfileSpec
from stoker.contracts.resources import Resource, ResourceSpec
from stoker.errors import Invalid

T = TypeVar("T", Resource, Profile)
S = TypeVar("S")
_encode = msgspec.json.Encoder().encode


def tagged(thing: T, *, status_code: int = 200, warnings: list[str] | None = None) -> Response[T]:
    """Return the answer with the version as its ETag. It is encoded here: Litestar's own way takes twice as long."""
    response = Response(
        _encode(msgspec.structs.replace(thing, warnings=warnings) if warnings else thing),
        status_code=status_code,
        headers={"ETag": etag(thing.version)},
        media_type=MediaType.JSON,
    )
    return cast("Response[T]", response)


class Form(msgspec.Struct, frozen=True):
    """How specs of one sort of thing are read: their type, what types cannot say, the form to store them in."""

    kind: Any
    rules: Rules
    normal_form: Callable[[Any], Any]

    def spec(self, value: Any) -> tuple[Any, list[str]]:
        """Return the spec that a JSON value means, and what of it was ignored or changed. Raises Invalid."""
        read, warnings = as_written(value, self.kind)
        return self.normal_form(convert_body(read, self.kind, self.rules)), warnings

    async def read(self, body: bytes) -> tuple[Any, list[str]]:
        """Do the same with a body."""
        return await off_the_loop(len(body), lambda: self.spec(decode_json(body)))


RESOURCE_FORM = Form(ResourceSpec, RESOURCE_RULES, normal_resource)
PROFILE_FORM = Form(ProfileSpec, PROFILE_RULES, normal_profile)


class Patch:
    """What PATCH makes of the present spec: merged with the body, and checked as a whole.

    Once it was called, `warnings` say what was ignored or changed. Raises Invalid.
    """

    def __init__(self, form: Form, body: bytes) -> None:
        self.warnings: list[str] = []
        self._form = form
        self._patch = decode_json(body)
        if not isinstance(self._patch, dict):
            raise Invalid("a merge patch is an object with the keys to change")

    def __call__(self, present: S) -> S:
        """Return the spec to store."""
        merged, self.warnings = self._form.spec(merge_patch(msgspec.to_builtins(present), self._patch))
        return cast("S", merged)
