"""thread_metadata"""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification
from protocol.v2.thread_data import Thread, ThreadReadState
from protocol.wire import Experimental, Wire


class ThreadIncrementElicitationParams(Wire):
    thread_id: str


class ThreadIncrementElicitationResponse(Wire):
    count: int
    paused: bool


THREAD_INCREMENT_ELICITATION = ClientRequest(
    "thread/increment_elicitation",
    ThreadIncrementElicitationParams,
    ThreadIncrementElicitationResponse,
    experimental="thread/increment_elicitation",
    access="act",
    availability="later",
)


class ThreadDecrementElicitationParams(Wire):
    thread_id: str


class ThreadDecrementElicitationResponse(Wire):
    count: int
    paused: bool


THREAD_DECREMENT_ELICITATION = ClientRequest(
    "thread/decrement_elicitation",
    ThreadDecrementElicitationParams,
    ThreadDecrementElicitationResponse,
    experimental="thread/decrement_elicitation",
    access="act",
    availability="later",
)


class ThreadMetadataGitInfoUpdateParams(Wire):
    branch: str | None = None
    origin_url: str | None = None
    sha: str | None = None


class ThreadMetadataUpdateParams(Wire):
    thread_id: str
    daybreak_enabled: Annotated[bool | None, Experimental("thread/metadata/update.daybreakEnabled")] = None
    git_info: ThreadMetadataGitInfoUpdateParams | None = None
    project_id: Annotated[str | None, Experimental("thread/metadata/update.projectId")] = None


class ThreadMetadataUpdateResponse(Wire):
    thread: Thread


THREAD_METADATA_UPDATE = ClientRequest(
    "thread/metadata/update",
    ThreadMetadataUpdateParams,
    ThreadMetadataUpdateResponse,
    access="act",
    availability="later",
)


ThreadMemoryMode = Literal["enabled", "disabled"]


class ThreadMemoryModeSetParams(Wire):
    mode: ThreadMemoryMode
    thread_id: str


class ThreadMemoryModeSetResponse(Wire): ...


THREAD_MEMORY_MODE_SET = ClientRequest(
    "thread/memoryMode/set",
    ThreadMemoryModeSetParams,
    ThreadMemoryModeSetResponse,
    experimental="thread/memoryMode/set",
    access="act",
    availability="later",
)


class ThreadRevertParams(Wire):
    before_turn_id: str
    thread_id: str


class ThreadRevertResponse(Wire):
    thread: Thread
    items_backwards_cursor: str | None = None
    turns_backwards_cursor: str | None = None


THREAD_REVERT = ClientRequest(
    "thread/revert", ThreadRevertParams, ThreadRevertResponse, access="act", availability="later"
)


class ReadThreadReadStateOperation(Wire):
    type: Literal["read"] = "read"


class UnreadThreadReadStateOperation(Wire):
    type: Literal["unread"] = "unread"


ThreadReadStateOperation = Annotated[
    ReadThreadReadStateOperation | UnreadThreadReadStateOperation, Field(discriminator="type")
]


class ThreadReadStateUpdateParams(Wire):
    expected_revision: str
    operation: ThreadReadStateOperation
    thread_id: str


class ThreadReadStateUpdateResponse(Wire):
    read_state: ThreadReadState


THREAD_READ_STATE_UPDATE = ClientRequest(
    "thread/readState/update",
    ThreadReadStateUpdateParams,
    ThreadReadStateUpdateResponse,
    experimental="thread/readState/update",
    access="act",
    availability="later",
)


class ThreadInjectItemsParams(Wire):
    items: list[Any]
    thread_id: str


class ThreadInjectItemsResponse(Wire): ...


THREAD_INJECT_ITEMS = ClientRequest(
    "thread/inject_items", ThreadInjectItemsParams, ThreadInjectItemsResponse, access="act", availability="later"
)


class ThreadPrepareApprovedPlanParams(Wire):
    markdown: str
    thread_id: str
    attachment_path: str | None = None


class ThreadPrepareApprovedPlanResponse(Wire):
    prompt: str


THREAD_PREPARE_APPROVED_PLAN = ClientRequest(
    "thread/prepareApprovedPlan",
    ThreadPrepareApprovedPlanParams,
    ThreadPrepareApprovedPlanResponse,
    experimental="thread/prepareApprovedPlan",
    access="act",
    availability="later",
)


class ThreadRevertedNotification(Wire):
    thread_id: str


THREAD_REVERTED = ServerNotification("thread/reverted", ThreadRevertedNotification)


class EnvironmentConnectionNotification(Wire):
    environment_id: str
    thread_id: str


THREAD_ENVIRONMENT_CONNECTED = ServerNotification("thread/environment/connected", EnvironmentConnectionNotification)


THREAD_ENVIRONMENT_DISCONNECTED = ServerNotification(
    "thread/environment/disconnected", EnvironmentConnectionNotification
)


class ContextCompactedNotification(Wire):
    thread_id: str
    turn_id: str


THREAD_COMPACTED = ServerNotification("thread/compacted", ContextCompactedNotification)
