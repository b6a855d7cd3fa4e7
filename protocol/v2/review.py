"""Reviews of code, and reviews of actions by a model in the place of the user."""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification, by_thread
from protocol.v2.permissions import LegacyAppPathString, NetworkApprovalProtocol, RequestPermissionProfile
from protocol.v2.thread_data import Turn
from protocol.wire import AbsolutePath, UInt16, Wire

ReviewDelivery = Literal["inline"]
"""Where a review takes place: in the thread itself."""


class UncommittedChangesReviewTarget(Wire):
    """What is not committed yet, new files included."""

    type: Literal["uncommittedChanges"] = "uncommittedChanges"


class BaseBranchReviewTarget(Wire):
    """What the working tree changes against a branch."""

    type: Literal["baseBranch"] = "baseBranch"
    branch: str


class CommitReviewTarget(Wire):
    """What one commit changes; `title` is for display."""

    type: Literal["commit"] = "commit"
    sha: str
    title: str | None = None


class CustomReviewTarget(Wire):
    """Whatever the instructions say."""

    type: Literal["custom"] = "custom"
    instructions: str


ReviewTarget = Annotated[
    UncommittedChangesReviewTarget | BaseBranchReviewTarget | CommitReviewTarget | CustomReviewTarget,
    Field(discriminator="type"),
]
"""What is reviewed."""


class ReviewStartParams(Wire):
    """Start a review."""

    thread_id: str
    target: ReviewTarget
    delivery: ReviewDelivery | None = None


class ReviewStartResponse(Wire):
    """The review's turn and the thread that it runs in."""

    review_thread_id: str
    turn: Turn


REVIEW_START = ClientRequest(
    "review/start", ReviewStartParams, ReviewStartResponse, order=by_thread, access="act", availability="later"
)


GuardianApprovalReviewStatus = Literal["inProgress", "approved", "denied", "timedOut", "aborted"]
"""How a review of an action stands, or how it ended. A review that failed is a denial without a risk level."""

GuardianRiskLevel = Literal["low", "medium", "high", "critical"]
"""How much harm an action could do."""

GuardianUserAuthorization = Literal["unknown", "low", "medium", "high"]
"""How clearly the user has asked for an action."""

GuardianCommandSource = Literal["shell", "unifiedExec"]
"""Which tool wants to run a command."""

AutoReviewDecisionSource = Literal["agent"]
"""Who decided: the reviewing model."""


class GuardianApprovalReview(Wire):
    """What a review came to so far."""

    status: GuardianApprovalReviewStatus
    risk_level: GuardianRiskLevel | None = None
    user_authorization: GuardianUserAuthorization | None = None
    rationale: str | None = None


class CommandGuardianApprovalReviewAction(Wire):
    """A command line."""

    type: Literal["command"] = "command"
    source: GuardianCommandSource
    command: str
    cwd: LegacyAppPathString


class ExecveGuardianApprovalReviewAction(Wire):
    """A program that a running command wants to start."""

    type: Literal["execve"] = "execve"
    source: GuardianCommandSource
    program: str
    argv: list[str]
    cwd: AbsolutePath


class WriteStdinGuardianApprovalReviewAction(Wire):
    """Input for a command that runs."""

    type: Literal["writeStdin"] = "writeStdin"
    approval_id: str
    process_id: str
    stdin: str
    cwd: LegacyAppPathString


class ApplyPatchGuardianApprovalReviewAction(Wire):
    """A patch."""

    type: Literal["applyPatch"] = "applyPatch"
    cwd: LegacyAppPathString
    files: list[LegacyAppPathString]


class NetworkAccessGuardianApprovalReviewAction(Wire):
    """A connection that a command wants to make."""

    type: Literal["networkAccess"] = "networkAccess"
    target: str
    host: str
    protocol: NetworkApprovalProtocol
    port: UInt16


class McpToolCallGuardianApprovalReviewAction(Wire):
    """A call of a tool of an MCP server."""

    type: Literal["mcpToolCall"] = "mcpToolCall"
    server: str
    tool_name: str
    connector_id: str | None = None
    connector_name: str | None = None
    tool_title: str | None = None


class RequestPermissionsGuardianApprovalReviewAction(Wire):
    """A request for more permissions."""

    type: Literal["requestPermissions"] = "requestPermissions"
    reason: str | None = None
    permissions: RequestPermissionProfile


GuardianApprovalReviewAction = Annotated[
    CommandGuardianApprovalReviewAction
    | ExecveGuardianApprovalReviewAction
    | WriteStdinGuardianApprovalReviewAction
    | ApplyPatchGuardianApprovalReviewAction
    | NetworkAccessGuardianApprovalReviewAction
    | McpToolCallGuardianApprovalReviewAction
    | RequestPermissionsGuardianApprovalReviewAction,
    Field(discriminator="type"),
]
"""What is reviewed before it happens."""


class ItemGuardianApprovalReviewStartedNotification(Wire):
    """A model begins to review an action. `target_item_id` is the item that the action belongs to, if it has one."""

    thread_id: str
    turn_id: str
    started_at_ms: int
    review_id: str
    target_item_id: str | None = None
    review: GuardianApprovalReview
    action: GuardianApprovalReviewAction


class ItemGuardianApprovalReviewCompletedNotification(Wire):
    """A review of an action has ended."""

    thread_id: str
    turn_id: str
    started_at_ms: int
    completed_at_ms: int
    review_id: str
    target_item_id: str | None = None
    decision_source: AutoReviewDecisionSource
    review: GuardianApprovalReview
    action: GuardianApprovalReviewAction


ITEM_AUTO_APPROVAL_REVIEW_STARTED = ServerNotification(
    "item/autoApprovalReview/started", ItemGuardianApprovalReviewStartedNotification
)
ITEM_AUTO_APPROVAL_REVIEW_COMPLETED = ServerNotification(
    "item/autoApprovalReview/completed", ItemGuardianApprovalReviewCompletedNotification
)


class StrictReviewRequiredNotification(Wire):
    """From now on every action of the turn is reviewed, also those that need no approval."""

    thread_id: str
    turn_id: str
    started_at_ms: int


AUTO_APPROVAL_REVIEW_STRICT_REVIEW_REQUIRED = ServerNotification(
    "autoApprovalReview/strictReviewRequired", StrictReviewRequiredNotification
)


class GuardianWarningNotification(Wire):
    """What a review came to, in a sentence for the user."""

    thread_id: str
    message: str


GUARDIAN_WARNING = ServerNotification("guardianWarning", GuardianWarningNotification)


class ThreadApproveGuardianDeniedActionParams(Wire):
    """The user allows what a review has denied. `event` is the review as an object with snake_case members: `id`,
    `status` ("denied"), `action` and what else the notification about it said."""

    thread_id: str
    event: Any


class ThreadApproveGuardianDeniedActionResponse(Wire):
    """The approval is noted for the model and for the next review."""


THREAD_APPROVE_GUARDIAN_DENIED_ACTION = ClientRequest(
    "thread/approveGuardianDeniedAction",
    ThreadApproveGuardianDeniedActionParams,
    ThreadApproveGuardianDeniedActionResponse,
    order=by_thread,
    access="act",
)


class ThreadGuardianReviewParams(Wire):
    """Have the call reviewed that the model's history ends with. No turn may run."""

    thread_id: str


GuardianAssessmentOutcome = Literal["allow", "deny"]
"""Whether the action may happen."""


class ThreadGuardianAssessment(Wire):
    """What the reviewing model thinks of an action, and why."""

    outcome: GuardianAssessmentOutcome
    rationale: str
    risk_level: GuardianRiskLevel
    user_authorization: GuardianUserAuthorization


class ThreadGuardianReviewResponse(Wire):
    """The call, and the verdict; None where a user and no model decides, and where the model came to none."""

    call_id: str
    assessment: ThreadGuardianAssessment | None = None


THREAD_GUARDIAN_REVIEW = ClientRequest(
    "thread/guardianReview",
    ThreadGuardianReviewParams,
    ThreadGuardianReviewResponse,
    experimental="thread/guardianReview",
    access="act",
)
