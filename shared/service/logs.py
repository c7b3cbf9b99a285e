"""One configuration of structured logs: stdout, one JSON object a line (or text for people).

Fields: ts, level, service, event, request_id (inside a request), and what the event is about; `exception` holds
a traceback. Standard-library loggers (uvicorn, alembic, …) come out in the same form.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import msgspec
import structlog

from stoker.request_ids import current_request_id

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
# These say a line per request, statement or poll; what they know is in our own lines.
_TALKATIVE = ("httpx", "httpcore", "aiosqlite", "sqlalchemy", "alembic", "uvicorn.access", "asyncio")
# Tracebacks of what is told as an error: a host that is away would fill the log with them.
_MUTE = ("paramiko",)
# The last net: no code of ours logs a key or a password, but a foreign message may quote one.
_KEYS = re.compile(r"stk_[0-9a-z]{26}_[A-Za-z0-9_-]{20,}")
# Linear in the text, whoever wrote it: what stands behind `://name:` is taken as a whole (`++` gives nothing back),
# and is a password if it ends at an @.
_PASSWORDS = re.compile(r"(://[^/\s:@\"]*+:)[^@\s\"]++(@?)")

_encoder = msgspec.json.Encoder(enc_hook=repr)


def configure_logging(
    *, service: str, level: str = "info", log_format: str = "json", stream: TextIO | None = None
) -> None:
    """Set up logs of this process (on standard output, unless told otherwise); calling it again starts anew."""
    output = stream or sys.stdout
    threshold = _LEVELS[level]
    first: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        _context(service),
    ]
    console = log_format == "console"
    renderer = _console_renderer(colors=output.isatty()) if console else _render_json
    last: list[Any] = [structlog.dev.set_exc_info] if console else [structlog.processors.format_exc_info]
    structlog.configure(
        processors=[*first, *last, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(file=output.buffer),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*first, _logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *last,
                _as_text(renderer),
            ],
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(threshold)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    for name in _MUTE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return a logger: `log.info("what happened", field=value)`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def redacted(text: str) -> str:
    """Return the text with access keys and passwords in URLs masked."""
    if "stk_" in text:
        text = _KEYS.sub("stk_***", text)
    return _PASSWORDS.sub(_without_password, text) if "://" in text else text


def _without_password(found: re.Match[str]) -> str:
    return f"{found[1]}***@" if found[2] else found[0]


Event = MutableMapping[str, Any]


def _context(service: str) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: Event) -> Event:
        event["service"] = service
        if (request_id := current_request_id.get()) is not None:
            event.setdefault("request_id", request_id)
        return event

    return add


def _logger_name(_logger: object, _method: str, event: Event) -> Event:
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["logger"] = record.name
    return event


_FIRST = ("ts", "level", "service", "request_id", "event")


def _render_json(_logger: object, _method: str, event: Event) -> bytes:
    ordered = {name: event.pop(name) for name in _FIRST if name in event} | dict(event)
    return redacted(_encoder.encode(ordered).decode()).encode()


def _console_renderer(*, colors: bool) -> structlog.typing.Processor:
    console = structlog.dev.ConsoleRenderer(
        colors=colors, timestamp_key="ts", exception_formatter=structlog.dev.plain_traceback
    )

    def render(logger: object, method: str, event: Event) -> bytes:
        return redacted(console(logger, method, event)).encode()

    return render


def _as_text(renderer: structlog.typing.Processor) -> structlog.typing.Processor:
    def render(logger: object, method: str, event: Event) -> str:
        rendered = renderer(logger, method, event)
        return rendered.decode() if isinstance(rendered, bytes) else str(rendered)

    return render
