"""remote_control"""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import Empty, UInt32, Wire


class RemoteControlEnableParams(Wire):
    ephemeral: bool = False


RemoteControlConnectionStatus = Literal["disabled", "connecting", "connected", "errored"]


class RemoteControlEnableResponse(Wire):
    installation_id: str
    server_name: str
    status: RemoteControlConnectionStatus
    environment_id: str | None = None


REMOTE_CONTROL_ENABLE = ClientRequest(
    "remoteControl/enable",
    RemoteControlEnableParams,
    RemoteControlEnableResponse,
    experimental="remoteControl/enable",
    availability="later",
)


class RemoteControlDisableParams(Wire):
    ephemeral: bool = False


class RemoteControlDisableResponse(Wire):
    installation_id: str
    server_name: str
    status: RemoteControlConnectionStatus
    environment_id: str | None = None


REMOTE_CONTROL_DISABLE = ClientRequest(
    "remoteControl/disable",
    RemoteControlDisableParams,
    RemoteControlDisableResponse,
    experimental="remoteControl/disable",
    availability="later",
)


class RemoteControlStatusReadResponse(Wire):
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
    availability="later",
)


class RemoteControlPairingStartParams(Wire):
    manual_code: bool = False


class RemoteControlPairingStartResponse(Wire):
    environment_id: str
    expires_at: int
    pairing_code: str
    manual_pairing_code: str | None = None


REMOTE_CONTROL_PAIRING_START = ClientRequest(
    "remoteControl/pairing/start",
    RemoteControlPairingStartParams,
    RemoteControlPairingStartResponse,
    experimental="remoteControl/pairing/start",
    availability="later",
)


class RemoteControlPairingStatusParams(Wire):
    manual_pairing_code: str | None = None
    pairing_code: str | None = None


class RemoteControlPairingStatusResponse(Wire):
    claimed: bool


REMOTE_CONTROL_PAIRING_STATUS = ClientRequest(
    "remoteControl/pairing/status",
    RemoteControlPairingStatusParams,
    RemoteControlPairingStatusResponse,
    experimental="remoteControl/pairing/status",
    access="read",
    availability="later",
)


RemoteControlClientsListOrder = Literal["asc", "desc"]


class RemoteControlClientsListParams(Wire):
    environment_id: str
    cursor: str | None = None
    limit: UInt32 | None = None
    order: RemoteControlClientsListOrder | None = None


class RemoteControlClient(Wire):
    client_id: str
    app_version: str | None = None
    device_model: str | None = None
    device_type: str | None = None
    display_name: str | None = None
    last_seen_at: int | None = None
    os_version: str | None = None
    platform: str | None = None


class RemoteControlClientsListResponse(Wire):
    data: list[RemoteControlClient]
    next_cursor: str | None = None


REMOTE_CONTROL_CLIENT_LIST = ClientRequest(
    "remoteControl/client/list",
    RemoteControlClientsListParams,
    RemoteControlClientsListResponse,
    experimental="remoteControl/client/list",
    access="read",
    availability="later",
)


class RemoteControlClientsRevokeParams(Wire):
    client_id: str
    environment_id: str


class RemoteControlClientsRevokeResponse(Wire): ...


REMOTE_CONTROL_CLIENT_REVOKE = ClientRequest(
    "remoteControl/client/revoke",
    RemoteControlClientsRevokeParams,
    RemoteControlClientsRevokeResponse,
    experimental="remoteControl/client/revoke",
    availability="later",
)


class RemoteControlStatusChangedNotification(Wire):
    installation_id: str
    server_name: str
    status: RemoteControlConnectionStatus
    environment_id: str | None = None


REMOTE_CONTROL_STATUS_CHANGED = ServerNotification(
    "remoteControl/status/changed", RemoteControlStatusChangedNotification
)
