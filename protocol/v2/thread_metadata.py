"""What users keep about a thread: its repository, its project, memory, and what they have read."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification, by_thread
from protocol.v2.thread_data import Thread, ThreadReadState
from protocol.wire import Experimental, Wire


class ThreadMetadataGitInfoUpdateParams(Wire):
    """What to change of the repository: absent members stay, null takes them away."""

    branch: str | None = None
    origin_url: str | None = None
    sha: str | None = None


class ThreadMetadataUpdateParams(Wire):
    """Change what is given; null changes nothing. An empty `project_id` takes the thread out of its project."""

    thread_id: str
    daybreak_enabled: Annotated[bool | None, Experimental("thread/metadata/update.daybreakEnabled")] = None
    git_info: ThreadMetadataGitInfoUpdateParams | None = None
    project_id: Annotated[str | None, Experimental("thread/metadata/update.projectId")] = None


class ThreadMetadataUpdateResponse(Wire):
    """The thread as it is now."""

    thread: Thread


THREAD_METADATA_UPDATE = ClientRequest(
    "thread/metadata/update",
    ThreadMetadataUpdateParams,
    ThreadMetadataUpdateResponse,
    order=by_thread,
    access="act",
)


ThreadMemoryMode = Literal["enabled", "disabled"]
"""Whether memories may be made from a thread."""


class ThreadMemoryModeSetParams(Wire):
    """Say whether memories may be made from a thread."""

    mode: ThreadMemoryMode
    thread_id: str


class ThreadMemoryModeSetResponse(Wire):
    """The mode is set."""


THREAD_MEMORY_MODE_SET = ClientRequest(
    "thread/memoryMode/set",
    ThreadMemoryModeSetParams,
    ThreadMemoryModeSetResponse,
    order=by_thread,
    experimental="thread/memoryMode/set",
    access="act",
)


class ReadThreadReadStateOperation(Wire):
    """The user has read all of it."""

    type: Literal["read"] = "read"


class UnreadThreadReadStateOperation(Wire):
    """The user wants to read it again, from the start."""

    type: Literal["unread"] = "unread"


ThreadReadStateOperation = Annotated[
    ReadThreadReadStateOperation | UnreadThreadReadStateOperation, Field(discriminator="type")
]
"""What the user did."""


class ThreadReadStateUpdateParams(Wire):
    """Change what counts as read, as long as `expected_revision` is still that of the state."""

    expected_revision: str
    operation: ThreadReadStateOperation
    thread_id: str


class ThreadReadStateUpdateResponse(Wire):
    """The state as it is now."""

    read_state: ThreadReadState


THREAD_READ_STATE_UPDATE = ClientRequest(
    "thread/readState/update",
    ThreadReadStateUpdateParams,
    ThreadReadStateUpdateResponse,
    order=by_thread,
    experimental="thread/readState/update",
    access="act",
)


class EnvironmentConnectionNotification(Wire):
    """A place where commands of a thread run can be reached, or no longer."""

    environment_id: str
    thread_id: str


THREAD_ENVIRONMENT_CONNECTED = ServerNotification("thread/environment/connected", EnvironmentConnectionNotification)


THREAD_ENVIRONMENT_DISCONNECTED = ServerNotification(
    "thread/environment/disconnected", EnvironmentConnectionNotification
)


class ContextCompactedNotification(Wire):
    """The history of a thread was summed up."""

    thread_id: str
    turn_id: str


THREAD_COMPACTED = ServerNotification("thread/compacted", ContextCompactedNotification)
