"""The handshake read by hand says the same as the wire's models."""

import subprocess
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_server.rpc.handshake import METHOD, Hello, Welcome, _by_model, _plain, read_hello  # pyright: ignore[reportPrivateUsage]
from protocol.jsonrpc import INVALID_REQUEST, RpcError
from protocol.v1 import INITIALIZE, InitializeResponse

_ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=3), st.lists(st.integers(0, 2), max_size=2)
)
_INFO = st.fixed_dictionaries(
    {}, optional={"name": st.text(max_size=5) | _ODD, "version": st.text(max_size=5) | _ODD, "title": _ODD}
)
_CAPABILITIES = st.fixed_dictionaries(
    {},
    optional={
        "experimentalApi": st.booleans() | _ODD,
        "explicitGatewayOauth": _ODD,
        "mcpServerOpenaiFormElicitation": _ODD,
        "requestAttestation": _ODD,
        "requiredHumanApproval": _ODD,
        "extensions": st.dictionaries(st.text(max_size=2), _ODD, max_size=2) | _ODD,
        "optOutNotificationMethods": st.lists(st.text(max_size=5) | st.integers(), max_size=3) | _ODD,
        "unknown": _ODD,
    },
)
_PARAMS = st.fixed_dictionaries({}, optional={"clientInfo": _INFO | _ODD, "capabilities": _CAPABILITIES | _ODD}) | _ODD


@given(_PARAMS)
def test_what_is_read_by_hand_is_what_the_model_reads(params: Any) -> None:
    by_hand = _plain(params)
    if by_hand is not None:
        assert by_hand == _by_model(params)


def test_the_form_that_clients_send_is_read_by_hand() -> None:
    capabilities = {"experimentalApi": True, "requestAttestation": False, "optOutNotificationMethods": ["a/b"]}
    params = {"clientInfo": {"name": "n", "title": None, "version": "1"}, "capabilities": capabilities}
    assert _plain(params) == Hello("n", "1", None, experimental=True, opted_out=frozenset({"a/b"}))


@pytest.mark.parametrize(
    ("params", "field"),
    [
        (None, "missing field `clientInfo`"),
        ({"clientInfo": {"name": "n"}}, "missing field `clientInfo.version`"),
        ({"clientInfo": {"name": 5, "version": "1"}}, "`clientInfo.name`"),
        ({"clientInfo": {"name": "n", "version": "1"}, "capabilities": []}, "`capabilities`"),
    ],
)
def test_a_refusal_names_the_field(params: Any, field: str) -> None:
    with pytest.raises(RpcError) as refused:
        read_hello(params)
    assert refused.value.code == INVALID_REQUEST
    assert field in refused.value.message


def test_the_answer_is_the_wires() -> None:
    answer = orjson.loads(Welcome("agent/1", "/home/.codex", "unix", "linux").json())
    assert InitializeResponse.model_validate(answer).model_dump(by_alias=True) == answer
    assert INITIALIZE.method == METHOD


def test_the_way_to_the_first_answer_imports_no_heavy_library() -> None:
    script = (
        "import sys, app_server.app, app_server.transport.stdio, app_server.cli;"
        "print(*sorted({'pydantic', 'aiohttp', 'aiosqlite', 'jsonrpcserver', 'watchfiles', 'jwt'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
