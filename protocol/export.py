"""JSON Schema and TypeScript of the protocol, written from the descriptors and their models.

File names and folders are those that clients of the reference know, so that a client project can point at either.
"""

import importlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from msgspec import Struct

from protocol.shapes import Choice, ListOf, MapOf, Member, Named, OneOf, Record, Scalar, Shape, Types
from protocol.wire import Empty, Wire

ALL_MODULES = (
    "protocol.v1",
    "protocol.v2.permissions",
    "protocol.v2.user_input",
    "protocol.v2.function_output",
    "protocol.v2.response_item",
    "protocol.v2.model",
    "protocol.v2.dynamic_tool",
    "protocol.v2.mcp",
    "protocol.v2.item",
    "protocol.v2.approval",
    "protocol.v2.thread_data",
    "protocol.v2.thread",
    "protocol.v2.thread_list",
    "protocol.v2.turn",
    "protocol.v2.plan",
    "protocol.v2.review",
    "protocol.v2.command_exec",
    "protocol.v2.process",
    "protocol.v2.config",
    "protocol.v2.config_requirements",
    "protocol.v2.account",
    "protocol.v2.fs",
    "protocol.v2.skills",
    "protocol.v2.platform",
    "protocol.v2.fuzzy_search",
    "protocol.v2.config_write",
    "protocol.v2.model_provider",
    "protocol.v2.gateway_oauth",
    "protocol.v2.clouds",
    "protocol.v2.login",
    "protocol.v2.usage",
    "protocol.v2.thread_goal",
    "protocol.v2.thread_queue",
    "protocol.v2.thread_control",
    "protocol.v2.thread_metadata",
    "protocol.v2.thread_attachment",
    "protocol.v2.thread_section",
    "protocol.v2.project",
    "protocol.v2.memory",
    "protocol.v2.sampling",
    "protocol.v2.raw_response",
    "protocol.v2.realtime",
    "protocol.v2.thread_search",
    "protocol.v2.hooks",
    "protocol.v2.plugin",
    "protocol.v2.plugin_share",
    "protocol.v2.marketplace",
    "protocol.v2.app",
    "protocol.v2.mcp_server",
    "protocol.v2.external_agent",
    "protocol.v2.remote_control",
    "protocol.v2.user_verification",
    "protocol.v2.windows",
    "protocol.v2.environment",
    "protocol.v2.feedback",
    "protocol.v2.diagnostics",
    "protocol.v2.experimental_feature",
    "protocol.v2.legacy",
    "protocol.v2.network",
)
"""Every module with descriptors or models, in the order in which exports list their methods."""

# fmt: off
_OUTSIDE_V2 = frozenset({
    "AbsolutePathBuf", "AgentMessageInputContent", "AgentPath", "AutoCompactTokenLimitScope", "ClientInfo",
    "CollaborationMode", "ConfigurationReasoning", "ContentItem", "ForcedLoginMethod", "FunctionCallOutputBody",
    "FunctionCallOutputContentItem", "ImageDetail", "ImageGenerationFailure", "ImageGenerationInputImage",
    "InitializeCapabilities", "InitializeParams", "InitializeResponse", "InputModality",
    "InternalChatMessageMetadataPassthrough", "LegacyAppPathString", "LocalShellAction", "LocalShellStatus",
    "MessagePhase", "ModeKind", "MultiAgentMode", "NetworkPolicyAmendment", "NetworkPolicyRuleAction",
    "Personality", "PlanType", "ReasoningEffort", "ReasoningItemContent", "ReasoningItemReasoningSummary",
    "ReasoningSummary", "RequestId", "ResponseItem", "SessionSource", "Settings", "SubAgentSource", "ThreadId",
    "Verbosity", "WebSearchContextSize", "WebSearchLocation", "WebSearchMode", "WebSearchProvider",
    "WebSearchToolConfig",
})
"""TypeScript types that clients import from the top folder; all others are in `v2/`."""
# fmt: on


def import_all() -> list[ModuleType]:
    """Import every protocol module, so that `registered()` is complete; the modules in the order of `ALL_MODULES`."""
    return [importlib.import_module(name) for name in ALL_MODULES]


# JSON Schema, draft 7.

_DRAFT = "http://json-schema.org/draft-07/schema#"


def _integer(shape: Scalar) -> dict[str, Any]:
    if shape.minimum is None:
        return {"type": "integer", "format": "int64"}
    bits = "uint64" if shape.maximum is None else f"uint{shape.maximum.bit_length()}"
    return {"type": "integer", "format": bits, "minimum": shape.minimum}


def json_schema(shape: Shape) -> dict[str, Any]:
    """The JSON Schema of a shape; named types are references into `#/definitions/`."""
    match shape:
        case Scalar("any"):
            return {}
        case Scalar("integer"):
            return _integer(shape)
        case Scalar("string") if shape.min_length is not None:
            return {"type": "string", "minLength": shape.min_length}
        case Scalar():
            return {"type": shape.kind}
        case Choice(values):
            return {"type": "string", "enum": list(values)}
        case ListOf(item):
            return {"type": "array", "items": json_schema(item)}
        case MapOf(value):
            return {"type": "object", "additionalProperties": json_schema(value) or True}
        case Named(name):
            return {"$ref": f"#/definitions/{name}"}
        case OneOf(parts):
            return {"anyOf": [json_schema(part) for part in parts]}
        case Record():
            return _object(shape)


def _object(record: Record) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for member in record.members:
        schema = json_schema(member.shape)
        if not member.required and not member.is_alternative:
            schema = {**schema, "default": member.default} if "$ref" not in schema else _default_of(schema, member)
        properties[member.name] = schema
    written: dict[str, Any] = {"title": record.title, "type": "object"}
    if record.description:
        written["description"] = record.description
    if properties:
        written["properties"] = properties
    if required := sorted(member.name for member in record.members if member.required):
        written["required"] = required
    if alternatives := [member.name for member in record.members if member.is_alternative]:
        written["anyOf"] = [{"required": [name]} for name in alternatives]
    if record.extra != "ignore":
        written["additionalProperties"] = record.extra == "allow"
    return written


def _described(types: Types, name: str) -> dict[str, Any]:
    schema = json_schema(types.definition(name))
    return {"description": about, **schema} if (about := types.description(name)) else schema


def _default_of(reference: dict[str, Any], member: Member) -> dict[str, Any]:
    # Draft 7 ignores what stands beside a $ref.
    return {"allOf": [reference], "default": member.default}


def _request_schema(method: str, params: type[Wire], *, has_id: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {"method": {"type": "string", "enum": [method]}}
    if has_id:
        properties["id"] = {"$ref": "#/definitions/RequestId"}
    if params is not Empty:
        properties["params"] = {"$ref": f"#/definitions/{params.__name__}"}
    elif has_id:
        properties["params"] = {"type": "null"}
    required = sorted(name for name in properties if name != "params" or params is not Empty)
    return {"title": method, "type": "object", "properties": properties, "required": required}


def _unions(types: Types) -> dict[str, dict[str, Any]]:
    """The four kinds of message, each as a union over its methods."""

    def union(entries: Iterable[Any], *, has_id: bool) -> dict[str, Any]:
        return {"oneOf": [_request_schema(entry.method, entry.params, has_id=has_id) for entry in entries]}

    notifications = union(types.server_notifications, has_id=False)
    notifications["properties"] = {"emittedAtMs": {"type": "integer", "format": "int64"}}
    return {
        "ClientNotification": union(types.client_notifications, has_id=False),
        "ClientRequest": union(types.client_requests, has_id=True),
        "ServerNotification": notifications,
        "ServerRequest": union(types.server_requests, has_id=True),
    }


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in cast("dict[str, Any]", schema).items():
            if key == "$ref":
                yield value.rpartition("/")[2]
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for value in cast("list[Any]", schema):
            yield from _references(value)


def _moved(schema: Any, places: dict[str, str]) -> Any:
    """A copy whose references point to where `places` says that a name is defined."""
    if isinstance(schema, dict):
        members = cast("dict[str, Any]", schema).items()
        return {k: places[v.rpartition("/")[2]] if k == "$ref" else _moved(v, places) for k, v in members}
    if isinstance(schema, list):
        return [_moved(value, places) for value in cast("list[Any]", schema)]
    return schema


def _write_json(path: Path, schema: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"$schema": _DRAFT, **schema}, indent=2, sort_keys=True) + "\n", "utf-8")


def write_json_schema(directory: Path, *, experimental: bool) -> None:
    """Write two bundles, one file for each params, result and notification type, and one for each kind of message.

    `directory` is created. Raises OSError if it cannot be written.
    """
    types = Types(import_all(), experimental=experimental)
    unions = _unions(types)
    wholes = {*types.sent_by_clients(), *types.sent_by_server()}
    definitions = {name: _described(types, name) for name in types.reachable([*wholes, "RequestId"])}

    for name in sorted({*wholes, "RequestId", *unions}):
        schema = unions.get(name) or definitions[name]
        needed = types.reachable(_references(schema))
        own = {"definitions": {other: definitions[other] for other in needed}} if needed else {}
        folder = "" if name in unions or name == "RequestId" or name in types.asked_of_clients() else "v2"
        folder = "v1" if name in ("InitializeParams", "InitializeResponse") else folder
        _write_json(directory / folder / f"{name}.json", {**schema, "title": name, **own})

    flat = {**definitions, **unions}
    _write_json(
        directory / "codex_app_server_protocol.v2.schemas.json",
        {"title": "CodexAppServerProtocolV2", "type": "object", "definitions": flat},
    )
    others = {*types.client_requests, *types.server_notifications}
    in_v2 = set(
        types.reachable(
            model.__name__
            for method in others
            for model in (method.params, getattr(method, "response", Empty))
            if model is not Empty and not model.__module__.endswith(".v1")
        )
    )
    places = {name: f"#/definitions/{'v2/' if name in in_v2 else ''}{name}" for name in flat}
    nested: dict[str, Any] = {name: _moved(schema, places) for name, schema in flat.items() if name not in in_v2}
    nested["v2"] = {name: _moved(definitions[name], places) for name in in_v2}
    _write_json(
        directory / "codex_app_server_protocol.schemas.json",
        {"title": "CodexAppServerProtocol", "type": "object", "definitions": nested},
    )


# TypeScript.

_HEADER = "// Generated by turnloom from its protocol models. Changes are lost when it runs again.\n"
_JSON_VALUE = (
    "export type JsonValue =\n"
    "  number | string | boolean | Array<JsonValue> | { [key in string]?: JsonValue } | null;\n"
)


class _TypeScript(Struct, frozen=True):
    """Spells shapes. What clients send may lack members that have a default; the server leaves nothing out, so that
    a type which travels both ways asks for every member that is never null."""

    from_client: frozenset[str]
    from_server: frozenset[str]

    def spell(self, shape: Shape, owner: str) -> str:
        """The type expression of a shape within the declaration of `owner`."""
        match shape:
            case Scalar("any"):
                return "JsonValue"
            case Scalar("integer" | "number"):
                return "number"
            case Scalar():
                return shape.kind
            case Choice(values):
                return " | ".join(json.dumps(value) for value in values)
            case ListOf(item):
                return f"Array<{self.spell(item, owner)}>"
            case MapOf(value):
                return f"{{ [key in string]?: {self.spell(value, owner)} }}"
            case Named(name):
                return name
            case OneOf(parts):
                return " | ".join(self.spell(part, owner) for part in parts)
            case Record():
                return self._record(shape, owner)

    def _record(self, record: Record, owner: str) -> str:
        always = [self._member(member, owner) for member in record.members if not member.is_alternative]
        alternatives = [
            f"{{ {json.dumps(member.name)}: {self.spell(member.shape, owner)} }}"
            for member in record.members
            if member.is_alternative
        ]
        spelled = f"{{ {', '.join(always)} }}" if always else "Record<string, never>"
        if record.extra == "allow":
            spelled = f"({spelled} & {{ [key in string]?: JsonValue }})"
        return f"({spelled} & ({' | '.join(alternatives)}))" if alternatives else spelled

    def _member(self, member: Member, owner: str) -> str:
        spelled = self.spell(member.shape, owner)
        may_be_absent = (
            not member.required
            and owner in self.from_client
            and (member.default is None or owner not in self.from_server)
        )
        return f"{json.dumps(member.name)}{'?' if may_be_absent else ''}: {spelled}"


def _comment(text: str) -> str:
    lines = "\n".join(f" * {line}".rstrip() for line in text.replace("*/", "* /").splitlines())
    return f"/**\n{lines}\n */\n" if text else ""


def _message_type(method: str, params: type[Wire], *, has_id: bool) -> str:
    members = [f'"method": {json.dumps(method)}']
    if has_id:
        members.append('"id": RequestId')
    if params is not Empty or has_id:
        members.append(f'"params": {"undefined" if params is Empty else params.__name__}')
    return f"{{ {', '.join(members)} }}"


def _message_types(types: Types) -> dict[str, str]:
    def union(entries: Iterable[Any], *, has_id: bool) -> str:
        return "".join(f"\n  | {_message_type(entry.method, entry.params, has_id=has_id)}" for entry in entries)

    def results(entries: Iterable[Any]) -> str:
        spelled = ((entry.method, entry.response) for entry in entries)
        empty = "Record<string, never>"
        return "".join(
            f"\n  {json.dumps(method)}: {empty if response is Empty else response.__name__};"
            for method, response in spelled
        )

    return {
        "ClientNotification": union(types.client_notifications, has_id=False),
        "ClientRequest": union(types.client_requests, has_id=True),
        "ClientRequestResults": f" {{{results(types.client_requests)}\n}}",
        "ServerNotification": union(types.server_notifications, has_id=False),
        "ServerNotificationEnvelope": " ServerNotification & { emittedAtMs?: number }",
        "ServerRequest": union(types.server_requests, has_id=True),
        "ServerRequestResults": f" {{{results(types.server_requests)}\n}}",
    }


def write_typescript(directory: Path, *, experimental: bool) -> None:
    """Write one file for each type and an index, in `directory` and its folder `v2`.

    `directory` is created. Raises OSError if it cannot be written.
    """
    types = Types(import_all(), experimental=experimental)
    from_client = types.reachable(types.sent_by_clients())
    from_server = types.reachable(types.sent_by_server())
    spelling = _TypeScript(frozenset(from_client), frozenset(from_server))
    declared: dict[str, tuple[str, str]] = {}
    for name in types.reachable([*from_client, *from_server, "RequestId"]):
        declared[name] = (_comment(types.description(name)), f" {spelling.spell(types.definition(name), name)}")
    messages = _message_types(types)
    declared |= {name: ("", text) for name, text in messages.items()}
    in_v2 = {name for name in declared if name not in _OUTSIDE_V2 and name not in messages}

    (directory / "v2").mkdir(parents=True, exist_ok=True)
    (directory / "serde_json").mkdir(exist_ok=True)
    (directory / "serde_json" / "JsonValue.ts").write_text(f"{_HEADER}\n{_JSON_VALUE}", "utf-8")
    for name, (comment, text) in declared.items():
        here = "v2" if name in in_v2 else "."
        imports: list[str] = []
        # Quoted text is a member's name or a value, never a type.
        for other in sorted(set(re.findall(r"\b[A-Z]\w+\b", re.sub(r'"[^"]*"', "", text)))):
            if other == "JsonValue":
                imports.append(_import(other, here, "serde_json"))
            elif other in declared and other != name:
                imports.append(_import(other, here, "v2" if other in in_v2 else "."))
        head = f"{_HEADER}\n{''.join(imports)}\n" if imports else f"{_HEADER}\n"
        (directory / here / f"{name}.ts").write_text(f"{head}{comment}export type {name} ={text};\n", "utf-8")
    for here, names in ((".", declared.keys() - in_v2), ("v2", in_v2)):
        lines = [f'export type {{ {name} }} from "./{name}";\n' for name in sorted(names)]
        last = 'export * as v2 from "./v2";\n' if here == "." else ""
        (directory / here / "index.ts").write_text(f"{_HEADER}\n{''.join(lines)}{last}", "utf-8")


def _import(name: str, here: str, there: str) -> str:
    if here == there:
        path = "."
    elif here == ".":
        path = f"./{there}"
    else:
        path = ".." if there == "." else f"../{there}"
    return f'import type {{ {name} }} from "{path}/{name}";\n'
