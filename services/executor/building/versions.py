"""Names and versions of packages as their standards define them (PEP 503, PEP 440)."""

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from stoker.contracts.problems import FieldError
from stoker.errors import Invalid


def canonical_name(name: str) -> str:
    """Return the one spelling that stands for all spellings of a package's name."""
    return canonicalize_name(name)


def parse_version(text: str, path: str) -> Version:
    """Return a version that can be compared; Invalid, naming `path`, where it is none."""
    try:
        return Version(text)
    except InvalidVersion:
        message = f'must be a version such as "1.2.3" or "2.0rc1", not {text!r}'
        raise Invalid(message, [FieldError(path, message)]) from None
