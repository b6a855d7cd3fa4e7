"""What lists show of a session, read from the beginning and the end of its file."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, cast

import orjson
from msgspec import Struct, field
from msgspec.structs import replace

from app_server.store.rollouts.compressed import open_session
from app_server.store.rollouts.files import ODD_RECORD, Record, lines, parsed, timestamp_ms
from app_server.store.rows import ThreadRow, cut_preview
from app_server.version import PROTOCOL_VERSION

HEAD_BYTES: Final = 8 << 20
"""How far into a file its first message is looked for."""
TAIL_BYTES: Final = 64 << 10

REQUEST_MARK: Final = "## My request for Codex:"
"""What follows this in a message is the user's own text; editors put their context before it."""

# Records of these kinds are as large as they are many and tell a list nothing.
_UNREAD: Final = (b'"type":"response_item"', b'"type":"world_state"', b'"type":"compacted"')
_SETTINGS: Final = (b'"turn_context"', b'"thread_settings_applied"')
_KIND_BYTES: Final = 120

_PLAIN_SOURCES: Final = {"cli": "cli", "vscode": "vscode", "exec": "exec", "mcp": "appServer"}
_HARNESS: Final = ("<environment_context>", "<user_instructions>", "# AGENTS.md instructions", "<turn_aborted>")


class Summary(Struct, frozen=True):
    """A session as lists show it. `row` has the times of the session; `has_message` says whether a user spoke."""

    row: ThreadRow
    has_message: bool


class NoSession(Exception):
    """The file does not begin as a session does."""


def summarise(path: str, archived: bool, default_provider: str, beginning: Callable[[str], str]) -> Summary:
    """Read what a list needs. Raises OSError, or NoSession when the file has no usable beginning.

    `beginning` finds the file in which a session began that only goes on in this one.
    """
    with open_session(path) as file:
        status = os.fstat(file.fileno())
        head = _Head(default_provider)
        for line in lines(file, HEAD_BYTES):
            if head.takes(line) and (record := parsed(line)) is not None:
                with suppress(*ODD_RECORD):
                    head.add(record)
            if head.complete:
                break
        if isinstance(head.meta.get("history_base"), dict) and (first := beginning(path)) != path:
            head.began_with(first)
        row = head.row()
        if file.seekable() and file.tell() < status.st_size:
            file.seek(max(file.tell(), status.st_size - TAIL_BYTES))
            for line in lines(file):
                if any(kind in line[:_KIND_BYTES] for kind in _SETTINGS) and (record := parsed(line)) is not None:
                    applied = record.payload.get("thread_settings", None)
                    context = (
                        as_context(cast("dict[str, Any]", applied)) if isinstance(applied, dict) else record.payload
                    )
                    row = _with_model(row, context)
    at_ms = status.st_mtime_ns // 1_000_000
    row = replace(row, updated_at_ms=at_ms, recency_at_ms=at_ms, archived=archived)
    return Summary(row, head.has_message)


class _Head(Struct):
    """What the first records of a file have told so far."""

    default_provider: str
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    context: Mapping[str, Any] | None = None
    preview: str | None = None
    said: str | None = None
    bare: bool = False
    at_ms: int = 0

    @property
    def complete(self) -> bool:
        return bool(self.meta) and self.preview is not None and self.context is not None

    @property
    def has_message(self) -> bool:
        return self.preview is not None or self.said is not None

    def takes(self, line: bytes) -> bool:
        return self.bare or not any(kind in line[:_KIND_BYTES] for kind in _UNREAD)

    def add(self, record: Record) -> None:
        payload = record.payload
        match record.type:
            case "session_meta" if not self.meta:
                self.meta, self.at_ms = payload, record.at_ms
                self.bare = "cwd" not in payload
            case "turn_context":
                self.context = payload
            case "event_msg" if isinstance(applied := payload.get("thread_settings"), dict):
                self.context = as_context(cast("dict[str, Any]", applied))
            case "event_msg" if self.preview is None:
                self.preview = first_message(payload)
            case "response_item" if self.said is None:
                self.said = spoken(payload)
                if self.said is None and (cwd := _cwd_said(payload)) is not None:
                    self.meta = {**self.meta, "cwd": cwd}
                self.bare = self.said is None
            case _:
                pass

    def began_with(self, path: str) -> None:
        """Take the first message from the file in which the session began."""
        earlier = _Head(self.default_provider)
        with suppress(OSError), open_session(path) as file:
            for line in lines(file, HEAD_BYTES):
                if earlier.takes(line) and (record := parsed(line)) is not None:
                    with suppress(*ODD_RECORD):
                        earlier.add(record)
                if earlier.preview is not None:
                    self.preview = earlier.preview
                    break

    def row(self) -> ThreadRow:
        meta = self.meta
        thread_id = meta.get("id")
        if not isinstance(thread_id, str):
            raise NoSession("it does not begin with the record of a session")
        at_ms = timestamp_ms(meta.get("timestamp")) or self.at_ms
        row = ThreadRow(
            id=thread_id,
            created_at_ms=at_ms,
            updated_at_ms=at_ms,
            recency_at_ms=at_ms,
            cwd=text_of(meta, "cwd") or "/",
            model_provider=text_of(meta, "model_provider") or self.default_provider,
            cli_version=text_of(meta, "cli_version") or PROTOCOL_VERSION,
            source=source_json(meta.get("source", "vscode")),
            preview=cut_preview((self.preview if self.preview is not None else self.said or "").strip()),
            originator=text_of(meta, "originator"),
            thread_source=text_of(meta, "thread_source"),
            forked_from_id=text_of(meta, "forked_from_id"),
            parent_thread_id=text_of(meta, "parent_thread_id") or _spawned_by(meta.get("source")),
            git_info=_git_json(meta.get("git")),
        )
        return row if self.context is None else _with_model(row, self.context)


def as_context(applied: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings that were applied to a thread, with the names that they have in the context of a turn."""
    return {"model": applied.get("model"), "effort": applied.get("reasoning_effort")}


def text_of(record: Mapping[str, Any], name: str) -> str | None:
    """The member if it is a text that is not empty."""
    value = record.get(name)
    return value if isinstance(value, str) and value else None


def first_message(event: Mapping[str, Any]) -> str | None:
    """The text of an event that is a user's message; None for any other."""
    if event.get("type") == "user_message":
        text = event.get("message")
        return own_text(text) if isinstance(text, str) and text.strip() else "[Image]"
    item = event.get("item")
    if event.get("type") != "item_completed" or not isinstance(item, dict):
        return None
    message = cast("dict[str, Any]", item)
    if message.get("type") != "UserMessage":
        return None
    return own_text("\n".join(_texts(message.get("content")))) or "[Image]"


def _texts(content: Any) -> list[str]:  # Any: what a file holds
    """The texts among the parts of a message."""
    if not isinstance(content, list):
        return []
    parts = [cast("dict[str, Any]", part) for part in cast("list[Any]", content) if isinstance(part, dict)]
    return [part["text"] for part in parts if isinstance(part.get("text"), str)]


def own_text(message: str) -> str:
    """What the user wrote, without the context that an editor put before it."""
    _, mark, rest = message.partition(REQUEST_MARK)
    return (rest if mark else message).strip()


def spoken(item: Mapping[str, Any]) -> str | None:
    """The text of a model item that is a user's message, and not one that the program wrote in the user's name."""
    if item.get("type") != "message" or item.get("role") != "user":
        return None
    text = message_text(item)
    return text if text and not text.startswith(_HARNESS) else None


def message_text(item: Mapping[str, Any]) -> str:
    """All text of a model item that is a message."""
    return "".join(_texts(item.get("content"))).strip()


def _cwd_said(item: Mapping[str, Any]) -> str | None:
    """The working directory as the oldest sessions tell it: in words to the model."""
    text = message_text(item)
    start, end = text.find("<cwd>"), text.find("</cwd>")
    return text[start + 5 : end].strip() if 0 <= start < end and text.startswith("<environment_context>") else None


def source_json(source: Any) -> str:  # Any: what a file holds
    """The wire's SessionSource of the kind of client that a file names."""
    if isinstance(source, dict):
        named = cast("dict[str, Any]", source)
        agent = named.get("subagent", named.get("sub_agent"))
        if isinstance(agent, str) and agent in ("review", "compact", "memory_consolidation"):
            return orjson.dumps({"subAgent": agent}).decode()
        if isinstance(agent, dict) and len(cast("dict[str, Any]", agent)) == 1:
            return _sub_agent(cast("dict[str, Any]", agent))
        if isinstance(custom := named.get("custom"), str):
            return orjson.dumps({"custom": custom}).decode()
        return '"unknown"'
    return orjson.dumps(_PLAIN_SOURCES.get(source, "unknown") if isinstance(source, str) else "unknown").decode()


def _spawned_by(source: Any) -> str | None:
    """The thread that started this one, as older files tell it."""
    for member in ("subagent", "thread_spawn"):
        source = cast("dict[str, Any]", source).get(member) if isinstance(source, dict) else None
    return text_of(cast("dict[str, Any]", source), "parent_thread_id") if isinstance(source, dict) else None


def _sub_agent(agent: Mapping[str, Any]) -> str:
    from pydantic import ValidationError

    from protocol.v2.thread_data import SubAgentSessionSource

    try:
        source = SubAgentSessionSource.model_validate({"subAgent": agent})
    except ValidationError:
        return orjson.dumps({"subAgent": {"other": next(iter(agent))}}).decode()
    return source.model_dump_json()


def _git_json(git: Any) -> str | None:
    if not isinstance(git, dict):
        return None
    found = cast("dict[str, Any]", git)
    names = (("sha", "commit_hash"), ("branch", "branch"), ("originUrl", "repository_url"))
    return orjson.dumps({ours: text_of(found, theirs) for ours, theirs in names}).decode()


def _with_model(row: ThreadRow, context: Mapping[str, Any]) -> ThreadRow:
    model = text_of(context, "model")
    return row if model is None else replace(row, model=model, reasoning_effort=text_of(context, "effort"))
