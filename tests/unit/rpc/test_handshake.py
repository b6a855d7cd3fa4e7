"""The short way of reading `initialize` decides as the wire's model does."""

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app_server.rpc.handshake import Hello, Welcome, read_hello
from app_server.rpc.params import validated
from protocol.jsonrpc import RpcError
from protocol.v1 import InitializeParams, InitializeResponse

_any = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=5) | st.integers())
_flags = (
    "experimentalApi",
    "explicitGatewayOauth",
    "mcpServerOpenaiFormElicitation",
    "requestAttestation",
    "requiredHumanApproval",
)
_capabilities = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(_flags, st.booleans() | _any),
        "optOutNotificationMethods": st.lists(st.text(max_size=5)) | _any,
        "extensions": st.dictionaries(st.text(max_size=5), _any) | _any,
        "other": _any,
    },
)
_info = st.fixed_dictionaries(
    {}, optional={"name": st.text(max_size=5) | _any, "version": st.text(max_size=5) | _any, "title": _any, "x": _any}
)
_params = st.fixed_dictionaries(
    {}, optional={"clientInfo": _info | _any, "capabilities": _capabilities | _any, "x": _any}
)


def _by_the_model(params: Any) -> Hello | str:
    try:
        model = validated(InitializeParams, params)
    except RpcError as error:
        return error.message
    info, wants = model.client_info, model.capabilities
    if wants is None:
        return Hello(info.name, info.version, info.title)
    opted_out = frozenset(wants.opt_out_notification_methods or ())
    return Hello(info.name, info.version, info.title, bool(wants.experimental_api), opted_out)


def _read(params: Any) -> Hello | str:
    try:
        return read_hello(params)
    except RpcError as error:
        return error.message


INFO = {"name": "a", "version": "1"}


@given(_params | _any)
@example(None)
@example({"clientInfo": INFO})
@example({"clientInfo": INFO, "capabilities": {}})
@example({"clientInfo": INFO, "capabilities": None})
@example({"clientInfo": {**INFO, "title": None}, "capabilities": {"experimentalApi": True}})
@example({"clientInfo": INFO, "capabilities": {"experimentalApi": None}})
@example({"clientInfo": INFO, "capabilities": {"experimentalApi": 1}})
@example({"clientInfo": INFO, "capabilities": {"optOutNotificationMethods": None}})
@example({"clientInfo": INFO, "capabilities": {"optOutNotificationMethods": ["a", "b"], "extensions": {"a": [1]}}})
@example({"clientInfo": INFO, "capabilities": {"optOutNotificationMethods": ["a", 1]}})
@example({"clientInfo": {"name": "a"}})
@example({"clientInfo": []})
@example([])
def test_both_ways_of_reading_agree(params: Any) -> None:
    assert _read(params) == _by_the_model(params)


@pytest.mark.parametrize("text", ["plain", 'é\n"\\'])
def test_both_ways_of_writing_agree(text: str) -> None:
    written = Welcome(text, "/home", "unix", "linux").json()
    model = InitializeResponse(user_agent=text, codex_home="/home", platform_family="unix", platform_os="linux")
    assert orjson.loads(written) == orjson.loads(model.model_dump_json())
