"""thread_metadata"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification
from protocol.v2.thread_data import Thread, ThreadReadState
from protocol.wire import Experimental, Wire


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
