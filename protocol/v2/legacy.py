"""legacy"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ServerNotification, ServerRequest
from protocol.v2.approval import NetworkPolicyAmendment
from protocol.v2.thread_data import ThreadId
from protocol.wire import SnakeWire, Wire


class AddFileChange(Wire):
    type: Literal["add"] = "add"
    content: str


class DeleteFileChange(Wire):
    type: Literal["delete"] = "delete"
    content: str


class UpdateFileChange(SnakeWire):
    type: Literal["update"] = "update"
    unified_diff: str
    move_path: str | None = None


FileChange = Annotated[AddFileChange | DeleteFileChange | UpdateFileChange, Field(discriminator="type")]


class ApplyPatchApprovalParams(Wire):
    call_id: str
    conversation_id: ThreadId
    file_changes: dict[str, FileChange]
    grant_root: str | None = None
    reason: str | None = None


class ApprovedExecpolicyAmendment(SnakeWire):
    proposed_execpolicy_amendment: list[str]


class DecidedNetworkPolicyAmendment(SnakeWire):
    network_policy_amendment: NetworkPolicyAmendment


class Denial(Wire):
    rejection: str


class ApprovedExecpolicyAmendmentReviewDecision(SnakeWire, extra="forbid"):
    approved_execpolicy_amendment: ApprovedExecpolicyAmendment


class NetworkPolicyAmendmentReviewDecision(SnakeWire, extra="forbid"):
    network_policy_amendment: DecidedNetworkPolicyAmendment


class DeniedReviewDecision(Wire, extra="forbid"):
    denied: Denial


ReviewDecision = (
    Literal["approved"]
    | ApprovedExecpolicyAmendmentReviewDecision
    | Literal["approved_for_session"]
    | Literal["approved_mcp_policy_amendment"]
    | NetworkPolicyAmendmentReviewDecision
    | DeniedReviewDecision
    | Literal["timed_out"]
    | Literal["abort"]
)


class ApplyPatchApprovalResponse(Wire):
    decision: ReviewDecision


APPLY_PATCH_APPROVAL = ServerRequest("applyPatchApproval", ApplyPatchApprovalParams, ApplyPatchApprovalResponse)


class ReadParsedCommand(Wire):
    type: Literal["read"] = "read"
    cmd: str
    name: str
    path: str


class ListFilesParsedCommand(Wire):
    type: Literal["list_files"] = "list_files"
    cmd: str
    path: str | None = None


class SearchParsedCommand(Wire):
    type: Literal["search"] = "search"
    cmd: str
    path: str | None = None
    query: str | None = None


class UnknownParsedCommand(Wire):
    type: Literal["unknown"] = "unknown"
    cmd: str


ParsedCommand = Annotated[
    ReadParsedCommand | ListFilesParsedCommand | SearchParsedCommand | UnknownParsedCommand, Field(discriminator="type")
]


class ExecCommandApprovalParams(Wire):
    call_id: str
    command: list[str]
    conversation_id: ThreadId
    cwd: str
    parsed_cmd: list[ParsedCommand]
    approval_id: str | None = None
    reason: str | None = None


class ExecCommandApprovalResponse(Wire):
    decision: ReviewDecision


EXEC_COMMAND_APPROVAL = ServerRequest("execCommandApproval", ExecCommandApprovalParams, ExecCommandApprovalResponse)


class FileChangeOutputDeltaNotification(Wire):
    delta: str
    item_id: str
    thread_id: str
    turn_id: str


ITEM_FILE_CHANGE_OUTPUT_DELTA = ServerNotification("item/fileChange/outputDelta", FileChangeOutputDeltaNotification)
