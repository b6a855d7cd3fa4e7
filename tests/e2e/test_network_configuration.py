"""Rules of the network that are wrong, or demanded by an organisation, as clients meet them."""

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import running_daemon
from tests.support.home import make_home
from tests.support.managed import managed_program
from tests.support.rpc_client import CallFailed, RpcClient

OPEN = "[sandbox_workspace_write]\nnetwork_access = true\n"
WRONG = '[features.network_proxy]\nenabled = true\n[features.network_proxy.domains]\n"*" = "deny"\n'
DEMANDS = """
    [experimental_network]
    enabled = true
    [experimental_network.domains]
    "a.com" = "allow"
    "b.com" = "deny"
"""


@pytest.fixture
def port() -> Iterator[int]:
    """Where somebody listens on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _home(folder: Path, more: str = "", mode: str = "workspace-write") -> Path:
    settings: dict[str, object] = {"sandbox_mode": mode, "model_provider": "demo"}
    return make_home(folder / "home", settings=settings, more=more)


async def _reaches(client: RpcClient, port: int) -> bool:
    """Whether a command of the client's can connect to the port by itself."""
    code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
    return (await client.call("command/exec", {"command": [sys.executable, "-c", code]}))["exitCode"] == 0


async def _refusal(client: RpcClient) -> str:
    with pytest.raises(CallFailed) as failed:
        await client.call("thread/start", {})
    assert failed.value.code == -32600
    return failed.value.message


def _warnings(client: RpcClient) -> list[str]:
    return [message["params"]["details"] or "" for message in client.notifications("configWarning")]


async def test_wrong_rules_stop_threads_and_give_commands_no_network(tmp_path: Path, port: int) -> None:
    home = _home(tmp_path, OPEN + WRONG)
    async with running_daemon(home) as daemon, daemon.client() as client:
        await client.initialize()
        told = await _refusal(client)
        assert told.startswith(f"failed to load configuration: {home / 'config.toml'}:")
        assert told.endswith('(in `features.network_proxy.domains."*"`)')
        assert any(warning in told for warning in _warnings(client) if warning)
        assert not await _reaches(client, port)


async def test_without_rules_a_command_with_a_network_has_all_of_it(tmp_path: Path, port: int) -> None:
    async with running_daemon(_home(tmp_path, OPEN)) as daemon, daemon.client() as client:
        await client.initialize()
        assert (await client.call("configRequirements/read", {}))["requirements"] is None
        assert await _reaches(client, port)


async def test_what_an_organisation_demands_of_the_network_holds_and_can_be_read(tmp_path: Path, port: int) -> None:
    (tmp_path / "requirements.toml").write_text(DEMANDS)
    async with (
        running_daemon(_home(tmp_path, OPEN), program=managed_program(tmp_path)) as daemon,
        daemon.client() as client,
    ):
        await client.initialize(experimental=True)
        network = (await client.call("configRequirements/read", {}))["requirements"]["network"]
        assert network["domains"] == {"a.com": "allow", "b.com": "deny"}
        assert (network["allowedDomains"], network["deniedDomains"]) == (["a.com"], ["b.com"])
        sandbox: dict[str, Any] = (await client.call("thread/start", {}))["sandbox"]
        assert sandbox["networkAccess"] is True
        assert not await _reaches(client, port)


@pytest.mark.parametrize(
    "demands", ["[experimental_network]\nenabled =\n", "[experimental_network]\nenabled = true\ndomians = {}\n"]
)
async def test_demands_that_cannot_be_read_stop_threads_and_all_network(
    tmp_path: Path, port: int, demands: str
) -> None:
    (tmp_path / "requirements.toml").write_text(demands)
    async with (
        running_daemon(_home(tmp_path, OPEN), program=managed_program(tmp_path)) as daemon,
        daemon.client() as client,
    ):
        await client.initialize(experimental=True)
        told = await _refusal(client)
        assert told.startswith(f"failed to load configuration: {tmp_path / 'requirements.toml'}:")
        assert any(json.dumps(warning)[1:-1] in json.dumps(told) for warning in _warnings(client) if warning)
        assert not await _reaches(client, port)
