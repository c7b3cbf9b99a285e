"""pip's own settings on a machine, and the same said to uv."""

from pathlib import Path

from shared.remote.builder.installing.pip_settings import for_uv, pip_settings, uv_options


def surroundings(folder: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(folder / "home"), "XDG_CONFIG_DIRS": str(folder / "site"), **more}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_later_files_win_and_the_environment_wins_over_all(tmp_path: Path) -> None:
    write(
        tmp_path / "site" / "pip" / "pip.conf", "[global]\nindex-url = https://site\nextra_index_url = https://more\n"
    )
    write(
        tmp_path / "home" / ".config" / "pip" / "pip.conf", "[global]\nindex-url = https://home\n[install]\npre = yes"
    )
    write(tmp_path / "py" / "pip.conf", "[global]\nproxy = http://proxy:1%20\n")
    found = pip_settings(surroundings(tmp_path, PIP_FIND_LINKS="/a /b"), str(tmp_path / "py"))
    assert found["index-url"] == "https://home"
    assert found["extra-index-url"] == "https://more"
    assert (found["pre"], found["find-links"], found["proxy"]) == ("yes", "/a /b", "http://proxy:1%20")
    assert pip_settings(surroundings(tmp_path, PIP_INDEX_URL="https://env"), None)["index-url"] == "https://env"
    only = pip_settings(surroundings(tmp_path, PIP_CONFIG_FILE="/dev/null"), None)
    assert "index-url" not in only


def test_a_broken_file_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "home" / ".pip" / "pip.conf", "index-url = of no section\n")
    assert "index-url" not in pip_settings(surroundings(tmp_path), None)


def test_uv_is_told_the_same(tmp_path: Path) -> None:
    settings = {
        "index-url": "https://a",
        "extra-index-url": "https://b\nhttps://c",
        "find-links": "/d /e",
        "cert": "/f.pem",
        "trusted-host": "a",
        "pre": "1",
        "no-index": "true",
    }
    assert for_uv(settings, surroundings(tmp_path)) == {
        "UV_DEFAULT_INDEX": "https://a",
        "UV_INDEX": "https://b https://c",
        "UV_FIND_LINKS": "/d,/e",
        "SSL_CERT_FILE": "/f.pem",
        "UV_INSECURE_HOST": "a",
        "UV_PRERELEASE": "allow",
    }
    assert uv_options(settings) == ["--no-index"]
    assert uv_options({"no-index": "false"}) == []


def test_what_was_said_to_uv_itself_is_left_as_it_is(tmp_path: Path) -> None:
    settings = {"index-url": "https://a", "cert": "/f.pem"}
    own = surroundings(tmp_path, UV_DEFAULT_INDEX="https://own")
    assert for_uv(settings, own) == {"SSL_CERT_FILE": "/f.pem"}
    write(tmp_path / "home" / ".config" / "uv" / "uv.toml", "")
    assert for_uv(settings, surroundings(tmp_path)) == {"SSL_CERT_FILE": "/f.pem"}
