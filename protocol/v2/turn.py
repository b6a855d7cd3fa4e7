"""Turns: start, steer, interrupt, and how they go."""

from typing import Annotated, Any, Literal

from protocol.methods import ClientRequest, ServerNotification, by_thread
from protocol.v2.function_output import FunctionCallOutputBody
from protocol.v2.item import FileUpdateChange
from protocol.v2.model import (
    CollaborationMode,
    CyberAccessProgram,
    MultiAgentMode,
    Personality,
    ReasoningEffort,
    ReasoningSummary,
)
from protocol.v2.permissions import ApprovalsReviewer, AskForApproval, LegacyAppPathString, SandboxPolicy
from protocol.v2.thread_data import Turn, TurnError
from protocol.v2.user_input import UserInput
from protocol.wire import AbsolutePath, Experimental, Wire

AdditionalContextKind = Literal["untrusted", "application"]
"""Whether the model should trust an entry as it trusts the application."""


class AdditionalContextEntry(Wire):
    """A fact that the client adds to the conversation."""

    kind: AdditionalContextKind
    value: str
    name: str | None = None


class TurnEnvironmentParams(Wire):
    """A place for the turn's commands to run."""

    cwd: LegacyAppPathString
    environment_id: str
    runtime_workspace_roots: list[LegacyAppPathString] | None = None


class TurnToolOutput(Wire):
    """A tool output that starts the turn in place of the user's words."""

    name: str
    output: FunctionCallOutputBody
    namespace: str | None = None
    retain: bool = False


class TurnStartParams(Wire):
    """Start a turn. What is set here, apart from `output_schema` and `service_tier_for_turn`, stays for
    later turns."""

    thread_id: str
    input: list[UserInput]
    additional_context: Annotated[
        dict[str, AdditionalContextEntry] | None, Experimental("turn/start.additionalContext")
    ] = None
    approval_policy: AskForApproval | None = None
    approvals_reviewer: ApprovalsReviewer | None = None
    client_user_message_id: str | None = None
    collaboration_mode: Annotated[CollaborationMode | None, Experimental("turn/start.collaborationMode")] = None
    cwd: str | None = None
    cyber_access_program: Annotated[CyberAccessProgram | None, Experimental("turn/start.cyberAccessProgram")] = None
    disabled_plugin_ids: list[str] | None = None
    effort: ReasoningEffort | None = None
    environments: Annotated[list[TurnEnvironmentParams] | None, Experimental("turn/start.environments")] = None
    model: str | None = None
    multi_agent_mode: Annotated[MultiAgentMode | None, Experimental("turn/start.multiAgentMode")] = None
    output_schema: Any = None
    parent_turn_id: str | None = None
    permissions: Annotated[str | None, Experimental("turn/start.permissions")] = None
    personality: Personality | None = None
    responsesapi_client_metadata: Annotated[
        dict[str, str] | None, Experimental("turn/start.responsesapiClientMetadata")
    ] = None
    responsesapi_client_metadata_patch: Annotated[
        dict[str, str] | None, Experimental("turn/start.responsesapiClientMetadataPatch")
    ] = None
    root_turn_id: str | None = None
    runtime_workspace_roots: Annotated[list[AbsolutePath] | None, Experimental("turn/start.runtimeWorkspaceRoots")] = (
        None
    )
    sandbox_policy: SandboxPolicy | None = None
    service_tier: str | None = None
    service_tier_for_turn: str | None = None
    summary: ReasoningSummary | None = None
    tool_output: TurnToolOutput | None = None
    turn_trigger: str | None = None


class TurnStartResponse(Wire):
    """The turn, which has only begun."""

    turn: Turn


TURN_START = ClientRequest("turn/start", TurnStartParams, TurnStartResponse, order=by_thread, access="act")


class TurnSteerParams(Wire):
    """Add input to the running turn; refused if that is not `expected_turn_id`."""

    thread_id: str
    expected_turn_id: str
    input: list[UserInput]
    additional_context: Annotated[
        dict[str, AdditionalContextEntry] | None, Experimental("turn/steer.additionalContext")
    ] = None
    client_user_message_id: str | None = None
    responsesapi_client_metadata: Annotated[
        dict[str, str] | None, Experimental("turn/steer.responsesapiClientMetadata")
    ] = None
    responsesapi_client_metadata_patch: Annotated[
        dict[str, str] | None, Experimental("turn/steer.responsesapiClientMetadataPatch")
    ] = None


class TurnSteerResponse(Wire):
    """The turn that took the input."""

    turn_id: str


TURN_STEER = ClientRequest("turn/steer", TurnSteerParams, TurnSteerResponse, order=by_thread, access="act")


class TurnInterruptParams(Wire):
    """Stop a turn."""

    thread_id: str
    turn_id: str


class TurnInterruptResponse(Wire):
    """The turn has been told to stop; `turn/completed` follows."""


TURN_INTERRUPT = ClientRequest("turn/interrupt", TurnInterruptParams, TurnInterruptResponse, access="act")


class TurnStartedNotification(Wire):
    """A turn began."""

    thread_id: str
    turn: Turn


TURN_STARTED = ServerNotification("turn/started", TurnStartedNotification)


class TurnCompletedNotification(Wire):
    """A turn ended, in whatever way its status tells. Exactly one for each turn."""

    thread_id: str
    turn: Turn


TURN_COMPLETED = ServerNotification("turn/completed", TurnCompletedNotification)


class TurnDiffUpdatedNotification(Wire):
    """What the turn's patches have changed so far, as one git diff; empty once all is as it was."""

    thread_id: str
    turn_id: str
    diff: str


TURN_DIFF_UPDATED = ServerNotification("turn/diff/updated", TurnDiffUpdatedNotification)


class ErrorNotification(Wire):
    """Something went wrong in a turn; with `will_retry` the turn goes on."""

    thread_id: str
    turn_id: str
    error: TurnError
    will_retry: bool


ERROR = ServerNotification("error", ErrorNotification)


class FileChangePatchUpdatedNotification(Wire):
    """A patch as far as the model has written it: what it will do is only sure once the item starts."""

    thread_id: str
    turn_id: str
    item_id: str
    changes: list[FileUpdateChange]


ITEM_FILE_CHANGE_PATCH_UPDATED = ServerNotification("item/fileChange/patchUpdated", FileChangePatchUpdatedNotification)


class TurnSettingsUpdateParams(Wire, extra="forbid"):
    """Change settings of the turn that runs, from its next request to the model on; None leaves one as it is. Later
    turns keep those of the thread. Without an environment the turn has no tools."""

    thread_id: str
    turn_id: str
    approvals_reviewer: ApprovalsReviewer | None = None
    effort: ReasoningEffort | None = None
    environments: list[TurnEnvironmentParams] | None = None
    model: str | None = None
    service_tier: str | None = None
    summary: ReasoningSummary | None = None


TurnSettingsUpdateStatus = Literal["applied", "targetUnavailable"]
"""`targetUnavailable`: the turn does not run (any more)."""


class TurnSettingsUpdateResponse(Wire):
    """What became of the change."""

    status: TurnSettingsUpdateStatus


TURN_SETTINGS_UPDATE = ClientRequest(
    "turn/settings/update",
    TurnSettingsUpdateParams,
    TurnSettingsUpdateResponse,
    experimental="turn/settings/update",
    access="act",
)


class TurnModerationMetadataNotification(Wire):
    metadata: Any
    thread_id: str
    turn_id: str


TURN_MODERATION_METADATA = ServerNotification("turn/moderationMetadata", TurnModerationMetadataNotification)
