"""Logs are lines of JSON in which no secret shows."""

import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from shared.service.logs import configure_logging, get_logger, redacted
from stoker.request_ids import current_request_id

KEY = f"stk_{'0' * 26}_{'Ab-_' * 10}xyz"


class Output(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    @property
    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def output() -> Iterator[Output]:
    before, level = logging.root.handlers[:], logging.root.level
    levels = {name: logging.getLogger(name).level for name in ("httpx", "uvicorn.error", "alembic", "paramiko")}
    configuration = structlog.get_config()
    yield Output()
    structlog.configure(**configuration)
    logging.root.handlers[:] = before
    logging.root.setLevel(level)
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)


def test_a_line_is_an_object_that_says_when_who_and_what(output: Output) -> None:
    configure_logging(service="registry", stream=output)
    token = current_request_id.set("r-1")
    get_logger().info("something happened", count=3, odd=object)
    current_request_id.reset(token)
    get_logger().debug("not said")
    [event] = output.events()
    assert list(event) == ["ts", "level", "service", "request_id", "event", "count", "odd"]
    assert event["ts"].endswith("Z")
    assert (event["level"], event["event"], event["count"]) == ("info", "something happened", 3)


def test_tracebacks_and_other_loggers_come_out_in_the_same_form(output: Output) -> None:
    configure_logging(service="registry", stream=output)
    try:
        raise ValueError("deep inside")  # noqa: TRY301
    except ValueError:
        get_logger().exception("ours")
        logging.getLogger("somebody.else").exception("theirs %s", 1)
    logging.getLogger("httpx").info("GET http://x/secret")
    ours, theirs = output.events()
    for event in (ours, theirs):
        assert event["level"] == "error"
        assert "ValueError: deep inside" in event["exception"]
    assert (theirs["event"], theirs["logger"]) == ("theirs 1", "somebody.else")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_key_or_a_password_that_slips_in_is_masked(output: Output, log_format: str) -> None:
    configure_logging(service="registry", log_format=log_format, stream=output)
    get_logger().info("seen", header=f"Bearer {KEY}", url="postgresql://me:hidden@host/x")
    logging.getLogger("x").warning("seen %s", {"key": KEY})
    try:
        raise RuntimeError(KEY)  # noqa: TRY301
    except RuntimeError:
        get_logger().exception("seen")
    assert output.text.count("stk_***") == 3
    assert "Ab-_Ab" not in output.text
    assert "hidden" not in output.text


def test_addresses_without_a_password_stay_readable() -> None:
    text = "http://127.0.0.1:8701/v1 and redis://host:6379/0 and a@b"
    assert redacted(text) == text


def test_the_ssh_librarys_tracebacks_are_left_out(output: Output) -> None:
    logging.getLogger("paramiko").setLevel(logging.NOTSET)
    configure_logging(service="poller", stream=output)
    logging.getLogger("paramiko.transport").error("Exception (client): Error reading SSH protocol banner")
    assert output.text == ""


@pytest.mark.parametrize("piece", ["://a:", "://", "a@", "://a:b@", "stk_", f"stk_{'0' * 26}_", "://a:x ", '://a:"'])
def test_redaction_takes_time_in_proportion_to_the_text_whatever_it_is(piece: str) -> None:
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        start = time.process_time()
        redacted(text)
        return time.process_time() - start

    # Were it quadratic, a megabyte would take hours.
    assert seconds(1_000_000) < 10


def test_a_password_is_masked_wherever_it_stands() -> None:
    assert redacted("http://me:pw@host http://you:pw2@host") == "http://me:***@host http://you:***@host"
    assert redacted("http://me:pw/x://y:z@host") == "http://me:***@host"
    assert redacted("://a:" * 3 + "b@") == "://a:***@"
    assert redacted("http://host:80/path me@host") == "http://host:80/path me@host"
