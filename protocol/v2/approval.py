"""What the server asks of clients about items: approvals, permissions, answers."""

from typing import Annotated, Literal

from protocol.methods import ServerRequest
from protocol.v2.item import CommandAction
from protocol.v2.permissions import (
    AdditionalPermissionProfile,
    GrantedPermissionProfile,
    LegacyAppPathString,
    NetworkApprovalContext,
    NetworkPolicyAmendment,
    PermissionGrantScope,
    RequestPermissionProfile,
)
from protocol.wire import Experimental, SnakeWire, UInt, Wire

CommandExecutionApprovalKind = Literal["command", "writeStdin", "humanCommand"]
"""What is to be approved: a command, input for a running one, or a command that the user typed."""


class ExecpolicyAmendmentDecision(SnakeWire):
    """The command prefix to allow from now on."""

    execpolicy_amendment: list[str]


class AcceptWithExecpolicyAmendmentCommandExecutionApprovalDecision(Wire, extra="forbid"):
    """Yes, and allow the prefix from now on."""

    accept_with_execpolicy_amendment: ExecpolicyAmendmentDecision


class NetworkPolicyAmendmentDecision(SnakeWire):
    """The network rule to keep."""

    network_policy_amendment: NetworkPolicyAmendment


class ApplyNetworkPolicyAmendmentCommandExecutionApprovalDecision(Wire, extra="forbid"):
    """Keep a rule for the host; its action is the answer."""

    apply_network_policy_amendment: NetworkPolicyAmendmentDecision


CommandExecutionApprovalDecision = (
    Literal["accept", "acceptForSession", "decline", "cancel"]
    | AcceptWithExecpolicyAmendmentCommandExecutionApprovalDecision
    | ApplyNetworkPolicyAmendmentCommandExecutionApprovalDecision
)
"""The answer about a command. `decline` lets the turn go on, `cancel` ends it."""


class CommandExecutionRequestApprovalParams(Wire):
    """May this command run?

    `approval_id` tells apart several questions about one item. With `network_approval_context` the question is about a
    host, not about the command. `started_at_ms` is in Unix milliseconds.
    """

    thread_id: str
    turn_id: str
    item_id: str
    started_at_ms: int
    additional_permissions: Annotated[
        AdditionalPermissionProfile | None, Experimental("item/commandExecution/requestApproval.additionalPermissions")
    ] = None
    approval_id: str | None = None
    available_decisions: Annotated[
        list[CommandExecutionApprovalDecision] | None,
        Experimental("item/commandExecution/requestApproval.availableDecisions"),
    ] = None
    command: str | None = None
    command_actions: list[CommandAction] | None = None
    cwd: LegacyAppPathString | None = None
    environment_id: str | None = None
    kind: CommandExecutionApprovalKind = "command"
    network_approval_context: NetworkApprovalContext | None = None
    proposed_execpolicy_amendment: list[str] | None = None
    proposed_network_policy_amendments: list[NetworkPolicyAmendment] | None = None
    reason: str | None = None


class CommandExecutionRequestApprovalResponse(Wire):
    """The user's answer."""

    decision: CommandExecutionApprovalDecision


ITEM_COMMAND_EXECUTION_REQUEST_APPROVAL = ServerRequest(
    "item/commandExecution/requestApproval",
    CommandExecutionRequestApprovalParams,
    CommandExecutionRequestApprovalResponse,
)

FileChangeApprovalDecision = Literal["accept", "acceptForSession", "decline", "cancel"]
"""The answer about a change of files. `decline` lets the turn go on, `cancel` ends it."""


class FileChangeRequestApprovalParams(Wire):
    """May these files be changed? `grant_root` is a folder to open for the rest of the session."""

    thread_id: str
    turn_id: str
    item_id: str
    started_at_ms: int
    grant_root: str | None = None
    reason: str | None = None


class FileChangeRequestApprovalResponse(Wire):
    """The user's answer."""

    decision: FileChangeApprovalDecision


ITEM_FILE_CHANGE_REQUEST_APPROVAL = ServerRequest(
    "item/fileChange/requestApproval", FileChangeRequestApprovalParams, FileChangeRequestApprovalResponse
)


class PermissionsRequestApprovalParams(Wire):
    """May the agent have these permissions?"""

    thread_id: str
    turn_id: str
    item_id: str
    cwd: LegacyAppPathString
    permissions: RequestPermissionProfile
    started_at_ms: int
    environment_id: str | None = None
    reason: str | None = None


class PermissionsRequestApprovalResponse(Wire):
    """What is granted, and for how long."""

    permissions: GrantedPermissionProfile
    scope: PermissionGrantScope = "turn"
    strict_auto_review: bool | None = None


ITEM_PERMISSIONS_REQUEST_APPROVAL = ServerRequest(
    "item/permissions/requestApproval", PermissionsRequestApprovalParams, PermissionsRequestApprovalResponse
)


class ToolRequestUserInputOption(Wire):
    """An answer to choose."""

    description: str
    label: str


class ToolRequestUserInputQuestion(Wire):
    """A question; `options` None asks for free text, `is_secret` for hidden typing."""

    id: str
    header: str
    question: str
    is_other: bool = False
    is_secret: bool = False
    options: list[ToolRequestUserInputOption] | None = None


class ToolRequestUserInputParams(Wire):
    """Questions of the agent. After `auto_resolution_ms` milliseconds it goes on without answers."""

    thread_id: str
    turn_id: str
    item_id: str
    is_blocking: bool
    questions: list[ToolRequestUserInputQuestion]
    auto_resolution_ms: UInt | None = None


class ToolRequestUserInputAnswer(Wire):
    """The chosen or typed answers to one question."""

    answers: list[str]


class ToolRequestUserInputResponse(Wire):
    """Answers by question id."""

    answers: dict[str, ToolRequestUserInputAnswer]


ITEM_TOOL_REQUEST_USER_INPUT = ServerRequest(
    "item/tool/requestUserInput", ToolRequestUserInputParams, ToolRequestUserInputResponse
)
