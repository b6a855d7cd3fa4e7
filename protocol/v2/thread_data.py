"""v2.thread_data"""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.v2.item import ThreadItem
from protocol.v2.model import ReasoningEffort
from protocol.v2.permissions import LegacyAppPathString
from protocol.wire import AbsolutePath, Experimental, SnakeWire, UInt16, Wire

ThreadId = str

AgentPath = str


class ThreadSpawn(SnakeWire):
    depth: int
    parent_thread_id: ThreadId
    agent_nickname: str | None = None
    agent_path: AgentPath | None = None
    agent_role: str | None = None


class ThreadSpawnSubAgentSource(SnakeWire, extra="forbid"):
    thread_spawn: ThreadSpawn


class OtherSubAgentSource(Wire, extra="forbid"):
    other: str


SubAgentSource = Literal["review", "compact", "memory_consolidation"] | ThreadSpawnSubAgentSource | OtherSubAgentSource


class CustomSessionSource(Wire, extra="forbid"):
    custom: str


class SubAgentSessionSource(Wire, extra="forbid"):
    sub_agent: SubAgentSource


SessionSource = Literal["cli", "vscode", "exec", "appServer", "unknown"] | CustomSessionSource | SubAgentSessionSource

ThreadSource = str


class GitInfo(Wire):
    branch: str | None = None
    origin_url: str | None = None
    sha: str | None = None


class ThreadSectionAppearance(Wire):
    color: str | None = None
    icon: str | None = None


class ThreadSection(Wire):
    id: str
    name: str
    appearance: ThreadSectionAppearance | None = None


class ThreadEnvironment(Wire):
    cwd: LegacyAppPathString
    environment_id: str
    runtime_workspace_roots: list[LegacyAppPathString]


class ThreadExtra(Wire):
    pass


ThreadHistoryMode = Literal["legacy", "paginated"]

ThreadActiveFlag = Literal["waitingOnApproval", "waitingOnUserInput"]


class NotLoadedThreadStatus(Wire):
    type: Literal["notLoaded"] = "notLoaded"


class IdleThreadStatus(Wire):
    type: Literal["idle"] = "idle"


class SystemErrorThreadStatus(Wire):
    type: Literal["systemError"] = "systemError"


class ActiveThreadStatus(Wire):
    type: Literal["active"] = "active"
    active_flags: list[ThreadActiveFlag]


ThreadStatus = Annotated[
    NotLoadedThreadStatus | IdleThreadStatus | SystemErrorThreadStatus | ActiveThreadStatus, Field(discriminator="type")
]

NonSteerableTurnKind = Literal["review", "compact"]


class HttpFailure(Wire):
    http_status_code: UInt16 | None = None


class HttpConnectionFailedCodexErrorInfo(Wire, extra="forbid"):
    http_connection_failed: HttpFailure


class ResponseStreamConnectionFailedCodexErrorInfo(Wire, extra="forbid"):
    response_stream_connection_failed: HttpFailure


class ResponseStreamDisconnectedCodexErrorInfo(Wire, extra="forbid"):
    response_stream_disconnected: HttpFailure


class ResponseTooManyFailedAttemptsCodexErrorInfo(Wire, extra="forbid"):
    response_too_many_failed_attempts: HttpFailure


class NonSteerableTurn(Wire):
    turn_kind: NonSteerableTurnKind


class ActiveTurnNotSteerableCodexErrorInfo(Wire, extra="forbid"):
    active_turn_not_steerable: NonSteerableTurn


CodexErrorInfo = (
    Literal[
        "contextWindowExceeded",
        "sessionBudgetExceeded",
        "usageLimitExceeded",
        "rateLimitExceeded",
        "flexUnavailable",
        "serverOverloaded",
        "modelNotFound",
        "policyCapacityUnavailable",
        "cyberPolicy",
        "misalignmentPolicyViolation",
        "tooManyDenials",
        "internalServerError",
        "unauthorized",
        "badRequest",
        "threadRollbackFailed",
        "sandboxError",
        "other",
        "inferenceHookDenied",
    ]
    | HttpConnectionFailedCodexErrorInfo
    | ResponseStreamConnectionFailedCodexErrorInfo
    | ResponseStreamDisconnectedCodexErrorInfo
    | ResponseTooManyFailedAttemptsCodexErrorInfo
    | ActiveTurnNotSteerableCodexErrorInfo
    | str
    | dict[str, Any]
)


class MisalignmentSteer(Wire):
    message: str


class MisalignmentErrorDetails(Wire):
    detailed_explanation: str | None = None
    error_type: str | None = None
    review_target: str | None = None
    steer: MisalignmentSteer | None = None


class TurnError(Wire):
    message: str
    additional_details: str | None = None
    codex_error_info: CodexErrorInfo | None = None
    misalignment: MisalignmentErrorDetails | None = None


TurnStatus = Literal["completed", "interrupted", "failed", "inProgress"]

TurnItemsView = Literal["notLoaded", "summary", "full"]


class Turn(Wire):
    id: str
    items: list[ThreadItem]
    status: TurnStatus
    completed_at: int | None = None
    duration_ms: int | None = None
    error: TurnError | None = None
    items_view: TurnItemsView = "full"
    root_turn_id: str | None = None
    started_at: int | None = None


class Thread(Wire):
    cli_version: str
    created_at: int
    cwd: AbsolutePath
    ephemeral: bool
    id: str
    model_provider: str
    preview: str
    project_id: str | None
    session_id: str
    source: SessionSource
    status: ThreadStatus
    turns: list[Turn]
    updated_at: int
    agent_nickname: str | None = None
    agent_role: str | None = None
    attached_to_thread_id: Annotated[str | None, Experimental("Thread.attachedToThreadId")] = None
    can_accept_direct_input: Annotated[bool | None, Experimental("Thread.canAcceptDirectInput")] = None
    daybreak_enabled: Annotated[bool | None, Experimental("Thread.daybreakEnabled")] = None
    environments: Annotated[list[ThreadEnvironment] | None, Experimental("Thread.environments")] = None
    extra: Annotated[ThreadExtra | None, Experimental("Thread.extra")] = None
    forked_from_id: str | None = None
    git_info: GitInfo | None = None
    history_mode: ThreadHistoryMode = "legacy"
    model: str | None = None
    name: str | None = None
    originator: str | None = None
    parent_thread_id: str | None = None
    path: str | None = None
    reasoning_effort: ReasoningEffort | None = None
    recency_at: int | None = None
    section: ThreadSection | None = None
    section_entered_at: int | None = None
    thread_source: ThreadSource | None = None


class TurnsPage(Wire):
    data: list[Turn]
    backwards_cursor: str | None = None
    next_cursor: str | None = None


class TokenUsageBreakdown(Wire):
    cached_input_tokens: int
    input_tokens: int
    output_tokens: int
    reasoning_output_tokens: int
    total_tokens: int
    cache_write_input_tokens: int = 0


class ThreadTokenUsage(Wire):
    last: TokenUsageBreakdown
    total: TokenUsageBreakdown
    model_context_window: int | None = None


class ThreadStartThreadUnreadPosition(Wire):
    type: Literal["threadStart"] = "threadStart"


class TurnThreadUnreadPosition(Wire):
    type: Literal["turn"] = "turn"
    turn_id: str


ThreadUnreadPosition = Annotated[
    ThreadStartThreadUnreadPosition | TurnThreadUnreadPosition, Field(discriminator="type")
]


class ThreadReadState(Wire):
    revision: str
    first_unread: ThreadUnreadPosition | None = None
