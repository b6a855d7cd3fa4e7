"""Items of the reference's session files as the wire shows them.

A paginated session has each item whole, in a form of its own; an older one has an event for what happened.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast
from urllib.parse import unquote

from pydantic import ValidationError

from protocol.v2 import item as wire

Json = Mapping[str, Any]

NO_REVIEW: Final = "Reviewer failed to output a response."

_PLAIN_WORD: Final = re.compile(r"[\w+\-./:@,=%]+", re.ASCII)
_STATUS_OF_EXIT: Final = {True: "completed", False: "failed"}


def item_of(item: Json, started_at_ms: int | None, completed_at_ms: int | None) -> wire.ThreadItem | None:
    """An item of a paginated session; None for a kind or a form that is not known."""
    build = _BUILDERS.get(str(item.get("type")))
    return None if build is None else _validated(build(item), started_at_ms, completed_at_ms)


def event_item(event: Json, new_id: Callable[[], str]) -> wire.ThreadItem | None:
    """The item that an event of an older session tells; `new_id` numbers those without an id. None for other events."""
    kind = str(event.get("type"))
    if kind not in _EVENTS:
        return None
    fields = _EVENTS[kind](event)
    if fields is None:
        return None
    fields["id"] = _text(event, "call_id") or _text(event, "event_id") or _text(event, "item_id") or new_id()
    at_ms = event.get("completed_at_ms", event.get("occurred_at_ms"))
    return _validated(fields, event.get("started_at_ms"), at_ms if isinstance(at_ms, int) else None)


def user_message(event: Json, item_id: str) -> wire.ThreadItem | None:
    """The message of an older session's `user_message` event."""
    parts: list[dict[str, Any]] = []
    text = _text(event, "message")
    if text and text.strip():
        parts.append({"type": "text", "text": text, "text_elements": event.get("text_elements")})
    parts += [{"type": "image", "image_url": url} for url in _list(event, "images")]
    parts += [{"type": "local_image", "path": path} for path in _list(event, "local_images")]
    parts += [{"type": "audio", "audio_url": url} for url in _list(event, "audio")]
    parts += [{"type": "local_audio", "path": path} for path in _list(event, "local_audio")]
    item = {"id": item_id, "client_id": event.get("client_id"), "content": parts}
    return _validated(_user(item), None, None)


def agent_message(event: Json, item_id: str) -> wire.ThreadItem | None:
    """The message of an older session's `agent_message` event; None for an empty one."""
    text = _text(event, "message")
    if not text:
        return None
    return _validated(_agent({**event, "id": item_id, "content": [{"text": text}]}), None, None)


def reasoning(item_id: str, summary: Iterable[str], content: Iterable[str]) -> wire.ThreadItem | None:
    """Thoughts as one item."""
    fields = {"type": "reasoning", "id": item_id, "summary": list(summary), "content": list(content)}
    return _validated(fields, None, None)


def camel(text: str) -> str:
    """A snake_case name in camelCase."""
    first, *others = text.split("_")
    return first + "".join(part.capitalize() for part in others)


def camel_keys(value: Any) -> Any:  # Any: JSON of every shape
    """JSON with the names of all members in camelCase."""
    if isinstance(value, dict):
        return {camel(name): camel_keys(inner) for name, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [camel_keys(inner) for inner in cast("list[Any]", value)]
    return value


def command_line(words: Iterable[str]) -> str:
    """Words as one line that a shell would read back."""
    return " ".join(map(_quoted, words))


def local_path(path: Any) -> str | None:  # Any: what a file holds
    """A path that may be written as a file: URL."""
    if not isinstance(path, str) or not path.startswith("file://"):
        return path if isinstance(path, str) else None
    return unquote(path.removeprefix("file://"))


# The fields of each kind


def _user(item: Json) -> dict[str, Any]:
    parts = [_input(cast("Json", part)) for part in _list(item, "content") if isinstance(part, dict)]
    return {"type": "userMessage", **_id(item), "clientId": item.get("client_id"), "content": [p for p in parts if p]}


def _input(part: Json) -> dict[str, Any] | None:
    match part.get("type"):
        case "text":
            elements = [
                {"byteRange": element.get("byte_range"), "placeholder": element.get("placeholder")}
                for element in cast("list[Json]", _list(part, "text_elements"))
            ]
            return {"type": "text", "text": part.get("text"), "text_elements": elements}
        case "image":
            where = {"url": part.get("image_url", part.get("url")), "fileId": part.get("file_id")}
            return {"type": "image", "detail": part.get("detail"), **where}
        case "local_image":
            return {"type": "localImage", "path": local_path(part.get("path")), "detail": part.get("detail")}
        case "audio":
            return {"type": "audio", "url": part.get("audio_url", part.get("url")), "fileId": part.get("file_id")}
        case "local_audio":
            return {"type": "localAudio", "path": local_path(part.get("path"))}
        case "skill" | "mention" as kind:
            return {"type": kind, "name": part.get("name"), "path": part.get("path")}
        case _:
            return None


def _agent(item: Json) -> dict[str, Any]:
    texts = [part.get("text") for part in cast("list[Json]", _list(item, "content"))]
    citation = item.get("memory_citation")
    if isinstance(citation, dict):
        cited = cast("dict[str, Any]", camel_keys(citation))
        citation = {**cited, "threadIds": cited.get("threadIds", cited.get("rolloutIds", []))}
    return {
        "type": "agentMessage",
        **_id(item),
        "text": "".join(text for text in texts if isinstance(text, str)),
        "phase": item.get("phase"),
        "delivery": item.get("delivery"),
        "memoryCitation": citation,
        "moderation": camel_keys(item.get("moderation")),
        "questions": item.get("questions"),
    }


def _command(item: Json) -> dict[str, Any]:
    words = [word for word in _list(item, "command") if isinstance(word, str)]
    cwd = local_path(item.get("cwd")) or ""
    exit_code = item.get("exit_code")
    actions = [_action(cast("Json", action), cwd) for action in _list(item, "parsed_cmd") if isinstance(action, dict)]
    return {
        "type": "commandExecution",
        **_id(item),
        "command": command_line(words),
        "commandActions": actions,
        "cwd": cwd,
        "status": _status(item) or _STATUS_OF_EXIT[exit_code == 0],
        "aggregatedOutput": _output(item),
        "durationMs": duration_ms(item.get("duration")),
        "exitCode": exit_code,
        "pluginId": item.get("plugin_id"),
        "processId": item.get("process_id"),
        "scriptPath": item.get("script_path"),
        "source": camel(_text(item, "source") or "agent"),
    }


def _output(item: Json) -> str | None:
    joined = _text(item, "aggregated_output")
    if joined is None and ("stdout" in item or "stderr" in item):
        joined = (_text(item, "stdout") or "") + (_text(item, "stderr") or "")
    return joined or None


def _action(action: Json, cwd: str) -> dict[str, Any]:
    command, path = action.get("cmd"), local_path(action.get("path"))
    match action.get("type"):
        case "read" if path is not None:
            whole = path if path.startswith("/") or not cwd else f"{cwd.rstrip('/')}/{path}"
            return {"type": "read", "command": command, "name": action.get("name"), "path": whole}
        case "list_files":
            return {"type": "listFiles", "command": command, "path": path}
        case "search":
            return {"type": "search", "command": command, "path": path, "query": action.get("query")}
        case _:
            return {"type": "unknown", "command": command}


def _files(item: Json) -> dict[str, Any]:
    found = item.get("changes")
    changes = cast("dict[str, Json]", found) if isinstance(found, dict) else {}
    return {
        "type": "fileChange",
        **_id(item),
        "changes": [_change(path, changes[path]) for path in sorted(changes)],
        "status": _status(item) or _success(item) or "inProgress",
    }


def _change(path: str, change: Json) -> dict[str, Any]:
    kind = change.get("type")
    if kind is None and len(change) == 1:
        # Sessions of 2025 name the kind by the only member.
        kind, inner = next(iter(change.items()))
        change = cast("Json", inner) if isinstance(inner, dict) else {}
    if kind != "update":
        return {"path": path, "diff": change.get("content") or "", "kind": {"type": kind}}
    diff, target = change.get("unified_diff") or "", change.get("move_path")
    moved = "" if target is None else f"\n\nMoved to: {target}"
    return {"path": path, "diff": f"{diff}{moved}", "kind": {"type": "update", "move_path": target}}


def _mcp(item: Json) -> dict[str, Any]:
    called = item.get("invocation")
    call = cast("Json", called) if isinstance(called, dict) else item
    result, error = item.get("result"), item.get("error")
    if isinstance(result, dict) and "Err" in result:
        result, error = None, {"message": str(cast("Json", result)["Err"])}
    elif isinstance(result, dict) and "Ok" in result:
        result = cast("Json", result)["Ok"]
    if isinstance(result, dict):
        given = cast("Json", result)
        structured = given.get("structuredContent")
        result = {"content": _list(given, "content"), "structuredContent": structured, "_meta": given.get("_meta")}
    failed = error is not None or (isinstance(result, dict) and cast("Json", item.get("result")).get("isError") is True)
    return {
        "type": "mcpToolCall",
        **_id(item),
        "arguments": call.get("arguments"),
        "server": call.get("server"),
        "tool": call.get("tool"),
        "status": _status(item) or _STATUS_OF_EXIT[not failed],
        "result": result,
        "error": error,
        "durationMs": duration_ms(item.get("duration")),
        "appContext": camel_keys(item.get("app_context")),
        "mcpAppResourceUri": item.get("mcp_app_resource_uri"),
        "pluginId": item.get("plugin_id"),
        "readOnlyHint": item.get("read_only_hint"),
    }


def _dynamic(item: Json) -> dict[str, Any]:
    success = item.get("success")
    return {
        "type": "dynamicToolCall",
        **_id(item),
        "arguments": item.get("arguments"),
        "tool": item.get("tool"),
        "namespace": item.get("namespace"),
        "status": _status(item) or _STATUS_OF_EXIT[success is True],
        "contentItems": item.get("content_items"),
        "success": success,
        "durationMs": duration_ms(item.get("duration")),
    }


def _collab(item: Json) -> dict[str, Any]:
    return {**cast("dict[str, Any]", camel_keys(item)), "type": "collabAgentToolCall", "tool": camel(str(item["tool"]))}


def _activity(item: Json) -> dict[str, Any]:
    return {**cast("dict[str, Any]", camel_keys(item)), "type": "subAgentActivity"}


def _search(item: Json) -> dict[str, Any]:
    action = item.get("action")
    if isinstance(action, dict):
        done = cast("dict[str, Any]", action)
        action = {**done, "type": camel(str(done.get("type")))}
    query, results = item.get("query") or "", item.get("results")
    return {"type": "webSearch", **_id(item), "query": query, "action": action, "results": results}


def _image(item: Json) -> dict[str, Any]:
    return {"type": "imageView", **_id(item), "path": local_path(item.get("path"))}


def _picture(item: Json) -> dict[str, Any]:
    return {
        "type": "imageGeneration",
        **_id(item),
        "status": item.get("status"),
        "revisedPrompt": item.get("revised_prompt"),
        "result": item.get("result"),
        "fileId": item.get("file_id"),
        "savedPath": local_path(item.get("saved_path")),
        "generationId": item.get("generation_id"),
        "transparentBackground": item.get("transparent_background"),
    }


def _called(item: Json) -> dict[str, Any]:
    name, space = item.get("name"), item.get("namespace")
    return {"type": "functionCallOutput", **_id(item), "name": name, "namespace": space, "output": item.get("output")}


def _hook(item: Json) -> dict[str, Any]:
    return {"type": "hookPrompt", **_id(item), "fragments": camel_keys(_list(item, "fragments"))}


def _thoughts(item: Json) -> dict[str, Any]:
    summary, content = _list(item, "summary_text"), _list(item, "raw_content")
    return {"type": "reasoning", **_id(item), "summary": summary, "content": content}


def _plan(item: Json) -> dict[str, Any]:
    return {"type": "plan", **_id(item), "text": item.get("text")}


def _sleep(item: Json) -> dict[str, Any]:
    length = item.get("duration_ms")
    return {"type": "sleep", **_id(item), "durationMs": duration_ms(item.get("duration")) if length is None else length}


def _review_begins(item: Json) -> dict[str, Any]:
    return {"type": "enteredReviewMode", **_id(item), "review": _text(item, "user_facing_hint") or ""}


def _review_ends(item: Json) -> dict[str, Any]:
    return {"type": "exitedReviewMode", **_id(item), "review": review_text(item.get("review_output"))}


def _compaction(item: Json) -> dict[str, Any]:
    return {"type": "contextCompaction", **_id(item)}


def review_text(output: Any) -> str:  # Any: what a file holds
    """A review in words: the explanation, then each finding with its place."""
    if not isinstance(output, dict):
        return NO_REVIEW
    review = cast("Json", output)
    explanation = (_text(review, "overall_explanation") or "").strip()
    findings = [_finding(cast("Json", f)) for f in _list(review, "findings") if isinstance(f, dict)]
    if findings:
        title = "Review comment:" if len(findings) == 1 else "Full review comments:"
        findings = ["\n\n".join([title, *findings])]
    return "\n\n".join([part for part in (explanation, *findings) if part]) or NO_REVIEW


def _finding(finding: Json) -> str:
    place = cast("Json", finding.get("code_location") or {})
    lines = cast("Json", place.get("line_range") or {})
    where = f"{place.get('absolute_file_path')}:{lines.get('start')}-{lines.get('end')}"
    body = "\n".join(f"  {line}" for line in (_text(finding, "body") or "").splitlines())
    return f"- {finding.get('title')} — {where}\n{body}"


def duration_ms(duration: Any) -> int | None:  # Any: what a file holds
    """A length of time that is written in seconds and nanoseconds."""
    if not isinstance(duration, dict):
        return None
    parts = cast("Json", duration)
    seconds, nanos = parts.get("secs"), parts.get("nanos")
    return seconds * 1000 + nanos // 1_000_000 if isinstance(seconds, int) and isinstance(nanos, int) else None


_BUILDERS: Final[dict[str, Callable[[Json], dict[str, Any]]]] = {
    "UserMessage": _user,
    "AgentMessage": _agent,
    "CommandExecution": _command,
    "FileChange": _files,
    "McpToolCall": _mcp,
    "DynamicToolCall": _dynamic,
    "CollabAgentToolCall": _collab,
    "SubAgentActivity": _activity,
    "WebSearch": _search,
    "ImageView": _image,
    "ImageGeneration": _picture,
    "FunctionCallOutput": _called,
    "HookPrompt": _hook,
    "Reasoning": _thoughts,
    "Plan": _plan,
    "Sleep": _sleep,
    "EnteredReviewMode": _review_begins,
    "ExitedReviewMode": _review_ends,
    "ContextCompaction": _compaction,
}


_EVENTS: Final[dict[str, Callable[[Json], dict[str, Any] | None]]] = {
    "exec_command_end": _command,
    "patch_apply_end": _files,
    "mcp_tool_call_end": _mcp,
    "dynamic_tool_call_response": _dynamic,
    "web_search_end": _search,
    "view_image_tool_call": _image,
    "image_generation_end": _picture,
    "sub_agent_activity": _activity,
    "entered_review_mode": _review_begins,
    "exited_review_mode": _review_ends,
    "context_compacted": _compaction,
}


# Reading members that may be anything


def _validated(fields: dict[str, Any], started_at_ms: Any, completed_at_ms: Any) -> wire.ThreadItem | None:
    model = _MODELS[fields["type"]]
    try:
        return model.model_validate({**fields, "startedAtMs": started_at_ms, "completedAtMs": completed_at_ms})
    except ValidationError:
        return None


_MODELS: Final[dict[str, Any]] = {
    model.model_fields["type"].default: model
    for model in vars(wire).values()
    if isinstance(model, type) and issubclass(model, wire.ThreadItemTimes) and model is not wire.ThreadItemTimes
}


def _id(item: Json) -> dict[str, Any]:
    return {"id": item.get("id")}


def _status(item: Json) -> str | None:
    status = item.get("status")
    return camel(status) if isinstance(status, str) else None


def _success(item: Json) -> str | None:
    success = item.get("success")
    return _STATUS_OF_EXIT[success] if isinstance(success, bool) else None


def _text(record: Json, name: str) -> str | None:
    value = record.get(name)
    return value if isinstance(value, str) else None


def _list(record: Json, name: str) -> list[Any]:
    value = record.get(name)
    return cast("list[Any]", value) if isinstance(value, list) else []


def _quoted(word: str) -> str:
    if _PLAIN_WORD.fullmatch(word):
        return word
    if "'" not in word:
        return f"'{word}'"
    if not any(mark in word for mark in '"$`\\!'):
        return f'"{word}"'
    return "'" + word.replace("'", "'\"'\"'") + "'"
