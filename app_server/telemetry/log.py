"""Logging to stderr: readable lines, or one JSON object a line with LOG_FORMAT=json. It never waits for its reader."""

import logging
import os
import select
from collections import deque
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime

import orjson

DEFAULT_LEVEL = logging.WARNING
_ATOMIC_WRITE_BYTES = 4096
"""A descriptor that polls as writable takes this much without waiting (PIPE_BUF on Linux)."""
RECENT_CHARACTERS = 256 * 1024
"""How much of the log is kept in memory."""
_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.CRITICAL + 10,
}
_NOTICES = "app_server.notice"


def level_from(environment: Mapping[str, str]) -> int:
    """The level that LOG_LEVEL names, else the bare level in RUST_LOG (`info` in `hyper=warn,info`), else warning."""
    for name in ("LOG_LEVEL", "RUST_LOG"):
        for directive in environment.get(name, "").split(","):
            level = _LEVELS.get(directive.strip().lower())
            if level is not None:
                return level
    return DEFAULT_LEVEL


class JsonFormatter(logging.Formatter):
    """One JSON object: time (ISO 8601, UTC), level, logger, message, if there was one exception, and the fields of an
    event."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, str | int] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        entry.update(_fields(record))
        try:
            return orjson.dumps(entry).decode()
        except TypeError:  # half a surrogate pair, as in a file name that is no UTF-8
            replaced = {key: str(value).encode(errors="replace").decode() for key, value in entry.items()}
            return orjson.dumps(replaced).decode()


class TextFormatter(logging.Formatter):
    """`TIME LEVEL logger: message`; a notice to the user is the bare message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        if record.name == _NOTICES:
            return record.getMessage()
        return " ".join((super().format(record), *(f"{name}={value}" for name, value in _fields(record).items())))


def log_event(logger: logging.Logger, level: int, name: str, fields: Mapping[str, str | int | None]) -> None:
    """Log something with named values: members in JSON, `name=value` in text. What is None is left out."""
    if logger.isEnabledFor(level):
        known = {name: value for name, value in fields.items() if value is not None}
        logger.log(level, "%s", name, extra={_FIELDS: known})


_FIELDS = "turnloom_fields"


def _fields(record: logging.LogRecord) -> Mapping[str, str | int]:
    return record.__dict__.get(_FIELDS, {})


class DroppingHandler(logging.Handler):
    """Writes to a descriptor that may be a full pipe: what does not fit is dropped and counted, never waited for."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._torn = False
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or count it as dropped."""
        try:
            text = self.format(record)
        except Exception:  # a broken log call must not break what it reports on
            text = f"unprintable log record from {record.name}"
        line = text.encode("utf-8", "backslashreplace") + b"\n"
        if self._torn:
            line = b"\n" + line
        if self.dropped:
            line += self._report()
        if self._write(line):
            self.dropped = 0
        else:
            self.dropped += 1

    def _report(self) -> bytes:
        record = logging.LogRecord(
            __name__, logging.WARNING, __file__, 0, "%d log lines dropped: stderr was full", (self.dropped,), None
        )
        return self.format(record).encode() + b"\n"

    def _write(self, line: bytes) -> bool:
        rest = memoryview(line)
        try:
            while rest:
                if not any(events & select.POLLOUT for _, events in self._poll.poll(0)):
                    break
                rest = rest[os.write(self._fd, rest[:_ATOMIC_WRITE_BYTES]) :]
        except OSError:
            pass
        written = len(line) - len(rest)
        if written:
            self._torn = bool(rest)
        return not rest


class RecentLines(logging.Handler):
    """Keeps the newest lines for reports of problems."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(TextFormatter())
        self._lines: deque[str] = deque()
        self._size = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, and forget the oldest ones beyond `RECENT_CHARACTERS`."""
        try:
            text = self.format(record)[: RECENT_CHARACTERS - 1]
        except Exception:  # a broken log call must not break what it reports on
            text = f"unprintable log record from {record.name}"
        self._lines.append(text)
        self._size += len(text) + 1
        while self._size > RECENT_CHARACTERS:
            self._size -= len(self._lines.popleft()) + 1

    def text(self) -> str:
        """All of them, oldest first."""
        with self.lock or nullcontext():
            return "".join(f"{line}\n" for line in self._lines)


def recent_lines() -> str:
    """The newest lines of the log, at the level at which it is written; at most `RECENT_CHARACTERS`."""
    kept = (handler for handler in logging.getLogger().handlers if isinstance(handler, RecentLines))
    return "".join(handler.text() for handler in kept)


def configure(environment: Mapping[str, str] = os.environ, fd: int = 2) -> None:
    """Send the log of the whole process to `fd`. Calling it again replaces what was configured."""
    handler = DroppingHandler(fd)
    as_json = environment.get("LOG_FORMAT", "").lower() == "json"
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [handler, RecentLines()]
    root.setLevel(level_from(environment))
    logging.getLogger(_NOTICES).setLevel(logging.INFO)
    # At debug it prints every statement with its values: what people wrote, and nothing that helps.
    logging.getLogger("aiosqlite").setLevel(logging.INFO)


def notice(message: str) -> None:
    """Tell the user something at any log level, for example the address that is being listened on."""
    logging.getLogger(_NOTICES).info("%s", message)
