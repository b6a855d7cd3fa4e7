"""What a session's model was shown, as turnloom keeps it: response items without the reference's own marks."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import orjson

from app_server.store.rollouts.summary import spoken

Json = Mapping[str, Any]
Entry = tuple[str | None, bytes]
"""A response item as JSON, and the id of the turn that it belongs to."""

ABORTED: Final = "aborted"

# The members of each kind of item that are sent to a model again, in the order in which turnloom writes them.
_KEPT: Final = {
    "message": ("type", "role", "content", "phase"),
    "reasoning": ("type", "summary", "content", "encrypted_content"),
    "function_call": ("type", "name", "namespace", "arguments", "call_id"),
    "function_call_output": ("type", "call_id", "output"),
    "custom_tool_call": ("type", "name", "input", "call_id"),
    "custom_tool_call_output": ("type", "call_id", "output"),
    "local_shell_call": ("type", "call_id", "status", "action"),
    "web_search_call": ("type", "action"),
    "image_generation_call": ("type", "id", "status", "revised_prompt", "result"),
    "tool_search_call": ("type", "call_id", "status", "execution", "arguments"),
    "tool_search_output": ("type", "call_id", "status", "execution", "tools"),
    "compaction": ("type", "encrypted_content"),
    "compaction_summary": ("type", "encrypted_content"),
    "context_compaction": ("type", "encrypted_content"),
}
_OUTPUTS: Final = {
    "function_call": "function_call_output",
    "local_shell_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
}


def kept(item: Json) -> bytes | None:
    """A response item as it is sent again; None for what is not."""
    names = _KEPT.get(str(item.get("type")))
    if names is None:
        return None
    return orjson.dumps({name: item[name] for name in names if item.get(name) is not None})


def compacted(record: Json, before: Sequence[Entry], turn_id: str | None) -> list[Entry]:
    """The history once it was summed up: as the record says or, in older files, the user's words and the summary."""
    replacement = record.get("replacement_history")
    if isinstance(replacement, list):
        items = [cast("Json", item) for item in cast("list[Any]", replacement) if isinstance(item, dict)]
        return [(turn_id, encoded) for item in items if (encoded := kept(item)) is not None]
    summary = record.get("message")
    if not isinstance(summary, str) or not summary:
        return list(before)
    said = [entry for entry in before if spoken(orjson.loads(entry[1])) is not None]
    content = [{"type": "input_text", "text": summary}]
    return [*said, (turn_id, orjson.dumps({"type": "message", "role": "user", "content": content}))]


def paired(entries: Sequence[Entry]) -> list[Entry]:
    """The history with an output for every call, and none without a call: models refuse anything else."""
    answered: set[tuple[str, str]] = set()
    for _, encoded in entries:
        if b'_output"' in encoded[:40]:
            item = orjson.loads(encoded)
            answered.add((item["type"], str(item.get("call_id"))))
    result: list[Entry] = []
    called: set[tuple[str, str]] = set()
    for turn_id, encoded in entries:
        if b'"call_id"' not in encoded:
            result.append((turn_id, encoded))
            continue
        item = orjson.loads(encoded)
        kind, call_id = item["type"], str(item.get("call_id"))
        if kind in _OUTPUTS.values():
            if (kind, call_id) in called:
                called.discard((kind, call_id))
                result.append((turn_id, encoded))
            continue
        result.append((turn_id, encoded))
        if (output := _OUTPUTS.get(kind)) is None:
            continue
        if (output, call_id) in answered:
            called.add((output, call_id))
        else:
            result.append((turn_id, orjson.dumps({"type": output, "call_id": call_id, "output": ABORTED})))
    return result
