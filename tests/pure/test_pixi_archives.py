"""Archives of pixi projects, as strangers may send them."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.remote.builder.failures import Failure
from shared.remote.builder.packages.archives import unpack

NAME = "some-tasks-1.0.tar.gz"
TOP = "some-tasks-1.0"


def member(
    name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **fields: Any
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def archive(folder: Path, *members: tuple[tarfile.TarInfo, bytes], name: str = NAME) -> str:
    with tarfile.open(folder / name, "w:gz") as file:
        for info, content in members:
            file.addfile(info, io.BytesIO(content))
    return str(folder / name)


def test_what_is_in_the_top_folder_is_unpacked(tmp_path: Path) -> None:
    path = archive(
        tmp_path,
        member(TOP, tarfile.DIRTYPE, mode=0o000),
        member(f"./{TOP}/pixi.toml", content=b"[workspace]", mode=0o4777),
        member(f"{TOP}/a/b/run.sh", content=b"true", mode=0o755),
        member(f"{TOP}/a/link", tarfile.SYMTYPE, linkname="../pixi.toml"),
        member(f"{TOP}/empty", tarfile.DIRTYPE),
    )
    name = unpack(path, str(tmp_path / "out"))
    assert (name.package, name.version) == ("some-tasks", "1.0")
    out = tmp_path / "out"
    assert sorted(str(one.relative_to(out)) for one in out.rglob("*")) == [
        "a", "a/b", "a/b/run.sh", "a/link", "empty", "pixi.toml",
    ]  # fmt: skip
    assert (out / "a" / "link").read_bytes() == b"[workspace]"
    assert (out / "pixi.toml").stat().st_mode & 0o7000 == 0
    assert (out / "a" / "b" / "run.sh").stat().st_mode & 0o100


UNSAFE: dict[str, tuple[str, list[tuple[tarfile.TarInfo, bytes]]]] = {
    "leads out": ("archive_unsafe", [member(f"{TOP}/../../out.txt")]),
    "is absolute": ("archive_unsafe", [member("/etc/out.txt")]),
    "a link that leads out": (
        "archive_unsafe",
        [member(f"{TOP}/link", tarfile.SYMTYPE, linkname="../../etc/passwd")],
    ),
    "an absolute link": ("archive_unsafe", [member(f"{TOP}/link", tarfile.SYMTYPE, linkname="/etc")]),
    "a link to a neighbour of the top folder": (
        "archive_unsafe",
        [member(f"{TOP}/link", tarfile.SYMTYPE, linkname=f"../{TOP}x/file")],
    ),
    "a hard link": ("archive_unsafe", [member(f"{TOP}/link", tarfile.LNKTYPE, linkname="/etc/passwd")]),
    "a device": ("archive_unsafe", [member(f"{TOP}/null", tarfile.CHRTYPE, devmajor=1, devminor=3)]),
    "a pipe": ("archive_unsafe", [member(f"{TOP}/pipe", tarfile.FIFOTYPE)]),
    "a name twice": ("archive_unsafe", [member(f"{TOP}/a"), member(f"{TOP}/a")]),
    "a file and a link of one name": (
        "archive_unsafe",
        [member(f"{TOP}/a", tarfile.SYMTYPE, linkname="b"), member(f"{TOP}/a")],
    ),
    "another top folder": ("archive_top_folder_differs", [member("other-1.0/pixi.toml")]),
    "a second top folder": ("archive_top_folder_differs", [member(f"{TOP}/a"), member("b")]),
    "a file instead of the top folder": ("archive_top_folder_differs", [member(TOP)]),
    "a bomb": ("archive_too_large", [member(f"{TOP}/zeros", content=bytes(60 * 1024 * 1024))]),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_what_could_do_harm_is_refused(case: str, tmp_path: Path) -> None:
    code, members = UNSAFE[case]
    with pytest.raises(Failure) as caught:
        unpack(archive(tmp_path, *members), str(tmp_path / "below" / "out"))
    assert caught.value.code == code
    assert sorted(one.name for one in tmp_path.iterdir()) == ["below", NAME]


def test_nothing_is_written_through_a_link_in_the_archive(tmp_path: Path) -> None:
    victim = tmp_path / "below" / "victim"
    victim.mkdir(parents=True)
    members = [
        member(f"{TOP}/inside", tarfile.SYMTYPE, linkname="sub"),
        member(f"{TOP}/sub", tarfile.SYMTYPE, linkname="inside"),
        member(f"{TOP}/inside/file", content=b"x"),
    ]
    with pytest.raises(Failure):
        unpack(archive(tmp_path, *members), str(tmp_path / "below" / "out"))
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (lambda: b"", "archive_unreadable"),
        (lambda: b"PK\x03\x04 a zip file", "archive_unreadable"),
        (lambda: gzip.compress(b"no tar" * 500), "archive_unreadable"),
        (lambda: gzip.compress(bytes(1024 * 1024))[:-200], "archive_unreadable"),
    ],
)
def test_what_is_no_archive_is_said(content: Callable[[], bytes], code: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(content())
    with pytest.raises(Failure) as caught:
        unpack(str(tmp_path / NAME), str(tmp_path / "out"))
    assert caught.value.code == code


def test_a_header_cannot_claim_the_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo(f"{TOP}/x")
    info.type = tarfile.XHDTYPE
    info.size = 64 * 1024 * 1024
    with gzip.open(tmp_path / NAME, "wb") as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(info.size))
    with pytest.raises(Failure) as caught:
        unpack(str(tmp_path / NAME), str(tmp_path / "out"))
    assert caught.value.code == "archive_too_large"


@pytest.mark.parametrize("name", ["some-tasks.tar.gz", "some-tasks-1.0.zip", "some tasks-1.0.tar.gz", "-1.0.tar.gz"])
def test_an_archive_with_another_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        unpack(archive(tmp_path, member(f"{TOP}/a"), name=name), str(tmp_path / "out"))
    assert caught.value.code == "archive_name_invalid"
