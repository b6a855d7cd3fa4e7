"""hooks"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification
from protocol.v2.permissions import LegacyAppPathString
from protocol.wire import AbsolutePath, UInt, Wire


class HooksListParams(Wire):
    cwds: list[str] = []
    thread_id: str | None = None


class HookErrorInfo(Wire):
    message: str
    path: str


HookEventName = Literal[
    "preModelRequest",
    "postModelRequest",
    "preToolUse",
    "permissionRequest",
    "postToolUse",
    "preCompact",
    "postCompact",
    "sessionStart",
    "sessionEnd",
    "userPromptSubmit",
    "subagentStart",
    "subagentStop",
    "stop",
    "interrupt",
]


HookSource = Literal[
    "system",
    "user",
    "project",
    "mdm",
    "sessionFlags",
    "plugin",
    "cloudRequirements",
    "cloudManagedConfig",
    "legacyManagedConfigFile",
    "legacyManagedConfigMdm",
    "unknown",
]


HookTrustStatus = Literal["managed", "untrusted", "trusted", "modified"]


class _HookMetadata(Wire):
    current_hash: str
    display_order: int
    enabled: bool
    event_name: HookEventName
    is_managed: bool
    key: str
    source: HookSource
    source_path: AbsolutePath
    timeout_sec: UInt
    trust_status: HookTrustStatus
    additional_context_limit: UInt | None = None
    environment_id: str | None = None
    matcher: str | None = None
    plugin_id: str | None = None
    status_message: str | None = None


class CommandHookMetadata(_HookMetadata):
    handler_type: Literal["command"] = "command"
    command: str
    is_async: Annotated[bool, Field(alias="async")] = False


class McpToolHookMetadata(_HookMetadata):
    handler_type: Literal["mcpTool"] = "mcpTool"
    server: str
    tool: str


class PromptHookMetadata(_HookMetadata):
    handler_type: Literal["prompt"] = "prompt"


class AgentHookMetadata(_HookMetadata):
    handler_type: Literal["agent"] = "agent"


HookMetadata = Annotated[
    CommandHookMetadata | McpToolHookMetadata | PromptHookMetadata | AgentHookMetadata,
    Field(discriminator="handler_type"),
]


class HooksListEntry(Wire):
    cwd: str
    errors: list[HookErrorInfo]
    hooks: list[HookMetadata]
    warnings: list[str]


class HooksListResponse(Wire):
    data: list[HooksListEntry]


HOOKS_LIST = ClientRequest("hooks/list", HooksListParams, HooksListResponse, access="read")


HookOutputEntryKind = Literal["warning", "stop", "feedback", "context", "error"]


class HookOutputEntry(Wire):
    kind: HookOutputEntryKind
    text: str


HookExecutionMode = Literal["sync", "async"]


HookHandlerType = Literal["command", "mcpTool", "prompt", "agent"]


HookScope = Literal["thread", "turn"]


HookRunStatus = Literal["running", "completed", "failed", "blocked", "stopped"]


class HookRunSummary(Wire):
    display_order: int
    entries: list[HookOutputEntry]
    event_name: HookEventName
    execution_mode: HookExecutionMode
    handler_type: HookHandlerType
    id: str
    scope: HookScope
    source_path: LegacyAppPathString
    started_at: int
    status: HookRunStatus
    completed_at: int | None = None
    duration_ms: int | None = None
    source: HookSource = "unknown"
    status_message: str | None = None


class HookStartedNotification(Wire):
    run: HookRunSummary
    thread_id: str
    turn_id: str | None = None


HOOK_STARTED = ServerNotification("hook/started", HookStartedNotification)


class HookCompletedNotification(Wire):
    run: HookRunSummary
    thread_id: str
    turn_id: str | None = None


HOOK_COMPLETED = ServerNotification("hook/completed", HookCompletedNotification)
