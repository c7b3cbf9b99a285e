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


def newest_first(versions: list[str]) -> list[str]:
    """Sort versions as versions ("1.10" is newer than "1.9"); what is none comes last, by its letters."""

    def key(text: str) -> tuple[bool, Version, str]:
        try:
            return True, Version(text), text
        except InvalidVersion:
            return False, Version("0"), text

    return sorted(versions, key=key, reverse=True)


def same_package(one: str, other: str) -> bool:
    """Whether two names mean one package."""
    return canonicalize_name(one) == canonicalize_name(other)
