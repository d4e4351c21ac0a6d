"""Log lines: one JSON object each, or text for people, with the id of the request they belong to.

They hold no key, no name and no embedding: an error's text loses everything that could be a value.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, TextIO

import orjson

from knownface.api.trail import request_id

# What a record has before any `extra`; the rest is what its author wanted to say.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
_VALUES: Final = re.compile(
    r"'[^']*'?|\"[^\"]*\"?"  # quoted
    r"|\[[^\]]*\]?"  # a sequence
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}"  # a UUID
)
_LONGEST_TEXT: Final = 300


def configure_logging(level: str, style: str, stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (stderr); `style` is "json" or "text"."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        # Its handlers would print each line twice, and its access log prints paths: they hold keys.
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request_id and what was added."""

    def format(self, record: logging.LogRecord) -> str:
        return orjson.dumps(_fields(record), default=str).decode()


class TextFormatter(logging.Formatter):
    """The same on one line for people, and a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        trace = fields.pop("traceback", None)
        head = [str(fields.pop(name)) for name in ("time", "level", "logger", "message")]
        line = " ".join([*head, *(f"{name}={value}" for name, value in fields.items())])
        return line if trace is None else f"{line}\n{trace}"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
    }
    if identifier := request_id.get():
        fields["request_id"] = identifier
    fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if record.exc_info and record.exc_info[1]:
        fields["traceback"] = "".join(_trace(record.exc_info[1])).rstrip()
    return fields


def _trace(error: BaseException) -> Iterator[str]:
    """Give the traceback of an error and its causes, oldest first, without values."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    for one in reversed(chain):
        yield from traceback.format_tb(one.__traceback__)
        yield f"{type(one).__qualname__}: {redacted(str(one))}\n"


def redacted(text: str) -> str:
    """Return the first line of an error's text with everything blanked that may be a value.

    Databases and parsers quote what they could not take, and that may be a person's name or a key.
    """
    lines = text.splitlines()
    return _VALUES.sub("…", lines[0])[:_LONGEST_TEXT] if lines else ""
