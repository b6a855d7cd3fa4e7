"""v2.approval"""

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


class ExecpolicyAmendmentDecision(SnakeWire):
    execpolicy_amendment: list[str]


class AcceptWithExecpolicyAmendmentCommandExecutionApprovalDecision(Wire, extra="forbid"):
    accept_with_execpolicy_amendment: ExecpolicyAmendmentDecision


class NetworkPolicyAmendmentDecision(SnakeWire):
    network_policy_amendment: NetworkPolicyAmendment


class ApplyNetworkPolicyAmendmentCommandExecutionApprovalDecision(Wire, extra="forbid"):
    apply_network_policy_amendment: NetworkPolicyAmendmentDecision


CommandExecutionApprovalDecision = (
    Literal["accept", "acceptForSession", "decline", "cancel"]
    | AcceptWithExecpolicyAmendmentCommandExecutionApprovalDecision
    | ApplyNetworkPolicyAmendmentCommandExecutionApprovalDecision
)


class CommandExecutionRequestApprovalParams(Wire):
    item_id: str
    started_at_ms: int
    thread_id: str
    turn_id: str
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
    decision: CommandExecutionApprovalDecision


ITEM_COMMAND_EXECUTION_REQUEST_APPROVAL = ServerRequest(
    "item/commandExecution/requestApproval",
    CommandExecutionRequestApprovalParams,
    CommandExecutionRequestApprovalResponse,
)

FileChangeApprovalDecision = Literal["accept", "acceptForSession", "decline", "cancel"]


class FileChangeRequestApprovalParams(Wire):
    item_id: str
    started_at_ms: int
    thread_id: str
    turn_id: str
    grant_root: str | None = None
    reason: str | None = None


class FileChangeRequestApprovalResponse(Wire):
    decision: FileChangeApprovalDecision


ITEM_FILE_CHANGE_REQUEST_APPROVAL = ServerRequest(
    "item/fileChange/requestApproval", FileChangeRequestApprovalParams, FileChangeRequestApprovalResponse
)


class PermissionsRequestApprovalParams(Wire):
    cwd: LegacyAppPathString
    item_id: str
    permissions: RequestPermissionProfile
    started_at_ms: int
    thread_id: str
    turn_id: str
    environment_id: str | None = None
    reason: str | None = None


class PermissionsRequestApprovalResponse(Wire):
    permissions: GrantedPermissionProfile
    scope: PermissionGrantScope = "turn"
    strict_auto_review: bool | None = None


ITEM_PERMISSIONS_REQUEST_APPROVAL = ServerRequest(
    "item/permissions/requestApproval", PermissionsRequestApprovalParams, PermissionsRequestApprovalResponse
)


class ToolRequestUserInputOption(Wire):
    description: str
    label: str


class ToolRequestUserInputQuestion(Wire):
    header: str
    id: str
    question: str
    is_other: bool = False
    is_secret: bool = False
    options: list[ToolRequestUserInputOption] | None = None


class ToolRequestUserInputParams(Wire):
    is_blocking: bool
    item_id: str
    questions: list[ToolRequestUserInputQuestion]
    thread_id: str
    turn_id: str
    auto_resolution_ms: UInt | None = None


class ToolRequestUserInputAnswer(Wire):
    answers: list[str]


class ToolRequestUserInputResponse(Wire):
    answers: dict[str, ToolRequestUserInputAnswer]


ITEM_TOOL_REQUEST_USER_INPUT = ServerRequest(
    "item/tool/requestUserInput", ToolRequestUserInputParams, ToolRequestUserInputResponse
)
