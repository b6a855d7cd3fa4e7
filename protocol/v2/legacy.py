"""Requests and news of earlier clients, which this server does not send: newer ones have taken their places."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ServerNotification, ServerRequest
from protocol.v2.approval import NetworkPolicyAmendment
from protocol.v2.thread_data import ThreadId
from protocol.wire import SnakeWire, Wire


class AddFileChange(Wire):
    """A new file with this content."""

    type: Literal["add"] = "add"
    content: str


class DeleteFileChange(Wire):
    """The file goes; this was its content."""

    type: Literal["delete"] = "delete"
    content: str


class UpdateFileChange(SnakeWire):
    """The file changes as the diff says, and moves to `move_path` if that is not None."""

    type: Literal["update"] = "update"
    unified_diff: str
    move_path: str | None = None


FileChange = Annotated[AddFileChange | DeleteFileChange | UpdateFileChange, Field(discriminator="type")]
"""What becomes of one file."""


class ApplyPatchApprovalParams(Wire):
    """May these files be changed? `grant_root` is a folder that is to be writable from then on."""

    call_id: str
    conversation_id: ThreadId
    file_changes: dict[str, FileChange]
    grant_root: str | None = None
    reason: str | None = None


class ApprovedExecpolicyAmendment(SnakeWire):
    """The words that a rule for later commands begins with."""

    proposed_execpolicy_amendment: list[str]


class DecidedNetworkPolicyAmendment(SnakeWire):
    """The rule about a host that the user has chosen."""

    network_policy_amendment: NetworkPolicyAmendment


class Denial(Wire):
    """Why not."""

    rejection: str


class ApprovedExecpolicyAmendmentReviewDecision(SnakeWire, extra="forbid"):
    """Yes, and so from now on for commands that begin alike."""

    approved_execpolicy_amendment: ApprovedExecpolicyAmendment


class NetworkPolicyAmendmentReviewDecision(SnakeWire, extra="forbid"):
    """A rule for the host, which may be yes or no."""

    network_policy_amendment: DecidedNetworkPolicyAmendment


class DeniedReviewDecision(Wire, extra="forbid"):
    """No, with what the model is told."""

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
"""What the user answers: a word for yes, yes for the session, no time left or stop the turn; or an object that says
more.
"""


class ApplyPatchApprovalResponse(Wire):
    """What the user says to the changes."""

    decision: ReviewDecision


APPLY_PATCH_APPROVAL = ServerRequest("applyPatchApproval", ApplyPatchApprovalParams, ApplyPatchApprovalResponse)


class ReadParsedCommand(Wire):
    """The command reads a file."""

    type: Literal["read"] = "read"
    cmd: str
    name: str
    path: str


class ListFilesParsedCommand(Wire):
    """The command lists files."""

    type: Literal["list_files"] = "list_files"
    cmd: str
    path: str | None = None


class SearchParsedCommand(Wire):
    """The command searches."""

    type: Literal["search"] = "search"
    cmd: str
    path: str | None = None
    query: str | None = None


class UnknownParsedCommand(Wire):
    """A command of no known kind."""

    type: Literal["unknown"] = "unknown"
    cmd: str


ParsedCommand = Annotated[
    ReadParsedCommand | ListFilesParsedCommand | SearchParsedCommand | UnknownParsedCommand, Field(discriminator="type")
]
"""What one of the commands in a line seems to do."""


class ExecCommandApprovalParams(Wire):
    """May this command run? `parsed_cmd` is what it seems to do."""

    call_id: str
    command: list[str]
    conversation_id: ThreadId
    cwd: str
    parsed_cmd: list[ParsedCommand]
    approval_id: str | None = None
    reason: str | None = None


class ExecCommandApprovalResponse(Wire):
    """What the user says to the command."""

    decision: ReviewDecision


EXEC_COMMAND_APPROVAL = ServerRequest("execCommandApproval", ExecCommandApprovalParams, ExecCommandApprovalResponse)


class FileChangeOutputDeltaNotification(Wire):
    """More of what applying a patch prints."""

    delta: str
    item_id: str
    thread_id: str
    turn_id: str


ITEM_FILE_CHANGE_OUTPUT_DELTA = ServerNotification("item/fileChange/outputDelta", FileChangeOutputDeltaNotification)
