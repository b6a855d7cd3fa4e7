"""Hooks: what is configured to run at which event, and whether its user trusts it."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, field

from app_server.config.layer import Layer
from app_server.config.layers import LayerStack
from app_server.extensions.loose import list_in, table_in
from app_server.extensions.manifests import Manifest, PluginError, read_json
from protocol.v2.hooks import (
    CommandHookMetadata,
    HookErrorInfo,
    HookEventName,
    HookMetadata,
    HooksListEntry,
    HookSource,
    HookTrustStatus,
    McpToolHookMetadata,
)
from protocol.v2.plugin import PluginHookSummary

HOOKS_FILE: Final = "hooks.json"
"""Beside each config.toml; both may describe hooks."""

SESSION_FLAGS: Final = "/<session-flags>/config.toml"
"""Where hooks are said to come from that were given on the command line or by a client."""

DEFAULT_TIMEOUT: Final = 600
HURRIED_TIMEOUT, MAX_HURRIED_TIMEOUT = 1, 3
"""Seconds. Hooks at the end of something that somebody waits for get less."""


class _Event(Struct, frozen=True):
    """An event as hooks name it."""

    wire: HookEventName
    key: str
    has_matcher: bool = True
    is_hurried: bool = False


EVENTS: Final[Mapping[str, _Event]] = {
    "PreModelRequest": _Event("preModelRequest", "pre_model_request", has_matcher=False),
    "PostModelRequest": _Event("postModelRequest", "post_model_request", has_matcher=False),
    "PreToolUse": _Event("preToolUse", "pre_tool_use"),
    "PermissionRequest": _Event("permissionRequest", "permission_request"),
    "PostToolUse": _Event("postToolUse", "post_tool_use"),
    "PreCompact": _Event("preCompact", "pre_compact"),
    "PostCompact": _Event("postCompact", "post_compact"),
    "SessionStart": _Event("sessionStart", "session_start"),
    "SessionEnd": _Event("sessionEnd", "session_end", is_hurried=True),
    "UserPromptSubmit": _Event("userPromptSubmit", "user_prompt_submit", has_matcher=False),
    "SubagentStart": _Event("subagentStart", "subagent_start"),
    "SubagentStop": _Event("subagentStop", "subagent_stop"),
    "Stop": _Event("stop", "stop", has_matcher=False),
    "Interrupt": _Event("interrupt", "interrupt", has_matcher=False, is_hurried=True),
}


class HookError(Exception):
    """A description of hooks that cannot be used; the message says what is wrong."""


class Hook(Struct, frozen=True):
    """One command or tool, to be called at an event when `matcher` fits. `key` is how its trust is kept."""

    event: HookEventName
    key: str
    hash: str
    matcher: str | None
    timeout_seconds: int
    command: str | None = None
    server: str | None = None
    tool: str | None = None
    is_async: bool = False
    status_message: str | None = None
    additional_context_limit: int | None = None


class _Place(Struct, frozen=True):
    """Where hooks are described. `path` is the file, `name` how keys and warnings call it."""

    path: str
    name: str
    source: HookSource
    plugin_id: str | None = None


class Hooks(Struct):
    """All that was found, with what is wrong."""

    found: list[tuple[_Place, Hook]] = field(default_factory=list[tuple[_Place, Hook]])
    warnings: list[str] = field(default_factory=list[str])
    errors: list[HookErrorInfo] = field(default_factory=list[HookErrorInfo])
    read: set[str] = field(default_factory=set[str])
    """The files of hooks that were read."""


def list_hooks(stack: LayerStack, plugins: Iterable[tuple[str, Manifest]], cwd: str) -> HooksListEntry:
    """The hooks of all layers of `stack` and of the plugins, given with their ids, for the folder `cwd`.

    Blocks on files.
    """
    hooks = Hooks()
    if stack.settings().feature("hooks", default=True):
        for layer in _layers(stack):
            _read_layer(layer, hooks)
        for plugin_id, manifest in plugins:
            _read_plugin(plugin_id, manifest, hooks)
    return HooksListEntry(
        cwd=cwd, hooks=_metadata(hooks.found, _states(stack)), warnings=hooks.warnings, errors=hooks.errors
    )


def hook_summaries(plugin_id: str, manifest: Manifest) -> list[PluginHookSummary]:
    """The hooks that a plugin would bring."""
    hooks = Hooks()
    _read_plugin(plugin_id, manifest, hooks)
    return [PluginHookSummary(event_name=hook.event, key=hook.key) for _, hook in hooks.found]


# Reading


def _layers(stack: LayerStack) -> list[Layer]:
    """The layers that count, with those of folders of a trusted project that have hooks and no config.toml."""
    layers, project = list(stack.active), stack.project
    if project is None or project.trust != "trusted":
        return layers
    own = {layer.file: layer for layer in stack.layers if layer.kind == "project"}
    places = ((file, {"type": "project", "dotCodexFolder": os.path.dirname(file)}) for file in project.files)
    found = [own.get(file) or Layer(source, {}) for file, source in places]
    others = [layer for layer in layers if layer.kind != "project"]
    at = sum(layer.kind in ("system", "user") for layer in others)
    return [*others[:at], *(layer for layer in found if layer.disabled_reason is None), *others[at:]]


def _read_plugin(plugin_id: str, manifest: Manifest, hooks: Hooks) -> None:
    for name, table in manifest.hooks.items():
        place = _Place(os.path.join(manifest.root, name), f"{plugin_id}:{name}", "plugin", plugin_id)
        _take(place, _events(table, place.path, hooks), hooks)


def _read_layer(layer: Layer, hooks: Hooks) -> None:
    source = _SOURCES.get(layer.kind, "unknown")
    config = layer.file or SESSION_FLAGS
    path = os.path.join(os.path.dirname(config), HOOKS_FILE)
    there: list[str] = []
    # A profile is a second file in the same folder.
    if layer.file is not None and path not in hooks.read and os.path.isfile(path):
        hooks.read.add(path)
        place = _Place(path, path, source)
        try:
            if _take(place, _events(read_json(path), path, hooks), hooks):
                there.append(path)
        except PluginError as error:
            hooks.warnings.append(f"failed to parse hooks config: {error}")
    place = _Place(config, config, source)
    table = layer.table.get("hooks", {})
    if not isinstance(table, dict):
        hooks.errors.append(HookErrorInfo(path=config, message=f"{config}: `hooks` must be a table"))
    elif _take(place, {name: value for name, value in table_in(table).items() if name != "state"}, hooks):
        there.append(config)
    if len(there) > 1:
        hooks.warnings.append(f"loading hooks from both {there[0]} and {there[1]}; prefer a single representation")


_SOURCES: Final[Mapping[str, HookSource]] = {
    "system": "system",
    "user": "user",
    "project": "project",
    "sessionFlags": "sessionFlags",
    "mdm": "mdm",
}


def _events(content: Any, path: str, hooks: Hooks) -> Mapping[str, Any]:
    """The events of a hooks.json."""
    table = table_in(content)
    unknown = [name for name in table if name not in ("hooks", "description")]
    if unknown or not isinstance(content, dict):
        what = f"unknown field `{unknown[0]}`, expected `description` or `hooks`" if unknown else "it must be an object"
        hooks.warnings.append(f"failed to parse hooks config {path}: {what}")
        return {}
    return table_in(table.get("hooks"))


def _take(place: _Place, events: Mapping[str, Any], hooks: Hooks) -> int:
    """Add the hooks of one file; how many there are."""
    before = len(hooks.found)
    is_json = place.path.endswith(".json")
    for name, event in EVENTS.items():
        try:
            for number, group in enumerate(_list(events.get(name), name)):
                for hook in _read_group(place, event, number, _table(group, name), hooks, is_json=is_json):
                    hooks.found.append((place, hook))
        except HookError as error:
            if is_json:
                hooks.warnings.append(f"failed to parse hooks config {place.path}: {error}")
            else:
                hooks.errors.append(HookErrorInfo(path=place.path, message=f"{place.path}: {error}"))
    return len(hooks.found) - before


def _read_group(
    place: _Place, event: _Event, number: int, group: Mapping[str, Any], hooks: Hooks, *, is_json: bool
) -> Iterator[Hook]:
    matcher = group.get("matcher") if event.has_matcher else None
    if matcher is not None and not isinstance(matcher, str):
        raise HookError("`matcher` must be a text")
    handlers = _list(group.get("hooks"), "hooks")
    if matcher not in (None, "*"):
        try:
            re.compile(matcher)
        except re.error as error:
            hooks.warnings.append(f'invalid matcher "{matcher}" in {place.path}: {error}')
            return
    for index, entry in enumerate(handlers):
        handler = _table(entry, "hooks")
        kind = handler.get("type")
        if kind in ("prompt", "agent"):
            hooks.warnings.append(f"skipping {kind} hook in {place.path}: {kind} hooks are not supported yet")
        elif kind == "command" and not _text(handler, "command", needed=True):
            hooks.warnings.append(f"skipping empty hook command in {place.path}")
        else:
            timeout = _timeout(place, event, handler, hooks)
            identity = _identity(handler, timeout, is_json=is_json)
            key = f"{place.name}:{event.key}:{number}:{index}"
            yield Hook(
                event.wire,
                key,
                _hash(event, matcher, identity),
                matcher,
                timeout,
                identity.get("command"),
                identity.get("server"),
                identity.get("tool"),
                identity.get("async", False),
                identity.get("statusMessage"),
                identity.get("additionalContextLimit"),
            )


def _timeout(place: _Place, event: _Event, handler: Mapping[str, Any], hooks: Hooks) -> int:
    given = handler.get("timeout")
    if given is None:
        return HURRIED_TIMEOUT if event.is_hurried else DEFAULT_TIMEOUT
    if not isinstance(given, int) or isinstance(given, bool) or given < 0:
        raise HookError("`timeout` must be a whole number of seconds, at least 0")
    if event.is_hurried and given > MAX_HURRIED_TIMEOUT:
        named = next(name for name, known in EVENTS.items() if known is event)
        hooks.warnings.append(f"clamping {named} hook timeout to {MAX_HURRIED_TIMEOUT}s in {place.path}")
        return MAX_HURRIED_TIMEOUT
    return max(1, given)


def _identity(handler: Mapping[str, Any], timeout: int, *, is_json: bool) -> dict[str, Any]:
    """What makes the hook the one that it is: a change of it takes the trust away. Its command for another system is
    no part of that."""
    kind = handler.get("type")
    identity: dict[str, Any] = {"type": kind, "timeout": timeout}
    if message := _text(handler, "statusMessage"):
        identity["statusMessage"] = message
    if kind == "command":
        identity["command"] = _text(handler, "command", needed=True)
        identity["async"] = handler.get("async") is True
        limit = handler.get("additionalContextLimit")
        if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
            identity["additionalContextLimit"] = limit
    elif kind == "mcp_tool":
        given = table_in(handler.get("input"))
        identity["input"] = _numbers(given) if is_json else given
        identity |= {name: _text(handler, name, needed=True) for name in ("server", "tool")}
    else:
        raise HookError(
            "missing field `type`" if kind is None else f"unknown hook type `{kind}`, expected `command` or `mcp_tool`"
        )
    return identity


def _hash(event: _Event, matcher: str | None, identity: Mapping[str, Any]) -> str:
    whole: dict[str, Any] = {"event_name": event.key, "hooks": [identity]}
    if matcher is not None:
        whole["matcher"] = matcher
    content = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return "sha256:" + hashlib.sha256(content.encode()).hexdigest()


def _numbers(value: Any) -> Any:
    """Numbers as the reference hashes them where they come from JSON, so that trust given there counts here."""
    if isinstance(value, dict):
        return {key: _numbers(entry) for key, entry in table_in(value).items()}
    if isinstance(value, list):
        return [_numbers(entry) for entry in list_in(value)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"$serde_json::private::Number": json.dumps(value)}
    return value


def _list(value: Any, name: str) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise HookError(f"`{name}` must be a list")
    return list_in(value)


def _table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise HookError(f"the entries of `{name}` must be tables")
    return table_in(value)


def _text(table: Mapping[str, Any], name: str, *, needed: bool = False) -> str | None:
    value = table.get(name)
    if value is None and needed:
        raise HookError(f"missing field `{name}`")
    if value is not None and not isinstance(value, str):
        raise HookError(f"`{name}` must be a text")
    return value


# Trust


def _states(stack: LayerStack) -> Mapping[str, Mapping[str, Any]]:
    """What is kept of each hook. A project cannot trust its own."""
    states: dict[str, dict[str, Any]] = {}
    for layer in stack.active:
        if layer.kind != "project":
            for key, value in table_in(table_in(layer.table.get("hooks")).get("state")).items():
                states.setdefault(key, {}).update(table_in(value))
    return states


def _metadata(found: Sequence[tuple[_Place, Hook]], states: Mapping[str, Mapping[str, Any]]) -> list[HookMetadata]:
    listed: list[HookMetadata] = []
    for order, (place, hook) in enumerate(found):
        state = states.get(hook.key, {})
        trusted = state.get("trusted_hash")
        status: HookTrustStatus = "untrusted"
        if isinstance(trusted, str):
            status = "trusted" if trusted == hook.hash else "modified"
        shared: dict[str, Any] = {
            "key": hook.key,
            "event_name": hook.event,
            "matcher": hook.matcher,
            "timeout_sec": hook.timeout_seconds,
            "status_message": hook.status_message,
            "additional_context_limit": hook.additional_context_limit,
            "source_path": place.path,
            "source": place.source,
            "plugin_id": place.plugin_id,
            "display_order": order,
            "enabled": state.get("enabled") is not False,
            "is_managed": False,
            "current_hash": hook.hash,
            "trust_status": status,
        }
        if hook.command is not None:
            listed.append(CommandHookMetadata(command=hook.command, is_async=hook.is_async, **shared))
        else:
            listed.append(McpToolHookMetadata(server=hook.server or "", tool=hook.tool or "", **shared))
    return listed
