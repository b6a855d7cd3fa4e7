"""The places where commands of threads can run, and the client's clock."""

from typing import Literal

from protocol.methods import ClientRequest, ServerRequest
from protocol.wire import UInt, Wire


class EnvironmentSkillsParams(Wire):
    """Skills that must be found in the environment, by name."""

    required: list[str] | None = None


class EnvironmentAddParams(Wire):
    """Make a place elsewhere known by a name, or give a known one another address.

    `exec_server_url` is a websocket (`ws://...`) that is dialled within `connect_timeout_ms`, with the bearer token if
    there is one. `websocket_request_id` names the request in the other server's logs.
    """

    environment_id: str
    exec_server_url: str
    auth_bearer_token: str | None = None
    connect_timeout_ms: UInt | None = None
    skills: EnvironmentSkillsParams | None = None
    websocket_request_id: str | None = None


class EnvironmentAddResponse(Wire):
    """The name is known from now on; whether commands can run there is told by `environment/status`."""


ENVIRONMENT_ADD = ClientRequest(
    "environment/add",
    EnvironmentAddParams,
    EnvironmentAddResponse,
    experimental="environment/add",
    availability="later",
)


class EnvironmentInfoParams(Wire):
    """Ask about an environment. This machine is `local`."""

    environment_id: str


PathUri = str
"""A path as `file:///...`."""


class EnvironmentShellInfo(Wire):
    """The shell of an environment's user: the name as in `bash`, and where it is."""

    name: str
    path: str


class EnvironmentInfoResponse(Wire):
    """What commands meet in an environment; `cwd` is where they run if they say nothing else."""

    shell: EnvironmentShellInfo
    cwd: PathUri | None = None


ENVIRONMENT_INFO = ClientRequest(
    "environment/info",
    EnvironmentInfoParams,
    EnvironmentInfoResponse,
    experimental="environment/info",
    access="read",
)


class EnvironmentStatusParams(Wire):
    """Ask whether commands can run in an environment."""

    environment_id: str


EnvironmentStatusKind = Literal["ready", "pending", "disconnected", "unknown"]
"""`pending` is connecting; `unknown` says that there is no environment of that name."""


class EnvironmentStatusResponse(Wire):
    """Whether commands can run there; `error` says why not."""

    status: EnvironmentStatusKind
    error: str | None = None


ENVIRONMENT_STATUS = ClientRequest(
    "environment/status",
    EnvironmentStatusParams,
    EnvironmentStatusResponse,
    experimental="environment/status",
    access="read",
)


class CurrentTimeReadParams(Wire):
    """What time is it for the user of the thread?"""

    thread_id: str


class CurrentTimeReadResponse(Wire):
    """Unix time in seconds."""

    current_time_at: int


CURRENT_TIME_READ = ServerRequest(
    "currentTime/read", CurrentTimeReadParams, CurrentTimeReadResponse, experimental="currentTime/read"
)
