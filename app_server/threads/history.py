"""What the model is shown of a thread: response items in order, kept as the JSON that is sent."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import orjson

from app_server.tools.context import ToolCall, ToolOutput

ABORTED_OUTPUT = "aborted"
"""The output of a call that an interrupt or a crash cut off."""

INTERRUPTED_NOTICE = (
    "<turn_aborted>\nThe user stopped the previous turn before it was finished. Commands that it started may have "
    "done part of their work, or run on in the background; look at the state of things before you repeat one.\n"
    "</turn_aborted>"
)


def message(role: str, *parts: Mapping[str, Any]) -> bytes:
    """A message item."""
    return orjson.dumps({"type": "message", "role": role, "content": list(parts)})


def text_message(role: str, text: str) -> bytes:
    """A message item of one text."""
    kind = "output_text" if role == "assistant" else "input_text"
    return message(role, {"type": kind, "text": text})


def call_output(call: ToolCall, output: ToolOutput) -> bytes:
    """The answer to a call of the model."""
    return _output(call.call_id, output.text if output.content is None else output.content, custom=call.custom)


def aborted_output(call_id: str, *, custom: bool = False) -> bytes:
    """The answer to a call that was cut off."""
    return _output(call_id, ABORTED_OUTPUT, custom=custom)


def _output(call_id: str, output: Any, *, custom: bool) -> bytes:
    kind = "custom_tool_call_output" if custom else "function_call_output"
    return orjson.dumps({"type": kind, "call_id": call_id, "output": output})


def kept(item: Mapping[str, Any]) -> bytes | None:
    """An item of the model's answer as it goes into the history; None for what is not sent back."""
    kind = item.get("type")
    if kind == "message":
        return message("assistant", *cast("Sequence[Mapping[str, Any]]", item.get("content") or ()))
    if kind == "reasoning":
        kept_names = ("type", "summary", "content", "encrypted_content")
        return orjson.dumps({name: item[name] for name in kept_names if item.get(name) is not None})
    if kind in ("function_call", "custom_tool_call", "web_search_call", "local_shell_call"):
        return orjson.dumps({name: value for name, value in item.items() if name not in ("id", "status")})
    return None


def unanswered_calls(history: Iterable[bytes]) -> list[tuple[str, bool]]:
    """(call id, whether it is a custom call) of calls without an output, in order. The model refuses such a history."""
    open_calls: dict[str, bool] = {}
    for encoded in history:
        if b'"call_id"' not in encoded:
            continue
        item = orjson.loads(encoded)
        kind = item.get("type")
        if kind in ("function_call", "custom_tool_call"):
            open_calls[item["call_id"]] = kind == "custom_tool_call"
        elif kind in ("function_call_output", "custom_tool_call_output"):
            # Outputs that a client delivers answer no call.
            open_calls.pop(item.get("call_id"), None)
    return list(open_calls.items())
