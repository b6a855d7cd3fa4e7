"""hooks/list, and news of hooks that run: commands and tools that are called at events of a turn."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification
from protocol.v2.permissions import LegacyAppPathString
from protocol.wire import AbsolutePath, UInt, Wire


class HooksListParams(Wire):
    """The folders to list hooks for, or the thread whose folder is meant; not both."""

    cwds: list[str] = []
    thread_id: str | None = None


class HookErrorInfo(Wire):
    """Why the hooks in a file do not count."""

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
"""When a hook is called."""


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
"""Which layer of the configuration a hook comes from."""


HookTrustStatus = Literal["managed", "untrusted", "trusted", "modified"]
"""Whether a hook may run: one of the organisation's, one that nobody has trusted yet, a trusted one, or one that was
changed after it was trusted."""


class _HookMetadata(Wire):
    """What is known of every hook. `key` is the name under which its state is kept in `hooks.state`, and `current_hash`
    what has to stand there as `trusted_hash`; `display_order` counts over all hooks of a folder. A `matcher` of null
    fits everything. `additional_context_limit` is how much text a hook may give the model, in tokens; null is the
    default.
    """

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
    """A hook that runs a command; with `is_async` nothing waits for it."""

    handler_type: Literal["command"] = "command"
    command: str
    is_async: Annotated[bool, Field(alias="async")] = False


class McpToolHookMetadata(_HookMetadata):
    """A hook that calls a tool of an MCP server."""

    handler_type: Literal["mcpTool"] = "mcpTool"
    server: str
    tool: str


class PromptHookMetadata(_HookMetadata):
    """A hook that asks a model."""

    handler_type: Literal["prompt"] = "prompt"


class AgentHookMetadata(_HookMetadata):
    """A hook that starts an agent."""

    handler_type: Literal["agent"] = "agent"


HookMetadata = Annotated[
    CommandHookMetadata | McpToolHookMetadata | PromptHookMetadata | AgentHookMetadata,
    Field(discriminator="handler_type"),
]
"""One configured hook."""


class HooksListEntry(Wire):
    """The hooks that hold in one folder, in the order in which they are called, and what is wrong."""

    cwd: str
    errors: list[HookErrorInfo]
    hooks: list[HookMetadata]
    warnings: list[str]


class HooksListResponse(Wire):
    """One entry per folder, in the order asked for."""

    data: list[HooksListEntry]


HOOKS_LIST = ClientRequest("hooks/list", HooksListParams, HooksListResponse, access="read")


HookOutputEntryKind = Literal["warning", "stop", "feedback", "context", "error"]
"""What a hook said: a warning, a wish to stop, a word to the model, context for it, or an error."""


class HookOutputEntry(Wire):
    """A piece of what a hook said."""

    kind: HookOutputEntryKind
    text: str


HookExecutionMode = Literal["sync", "async"]
"""Whether something waits for the hook."""


HookHandlerType = Literal["command", "mcpTool", "prompt", "agent"]
"""What a hook does."""


HookScope = Literal["thread", "turn"]
"""Whether a hook was called for the thread or for a turn of it."""


HookRunStatus = Literal["running", "completed", "failed", "blocked", "stopped"]
"""How far a run has come; `blocked` stopped the action, `stopped` the turn."""


class HookRunSummary(Wire):
    """One run of a hook. Times are milliseconds since 1970; those of the end are null while it runs."""

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
    """A hook was called; `turn_id` is null for one of the thread."""

    run: HookRunSummary
    thread_id: str
    turn_id: str | None = None


HOOK_STARTED = ServerNotification("hook/started", HookStartedNotification)


class HookCompletedNotification(Wire):
    """A hook has ended."""

    run: HookRunSummary
    thread_id: str
    turn_id: str | None = None


HOOK_COMPLETED = ServerNotification("hook/completed", HookCompletedNotification)
