"""environment"""

from typing import Literal

from protocol.methods import ClientRequest, ServerRequest
from protocol.wire import UInt, Wire


class EnvironmentSkillsParams(Wire):
    required: list[str] | None = None


class EnvironmentAddParams(Wire):
    environment_id: str
    exec_server_url: str
    auth_bearer_token: str | None = None
    connect_timeout_ms: UInt | None = None
    skills: EnvironmentSkillsParams | None = None
    websocket_request_id: str | None = None


class EnvironmentAddResponse(Wire): ...


ENVIRONMENT_ADD = ClientRequest(
    "environment/add",
    EnvironmentAddParams,
    EnvironmentAddResponse,
    experimental="environment/add",
    availability="later",
)


class EnvironmentInfoParams(Wire):
    environment_id: str


PathUri = str


class EnvironmentShellInfo(Wire):
    name: str
    path: str


class EnvironmentInfoResponse(Wire):
    shell: EnvironmentShellInfo
    cwd: PathUri | None = None


ENVIRONMENT_INFO = ClientRequest(
    "environment/info",
    EnvironmentInfoParams,
    EnvironmentInfoResponse,
    experimental="environment/info",
    access="read",
    availability="later",
)


class EnvironmentStatusParams(Wire):
    environment_id: str


EnvironmentStatusKind = Literal["ready", "pending", "disconnected", "unknown"]


class EnvironmentStatusResponse(Wire):
    status: EnvironmentStatusKind
    error: str | None = None


ENVIRONMENT_STATUS = ClientRequest(
    "environment/status",
    EnvironmentStatusParams,
    EnvironmentStatusResponse,
    experimental="environment/status",
    access="read",
    availability="later",
)


class CurrentTimeReadParams(Wire):
    thread_id: str


class CurrentTimeReadResponse(Wire):
    current_time_at: int


CURRENT_TIME_READ = ServerRequest(
    "currentTime/read", CurrentTimeReadParams, CurrentTimeReadResponse, experimental="currentTime/read"
)
