"""remoteControl/*: reaching this server from elsewhere, as it is answered to somebody without an account."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.platform.remote_control import MOST_CLIENTS, needs_account
from protocol.jsonrpc import invalid_request
from protocol.v2 import remote_control as wire
from protocol.wire import Empty


@handles(wire.REMOTE_CONTROL_ENABLE)
def enable(ctx: RequestContext, params: wire.RemoteControlEnableParams) -> wire.RemoteControlEnableResponse:
    if not params.ephemeral:
        raise needs_account()
    control = ctx.platform.remote_control
    ctx.afterwards(control.fail)
    return wire.RemoteControlEnableResponse.model_validate({**control.state(), "status": "connecting"})


@handles(wire.REMOTE_CONTROL_DISABLE)
def disable(ctx: RequestContext, params: wire.RemoteControlDisableParams) -> wire.RemoteControlDisableResponse:
    if not params.ephemeral:
        raise needs_account()
    control = ctx.platform.remote_control
    control.change("disabled")
    return wire.RemoteControlDisableResponse.model_validate(control.state())


@handles(wire.REMOTE_CONTROL_STATUS_READ)
def read_status(ctx: RequestContext, params: Empty) -> wire.RemoteControlStatusReadResponse:
    return wire.RemoteControlStatusReadResponse.model_validate(ctx.platform.remote_control.state())


@handles(wire.REMOTE_CONTROL_PAIRING_START)
def start_pairing(
    ctx: RequestContext, params: wire.RemoteControlPairingStartParams
) -> wire.RemoteControlPairingStartResponse:
    raise ctx.platform.remote_control.no_pairing()


@handles(wire.REMOTE_CONTROL_PAIRING_STATUS)
def pairing_status(
    ctx: RequestContext, params: wire.RemoteControlPairingStatusParams
) -> wire.RemoteControlPairingStatusResponse:
    if params.pairing_code is None and params.manual_pairing_code is None:
        raise invalid_request("remoteControl/pairing/status requires pairingCode or manualPairingCode")
    if params.pairing_code is not None and params.manual_pairing_code is not None:
        raise invalid_request("remoteControl/pairing/status accepts either pairingCode or manualPairingCode, not both")
    raise ctx.platform.remote_control.no_pairing()


@handles(wire.REMOTE_CONTROL_CLIENT_LIST)
def list_clients(
    ctx: RequestContext, params: wire.RemoteControlClientsListParams
) -> wire.RemoteControlClientsListResponse:
    if not params.environment_id:
        raise invalid_request("remote control client list requires environmentId")
    if params.limit is not None and not 1 <= params.limit <= MOST_CLIENTS:
        raise invalid_request(f"remote control client list limit must be between 1 and {MOST_CLIENTS}")
    raise needs_account()


@handles(wire.REMOTE_CONTROL_CLIENT_REVOKE)
def revoke_client(
    ctx: RequestContext, params: wire.RemoteControlClientsRevokeParams
) -> wire.RemoteControlClientsRevokeResponse:
    for name, value in (("environmentId", params.environment_id), ("clientId", params.client_id)):
        if not value:
            raise invalid_request(f"remote control client revoke requires {name}")
    raise needs_account()
