"""Threads and turns as many methods return them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.v2.item import ThreadItem
from protocol.v2.model import ReasoningEffort
from protocol.v2.permissions import LegacyAppPathString
from protocol.wire import AbsolutePath, Experimental, SeldomFilled, SnakeWire, UInt16, Wire

SortDirection = Literal["asc", "desc"]
"""Oldest first or newest first."""

ThreadId = str
"""A thread's id."""

AgentPath = str
"""An agent's place in the tree of agents."""


class ThreadSpawn(SnakeWire):
    """Where a spawned agent comes from; `depth` counts the agents above it."""

    depth: int
    parent_thread_id: ThreadId
    agent_nickname: str | None = None
    agent_path: AgentPath | None = None
    agent_role: str | None = None


class ThreadSpawnSubAgentSource(SnakeWire, extra="forbid"):
    """Spawned by another thread."""

    thread_spawn: ThreadSpawn


class OtherSubAgentSource(Wire, extra="forbid"):
    """A kind of sub-agent that has no name here."""

    other: str


SubAgentSource = Literal["review", "compact", "memory_consolidation"] | ThreadSpawnSubAgentSource | OtherSubAgentSource
"""What started a sub-agent."""


class CustomSessionSource(Wire, extra="forbid"):
    """A client that names itself."""

    custom: str


class SubAgentSessionSource(Wire, extra="forbid"):
    """A sub-agent."""

    sub_agent: SubAgentSource


SessionSource = Literal["cli", "vscode", "exec", "appServer", "unknown"] | CustomSessionSource | SubAgentSessionSource
"""The kind of client that started a thread."""

ThreadSource = str
"""What a thread was started for, in the client's words."""


class GitInfo(Wire):
    """The repository at the thread's start."""

    branch: str | None = None
    origin_url: str | None = None
    sha: str | None = None


class ThreadSectionAppearance(Wire):
    """How a section looks."""

    color: str | None = None
    icon: str | None = None


class ThreadSection(Wire):
    """A group that the user sorts threads into."""

    id: str
    name: str
    appearance: ThreadSectionAppearance | None = None


class ThreadEnvironment(Wire):
    """A place where a thread's commands run."""

    cwd: LegacyAppPathString
    environment_id: str
    runtime_workspace_roots: list[LegacyAppPathString]


class ThreadExtra(Wire):
    """Room for members that are not settled yet."""


ThreadHistoryMode = Literal["legacy", "paginated"]
"""How a thread's history is kept."""

ThreadActiveFlag = Literal["waitingOnApproval", "waitingOnUserInput"]
"""What a running thread waits for."""


class NotLoadedThreadStatus(Wire):
    """On disk only."""

    type: Literal["notLoaded"] = "notLoaded"


class IdleThreadStatus(Wire):
    """Loaded, no turn running."""

    type: Literal["idle"] = "idle"


class SystemErrorThreadStatus(Wire):
    """Loaded and broken; a new turn tries again."""

    type: Literal["systemError"] = "systemError"


class ActiveThreadStatus(Wire):
    """A turn is running."""

    type: Literal["active"] = "active"
    active_flags: list[ThreadActiveFlag]


ThreadStatus = Annotated[
    NotLoadedThreadStatus | IdleThreadStatus | SystemErrorThreadStatus | ActiveThreadStatus, Field(discriminator="type")
]
"""What a thread is doing."""

NonSteerableTurnKind = Literal["review", "compact"]
"""A turn that takes no further input."""


class HttpFailure(Wire):
    """The HTTP status, if there was an answer."""

    http_status_code: UInt16 | None = None


class HttpConnectionFailedCodexErrorInfo(Wire, extra="forbid"):
    """The model's server could not be reached or refused."""

    http_connection_failed: HttpFailure


class ResponseStreamConnectionFailedCodexErrorInfo(Wire, extra="forbid"):
    """The stream could not be opened."""

    response_stream_connection_failed: HttpFailure


class ResponseStreamDisconnectedCodexErrorInfo(Wire, extra="forbid"):
    """The stream broke off."""

    response_stream_disconnected: HttpFailure


class ResponseTooManyFailedAttemptsCodexErrorInfo(Wire, extra="forbid"):
    """All retries were used up."""

    response_too_many_failed_attempts: HttpFailure


class NonSteerableTurn(Wire):
    """The kind of turn that is running."""

    turn_kind: NonSteerableTurnKind


class ActiveTurnNotSteerableCodexErrorInfo(Wire, extra="forbid"):
    """The running turn takes no input."""

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
"""What went wrong, for programs. Values that this version does not know are kept as they came."""


class MisalignmentSteer(Wire):
    """What the agent is told to do instead."""

    message: str


class MisalignmentErrorDetails(Wire):
    """Why a reviewer stopped the turn."""

    detailed_explanation: str | None = None
    error_type: str | None = None
    review_target: str | None = None
    steer: MisalignmentSteer | None = None


class TurnError(Wire):
    """Why a turn failed; `message` is for the user."""

    message: str
    additional_details: str | None = None
    codex_error_info: CodexErrorInfo | None = None
    misalignment: MisalignmentErrorDetails | None = None


TurnStatus = Literal["completed", "interrupted", "failed", "inProgress"]
"""How a turn stands."""

TurnItemsView = Literal["notLoaded", "summary", "full"]
"""How much of a turn's items is included."""


class Turn(Wire):
    """One exchange: from the user's message to the agent's last word.

    `started_at` and `completed_at` are in Unix seconds, `duration_ms` in milliseconds.
    """

    id: str
    items: SeldomFilled[ThreadItem]
    status: TurnStatus
    completed_at: int | None = None
    duration_ms: int | None = None
    error: TurnError | None = None
    items_view: TurnItemsView = "full"
    root_turn_id: str | None = None
    started_at: int | None = None


class Thread(Wire):
    """A conversation. Its times are in Unix seconds; `turns` is empty unless a method says that it fills it."""

    id: str
    cli_version: str
    created_at: int
    cwd: AbsolutePath
    ephemeral: bool
    model_provider: str
    preview: str
    project_id: str | None
    session_id: str
    source: SessionSource
    status: ThreadStatus
    turns: SeldomFilled[Turn]
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
    """Turns with the cursors of the pages on both sides."""

    data: list[Turn]
    backwards_cursor: str | None = None
    next_cursor: str | None = None


class TokenUsageBreakdown(Wire):
    """Token counts; cached and reasoning tokens are part of input and output."""

    cached_input_tokens: int
    input_tokens: int
    output_tokens: int
    reasoning_output_tokens: int
    total_tokens: int
    cache_write_input_tokens: int = 0


class ThreadTokenUsage(Wire):
    """The thread's total and its last request; `model_context_window` is in tokens."""

    last: TokenUsageBreakdown
    total: TokenUsageBreakdown
    model_context_window: int | None = None


class ThreadStartThreadUnreadPosition(Wire):
    """Nothing has been read."""

    type: Literal["threadStart"] = "threadStart"


class TurnThreadUnreadPosition(Wire):
    """The first unread turn."""

    type: Literal["turn"] = "turn"
    turn_id: str


ThreadUnreadPosition = Annotated[
    ThreadStartThreadUnreadPosition | TurnThreadUnreadPosition, Field(discriminator="type")
]
"""Where unread content begins."""


class ThreadReadState(Wire):
    """What the user has read; `revision` changes with it."""

    revision: str
    first_unread: ThreadUnreadPosition | None = None
