"""Reaching the server from another device through OpenAI, which takes an account there."""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import Empty, UInt32, Wire


class RemoteControlEnableParams(Wire):
    """Let this server be reached; with `ephemeral` until it ends, else for good."""

    ephemeral: bool = False


RemoteControlConnectionStatus = Literal["disabled", "connecting", "connected", "errored"]
"""Whether the server can be reached: `errored` tries again by itself where that may help."""


class RemoteControlEnableResponse(Wire):
    """The state after the request.

    `installation_id` names this $CODEX_HOME for good, `server_name` is the machine's name, and `environment_id` what
    the server is called by those that reach it, None before the first connection.
    """

    installation_id: str
    server_name: str
    status: RemoteControlConnectionStatus
    environment_id: str | None = None


REMOTE_CONTROL_ENABLE = ClientRequest(
    "remoteControl/enable",
    RemoteControlEnableParams,
    RemoteControlEnableResponse,
    experimental="remoteControl/enable",
    availability="account",
)


class RemoteControlDisableParams(Wire):
    """Let this server be reached no more; with `ephemeral` until it ends, else for good."""

    ephemeral: bool = False


class RemoteControlDisableResponse(Wire):
    """The state after the request, as in `RemoteControlEnableResponse`."""

    installation_id: str
    server_name: str
    status: RemoteControlConnectionStatus
    environment_id: str | None = None


REMOTE_CONTROL_DISABLE = ClientRequest(
    "remoteControl/disable",
    RemoteControlDisableParams,
    RemoteControlDisableResponse,
    experimental="remoteControl/disable",
    availability="account",
)


class RemoteControlStatusReadResponse(Wire):
    """The state, as in `RemoteControlEnableResponse`."""

    installation_id: str
    server_name: str
    status: RemoteControlConnectionStatus
    environment_id: str | None = None


REMOTE_CONTROL_STATUS_READ = ClientRequest(
    "remoteControl/status/read",
    Empty,
    RemoteControlStatusReadResponse,
    experimental="remoteControl/status/read",
    access="read",
    availability="account",
)
"""Ask whether this server can be reached."""


class RemoteControlPairingStartParams(Wire):
    """Begin to let another device in; `manual_code` asks for a code that can be typed."""

    manual_code: bool = False


class RemoteControlPairingStartResponse(Wire):
    """The code for the other device, and when it ends to be good: Unix time in seconds."""

    environment_id: str
    expires_at: int
    pairing_code: str
    manual_pairing_code: str | None = None


REMOTE_CONTROL_PAIRING_START = ClientRequest(
    "remoteControl/pairing/start",
    RemoteControlPairingStartParams,
    RemoteControlPairingStartResponse,
    experimental="remoteControl/pairing/start",
    availability="account",
)


class RemoteControlPairingStatusParams(Wire):
    """Ask whether a device has used a code, of one kind or the other."""

    manual_pairing_code: str | None = None
    pairing_code: str | None = None


class RemoteControlPairingStatusResponse(Wire):
    """Whether the code was used."""

    claimed: bool


REMOTE_CONTROL_PAIRING_STATUS = ClientRequest(
    "remoteControl/pairing/status",
    RemoteControlPairingStatusParams,
    RemoteControlPairingStatusResponse,
    experimental="remoteControl/pairing/status",
    access="read",
    availability="account",
)


RemoteControlClientsListOrder = Literal["asc", "desc"]
"""Oldest first, or newest first."""


class RemoteControlClientsListParams(Wire):
    """List the devices that may reach an environment; `limit` is 1 to 100."""

    environment_id: str
    cursor: str | None = None
    limit: UInt32 | None = None
    order: RemoteControlClientsListOrder | None = None


class RemoteControlClient(Wire):
    """A device. `last_seen_at` is Unix time in seconds; None is what the device did not tell."""

    client_id: str
    app_version: str | None = None
    device_model: str | None = None
    device_type: str | None = None
    display_name: str | None = None
    last_seen_at: int | None = None
    os_version: str | None = None
    platform: str | None = None


class RemoteControlClientsListResponse(Wire):
    """A page of devices; `next_cursor` is None on the last one."""

    data: list[RemoteControlClient]
    next_cursor: str | None = None


REMOTE_CONTROL_CLIENT_LIST = ClientRequest(
    "remoteControl/client/list",
    RemoteControlClientsListParams,
    RemoteControlClientsListResponse,
    experimental="remoteControl/client/list",
    access="read",
    availability="account",
)


class RemoteControlClientsRevokeParams(Wire):
    """Let a device in no more."""

    client_id: str
    environment_id: str


class RemoteControlClientsRevokeResponse(Wire):
    """The device is out."""


REMOTE_CONTROL_CLIENT_REVOKE = ClientRequest(
    "remoteControl/client/revoke",
    RemoteControlClientsRevokeParams,
    RemoteControlClientsRevokeResponse,
    experimental="remoteControl/client/revoke",
    availability="account",
)


class RemoteControlStatusChangedNotification(Wire):
    """The state, told when a client connects and whenever it changes; as in `RemoteControlEnableResponse`."""

    installation_id: str
    server_name: str
    status: RemoteControlConnectionStatus
    environment_id: str | None = None


REMOTE_CONTROL_STATUS_CHANGED = ServerNotification(
    "remoteControl/status/changed", RemoteControlStatusChangedNotification
)
