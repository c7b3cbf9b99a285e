"""The agent's heads of tar files are those that Python's tarfile reads."""

import tarfile

from hypothesis import example, given
from hypothesis import strategies as st

from shared.remote.agent.archives import file_head

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=120)


@given(NAMES, st.integers(0, 2**40), st.integers(0, 0o7777), st.integers(-10, 2**35))
@example("a" * 100, 8**11 - 1, 0o644, 0)
@example("a" * 101, 8**11, 0o7777, 8**11 - 1)
@example("\udcff name that is not UTF-8", 1, 0, 1)
def test_a_head_says_what_it_was_given(name: str, size: int, mode: int, modified_at: int) -> None:
    data = file_head(name, size, mode, modified_at)
    assert len(data) % tarfile.BLOCKSIZE == 0
    head = tarfile.TarInfo.frombuf(data[-tarfile.BLOCKSIZE :], "utf-8", "surrogateescape")
    assert (head.size, head.mode, int(head.mtime)) == (size, mode, modified_at)
    assert head.isreg()
    if len(data) == tarfile.BLOCKSIZE:
        assert head.name == name.rstrip("/") or head.name == name
    else:
        assert name.encode("utf-8", "surrogateescape") in data
