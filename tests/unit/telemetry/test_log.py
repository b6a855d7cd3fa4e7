"""What goes to stderr, and that nobody waits for who does not read it."""

import logging
import os
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from app_server.telemetry.log import DroppingHandler, configure, level_from, log_event, notice

logger = logging.getLogger("app_server.test")


class Stderr:
    """A pipe in place of stderr."""

    def __init__(self) -> None:
        self._reading, self.fd = os.pipe()

    def close(self) -> None:
        """Close both ends."""
        os.close(self._reading)
        os.close(self.fd)

    def read(self) -> str:
        """Everything written so far."""
        os.set_blocking(self._reading, False)
        data = b""
        try:
            while part := os.read(self._reading, 1 << 20):
                data += part
        except BlockingIOError:
            pass
        return data.decode()


@pytest.fixture
def stderr() -> Iterator[Stderr]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    pipe = Stderr()
    yield pipe
    root.handlers[:], level, logging.raiseExceptions = before
    root.setLevel(level)
    pipe.close()


@pytest.mark.parametrize(
    ("environment", "level"),
    [
        ({}, logging.WARNING),
        ({"LOG_LEVEL": "info"}, logging.INFO),
        ({"LOG_LEVEL": "DEBUG"}, logging.DEBUG),
        ({"LOG_LEVEL": "warn"}, logging.WARNING),
        ({"LOG_LEVEL": "nonsense"}, logging.WARNING),
        ({"RUST_LOG": "error"}, logging.ERROR),
        ({"RUST_LOG": "codex_core=debug,info"}, logging.INFO),
        ({"RUST_LOG": "codex_core=debug"}, logging.WARNING),
        ({"RUST_LOG": "debug", "LOG_LEVEL": "error"}, logging.ERROR),
    ],
)
def test_the_environment_chooses_the_level(environment: dict[str, str], level: int) -> None:
    assert level_from(environment) == level


def test_a_readable_line_says_when_how_bad_and_where(stderr: Stderr) -> None:
    configure({}, stderr.fd)
    logger.info("not at this level")
    logger.warning("%d things", 2)
    assert stderr.read().endswith(" WARNING app_server.test: 2 things\n")


def test_a_notice_is_shown_bare_at_any_level(stderr: Stderr) -> None:
    configure({"LOG_LEVEL": "error"}, stderr.fd)
    notice("listening on ws://127.0.0.1:1")
    assert stderr.read() == "listening on ws://127.0.0.1:1\n"


def test_json_is_one_object_a_line(stderr: Stderr) -> None:
    configure({"LOG_FORMAT": "json", "LOG_LEVEL": "info"}, stderr.fd)
    notice("listening")
    logger.info("two\nlines %s", "\ud800")
    try:
        raise ValueError("inside")
    except ValueError:
        logger.exception("failed")
    entries: list[dict[str, Any]] = [orjson.loads(line) for line in stderr.read().splitlines()]
    assert [entry["message"].split(" ")[0] for entry in entries] == ["listening", "two\nlines", "failed"]
    assert [entry["level"] for entry in entries] == ["info", "info", "error"]
    assert entries[1]["logger"] == "app_server.test"
    assert entries[1]["time"].endswith("+00:00")
    assert "ValueError: inside" in entries[2]["exception"]


def test_the_fields_of_an_event_are_members_in_json_and_words_in_text(stderr: Stderr) -> None:
    fields = {"host": "a.test", "port": 443, "reason": None}
    configure({"LOG_FORMAT": "json", "LOG_LEVEL": "info"}, stderr.fd)
    log_event(logger, logging.INFO, "policy_decision", fields)
    entry = orjson.loads(stderr.read())
    assert (entry["message"], entry["host"], entry["port"]) == ("policy_decision", "a.test", 443)
    assert "reason" not in entry
    configure({"LOG_LEVEL": "info"}, stderr.fd)
    log_event(logger, logging.DEBUG, "not shown", fields)
    log_event(logger, logging.INFO, "policy_decision", fields)
    assert stderr.read().endswith("app_server.test: policy_decision host=a.test port=443\n")


def test_configuring_again_replaces_what_was_there(stderr: Stderr) -> None:
    configure({}, stderr.fd)
    configure({}, stderr.fd)
    logger.warning("once")
    assert stderr.read().count("once") == 1


def test_a_log_call_that_cannot_be_printed_breaks_nothing(stderr: Stderr) -> None:
    configure({}, stderr.fd)
    logger.warning("%d", "not a number")
    assert stderr.read() == "unprintable log record from app_server.test\n"


def test_a_full_pipe_holds_nobody_up_and_what_was_lost_is_counted(stderr: Stderr) -> None:
    configure({}, stderr.fd)
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, DroppingHandler)
    while not handler.dropped:
        logger.warning("filling %s", "x" * 3000)
    for _ in range(10):
        logger.warning("lost %s", "y" * 10_000)
    assert handler.dropped == 11
    stderr.read()
    logger.warning("back again")
    lines = [line for line in stderr.read().splitlines() if line]
    assert lines[-2].endswith("back again")
    assert lines[-1].endswith("11 log lines dropped: stderr was full")
    assert handler.dropped == 0


def test_a_closed_stderr_breaks_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    handler = DroppingHandler(writing)
    handler.emit(logging.makeLogRecord({"msg": "to nobody"}))
    os.close(writing)
    assert handler.dropped == 1
