"""Commands of older sessions. Their files tell them only as calls of the model and the outputs that it was shown."""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import orjson

from app_server.store.rollouts.items import item_of
from protocol.v2.item import ThreadItem

Json = Mapping[str, Any]

_TOOLS: Final = {"exec_command", "shell", "shell_command", "container.exec"}
_EXITED: Final = re.compile(r"^(?:Process exited with code|Exit code:) (-?\d+)", re.MULTILINE)
_REFUSED: Final = re.compile(r"\brejected\b", re.IGNORECASE)
_BROKEN: Final = re.compile(r"^(?:exec_command failed|failed to|aborted)|^aborted by user", re.MULTILINE)
_SAID_CHARACTERS: Final = 200
_PATCH: Final = "apply_patch"


def command_of(call: Json) -> list[str] | None:
    """The words of the command that a call runs; None for calls of other tools and for patches."""
    if call.get("type") == "local_shell_call":
        action = call.get("action")
        words = cast("Json", action).get("command") if isinstance(action, dict) else None
    elif str(call.get("name")) in _TOOLS and isinstance(text := call.get("arguments"), str):
        try:
            arguments = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        given: Json = cast("Json", arguments) if isinstance(arguments, dict) else dict[str, Any]()
        words = given.get("cmd", given.get("command"))
    else:
        return None
    if isinstance(words, str):
        words = ["bash", "-lc", words]
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in cast("list[Any]", words)):
        return None
    command = cast("list[str]", words)
    return None if any(word.lstrip().startswith(_PATCH) for word in command) else command


def command_item(call_id: str, words: list[str], cwd: str, output: Any) -> ThreadItem | None:
    """The command as an item, from what the model was told of it."""
    text, exit_code = _read(output)
    status = "failed" if exit_code else "completed"
    if exit_code is None and _REFUSED.search(text[:_SAID_CHARACTERS]):
        status = "declined"
    elif exit_code is None and _BROKEN.search(text[:_SAID_CHARACTERS]):
        status = "failed"
    fields = {
        "type": "CommandExecution",
        "id": call_id,
        "command": words,
        "parsed_cmd": [{"type": "unknown", "cmd": words[-1]}],
        "cwd": cwd,
        "status": status,
        "aggregated_output": text,
        "exit_code": exit_code,
    }
    return item_of(fields, None, None)


def _read(output: Any) -> tuple[str, int | None]:
    """The text of an output and the exit code that it names."""
    if isinstance(output, dict):
        output = cast("Json", output).get("content")
    text = output if isinstance(output, str) else ""
    if text.startswith("{"):
        try:
            given = orjson.loads(text)
            return str(given["output"]), int(given["metadata"]["exit_code"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return text, None
    head, mark, body = text.partition("\nOutput:\n")
    found = _EXITED.search(head)
    return body if mark else text, int(found[1]) if found else None
