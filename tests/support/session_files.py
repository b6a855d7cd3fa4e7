"""Session files such as the reference writes them, made of records that a test names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

THREAD = "01a20000-0000-7000-8000-000000000001"
AT = "2026-05-04T03:02:01.500Z"
AT_MS = 1_777_863_721_500

Record = tuple[str, Mapping[str, Any]]


def event(kind: str, **members: Any) -> Record:
    """Something that happened."""
    return "event_msg", {"type": kind, **members}


def shown(role: str, text: str) -> Record:
    """A message that the model was shown or gave."""
    kind = "output_text" if role == "assistant" else "input_text"
    return "response_item", {"type": "message", "id": "m", "role": role, "content": [{"type": kind, "text": text}]}


def item(turn_id: str, thread_id: str = THREAD, **members: Any) -> Record:
    """A finished item of a paginated session."""
    times = {"started_at_ms": AT_MS, "completed_at_ms": AT_MS + 1}
    return event("item_completed", thread_id=thread_id, turn_id=turn_id, item=members, **times)


def said(turn_id: str, text: str, item_id: str = "u") -> list[Record]:
    """A user's message of a paginated session, as the model and the user see it."""
    content: list[Any] = [{"type": "text", "text": text, "text_elements": []}]
    return [shown("user", text), item(turn_id, type="UserMessage", id=f"{item_id}-{turn_id}", content=content)]


def answered(turn_id: str, text: str) -> list[Record]:
    """The model's answer in a paginated session."""
    content = [{"type": "Text", "text": text}]
    return [item(turn_id, type="AgentMessage", id=f"a-{turn_id}", content=content), shown("assistant", text)]


def turn(turn_id: str, *records: Record, **ended: Any) -> list[Record]:
    """A turn from its beginning to its end; `ended` are members of the end."""
    begin = event("task_started", turn_id=turn_id, root_turn_id=turn_id, started_at=AT_MS // 1000)
    end = {"completed_at": AT_MS // 1000 + 2, "duration_ms": 2000, **ended}
    return [begin, *records, event("task_complete", turn_id=turn_id, **end)]


def spoken_turn(turn_id: str, question: str, answer: str) -> list[Record]:
    """A turn of a paginated session in which one question was answered."""
    return turn(turn_id, *said(turn_id, question), *answered(turn_id, answer))


def old_turn(turn_id: str, question: str, answer: str) -> list[Record]:
    """The same in the older form, which has an event for each message."""
    return turn(
        turn_id,
        shown("user", question),
        event("user_message", message=question, images=[]),
        event("agent_message", message=answer),
        shown("assistant", answer),
    )


def context(**members: Any) -> Record:
    """What a turn ran with."""
    plain = {"model": "session-model", "approval_policy": "never", "sandbox_policy": {"type": "read-only"}}
    return "turn_context", {**plain, **members}


def lines(records: Sequence[Record | bytes], *, start: int = 0, numbered: bool = True) -> list[bytes]:
    """The records as lines; what is bytes already stands as it is."""
    made: list[bytes] = []
    for ordinal, record in enumerate(records, start):
        if isinstance(record, bytes):
            made.append(record)
        else:
            head = {"timestamp": AT, **({"ordinal": ordinal} if numbered else {})}
            made.append(orjson.dumps({**head, "type": record[0], "payload": record[1]}))
    return made


def meta(thread_id: str = THREAD, *, paginated: bool = True, **members: Any) -> Record:
    """The first record of a session."""
    plain = {
        "id": thread_id,
        "timestamp": AT,
        "cwd": "/project",
        "originator": "codex-tui",
        "cli_version": "0.169.0",
        "source": "cli",
        "model_provider": "scripted",
        **({"history_mode": "paginated"} if paginated else {}),
    }
    return "session_meta", {**plain, **members}


def write_session(
    home: Path,
    records: Sequence[Record | bytes],
    *,
    thread_id: str = THREAD,
    paginated: bool = True,
    segment: str = "",
    archived: bool = False,
    start: int = 0,
    day: str = "2026/05/04",
    **members: Any,
) -> Path:
    """Put a session file where the reference would; `members` are further ones of its first record."""
    folder = home / "archived_sessions" if archived else home / "sessions" / day
    folder.mkdir(parents=True, exist_ok=True)
    suffix = f"_{segment}" if segment else ""
    path = folder / f"rollout-{day.replace('/', '-')}T03-02-01-{thread_id}{suffix}.jsonl"
    first = meta(thread_id, paginated=paginated, **members)
    path.write_bytes(b"\n".join([*lines([first, *records], start=start, numbered=paginated), b""]))
    return path


def append(path: Path, records: Sequence[Record], *, start: int = 1000) -> None:
    """Go on with a session, as the reference does."""
    with path.open("ab") as file:
        file.write(b"\n".join([*lines(records, start=start), b""]))


def name_thread(home: Path, thread_id: str, name: str) -> None:
    """Give a thread a name, as the reference does."""
    with (home / "session_index.jsonl").open("ab") as file:
        file.write(orjson.dumps({"id": thread_id, "thread_name": name, "updated_at": AT}) + b"\n")


def compress(path: Path) -> Path:
    """Put a compressed file in the place of a session file, as the reference does with old ones."""
    data, size = path.read_bytes(), 100_000
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    # A zstd frame of blocks that are not made smaller: magic, no options, a window of 2 MiB, then each block after
    # its length and whether it is the last.
    frame = [b"\x28\xb5\x2f\xfd\x00\x58"]
    for number, block in enumerate(blocks, start=1):
        frame.append((len(block) << 3 | (number == len(blocks))).to_bytes(3, "little") + block)
    compressed = path.with_name(f"{path.name}.zst")
    compressed.write_bytes(b"".join(frame))
    path.unlink()
    return compressed
