"""Websocket clients whose token does not allow everything."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from protocol.export import import_all
from protocol.methods import ClientRequest, registered
from tests.support.daemon import Daemon, running_daemon
from tests.support.home import make_home
from tests.support.rpc_client import CallFailed, Message, RpcClient
from tests.support.scripted_model import ScriptedModel, say, tool_call
from tests.support.stage import begin, ended, run_turn, text

SECRET = "0123456789abcdef0123456789abcdef"
SCOPES = ("full", "no-shell", "observe")

PROFILES = """
[permissions.wide.filesystem]
":root" = "write"
[shell_environment_policy.set]
KEY = "s3cret"
"""


def _token(**claims: Any) -> str:
    payload = {"exp": time.time() + 600, **claims}
    return "Bearer " + jwt.encode(payload, SECRET, "HS256")  # RSA key types


class House:
    """A daemon, its model, and one client of each scope."""

    def __init__(self, daemon: Daemon, model: ScriptedModel, project: Path) -> None:
        self.daemon, self.model, self.project = daemon, model, project
        self._clients = AsyncExitStack()

    async def __aenter__(self) -> "House":
        return self

    async def __aexit__(self, *failure: Any) -> bool | None:
        return await self._clients.__aexit__(*failure)

    async def client(self, scope: str | None) -> RpcClient:
        """A client with a token of that scope; without one if None."""
        token = _token() if scope is None else _token(scope=scope)
        client = await self._clients.enter_async_context(self.daemon.client(Authorization=token))
        await client.initialize(scope or "unscoped")
        return client

    async def thread(self, client: RpcClient, **params: Any) -> str:
        """The id of a new thread in the project."""
        return (await client.call("thread/start", {"cwd": str(self.project), **params}))["thread"]["id"]


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Daemon, ScriptedModel]]:
    folder = tmp_path_factory.mktemp("scopes")
    secret = folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    async with ScriptedModel() as model:
        settings: dict[str, object] = {"approval_policy": "on-request"}
        home = make_home(folder / "home", model.url, settings=settings, more=PROFILES)
        options = ("--ws-auth", "signed-bearer-token", "--ws-shared-secret-file", str(secret))
        async with running_daemon(home, options=options) as daemon:
            yield daemon, model


@pytest.fixture
async def house(running: tuple[Daemon, ScriptedModel], tmp_path: Path) -> AsyncIterator[House]:
    daemon, model = running
    model.reset()
    project = tmp_path / "project"
    project.mkdir()
    async with House(daemon, model, project) as house:
        yield house


def _refused(answer: Message, scope: str) -> bool:
    """Whether the answer is the refusal that names this scope."""
    error: Message = answer.get("error") or {}
    named = f"the scope `{scope}`" in str(error.get("message"))
    assert not named or error["code"] == -32600
    return named


def _methods() -> list[ClientRequest[Any, Any]]:
    import_all()
    return [descriptor for descriptor in registered(ClientRequest) if descriptor.method != "initialize"]


async def test_every_method_is_refused_exactly_where_its_kind_is(house: House) -> None:
    """Params are left out, so that nothing happens where the call is allowed; `thread/start` needs none."""
    allowed = {"full": {"read", "act", "shell"}, "no-shell": {"read", "act"}, "observe": {"read"}}
    for scope in SCOPES:
        client = await house.client(scope)
        for descriptor in _methods():
            kind = descriptor.access if isinstance(descriptor.access, str) else "read"
            if descriptor.method == "thread/start" and kind in allowed[scope]:
                continue
            answer = await client.try_call(descriptor.method, {"threadId": "none"})
            assert _refused(answer, scope) is (kind not in allowed[scope]), (descriptor.method, answer)


async def test_a_token_without_a_scope_may_do_everything(house: House) -> None:
    client = await house.client(None)
    answer = await client.call("command/exec", {"command": ["echo", "hi"]})
    assert answer["stdout"] == "hi\n"


@pytest.mark.parametrize("scope", ["admin", "", None, ["full"]])
async def test_a_token_with_an_unknown_scope_may_not_connect(house: House, scope: Any) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with house.daemon.client(Authorization=_token(scope=scope)):
            pass
    assert refusal.value.status == 401
    assert f"its token has the scope {scope!r}" in house.daemon.stderr


# no-shell


async def test_without_a_shell_a_turn_runs_and_its_commands_are_confined(house: House) -> None:
    client = await house.client("no-shell")
    thread = await house.thread(client)
    house.model.script(tool_call("exec_command", {"cmd": "echo in > made; echo out"}), say("done"))
    turn = await run_turn(client, thread)
    assert turn["status"] == "completed"
    assert not (house.project / "made").exists()


REFUSED_CHANGES: list[dict[str, Any]] = [
    {"sandboxPolicy": {"type": "dangerFullAccess"}},
    {"sandboxPolicy": {"type": "externalSandbox"}},
    {"sandboxPolicy": {"type": "workspaceWrite", "writableRoots": ["/"]}},
    {"permissions": ":danger-full-access"},
    {"permissions": "wide"},
    {"approvalPolicy": "never"},
    {"cwd": "/", "permissions": ":workspace"},
]


@pytest.mark.parametrize("change", REFUSED_CHANGES)
async def test_without_a_shell_no_turn_or_thread_can_be_loosened(house: House, change: dict[str, Any]) -> None:
    client, owner = await house.client("no-shell"), await house.client("full")
    thread = await house.thread(client)
    before = await client.call("thread/resume", {"threadId": thread})
    params = {"threadId": thread, **change}
    assert _refused(await client.try_call("thread/settings/update", params), "no-shell")
    assert _refused(await client.try_call("turn/start", {**params, "input": text("hi")}), "no-shell")
    mode = {key: value for key, value in change.items() if key != "sandboxPolicy"}
    if "sandboxPolicy" in change and change["sandboxPolicy"]["type"] == "dangerFullAccess":
        mode["sandbox"] = "danger-full-access"
    if mode:
        for method, more in (
            ("thread/start", {}),
            ("thread/fork", {"threadId": thread}),
        ):
            assert _refused(await client.try_call(method, {**more, **mode}), "no-shell"), method
    after = await client.call("thread/resume", {"threadId": thread})
    for key in ("sandbox", "activePermissionProfile", "approvalPolicy", "cwd"):
        assert after[key] == before[key]
    await owner.call("thread/settings/update", params)


async def test_without_a_shell_a_stored_thread_cannot_be_loosened_as_it_is_loaded(house: House) -> None:
    client, owner = await house.client("no-shell"), await house.client("full")
    thread = await house.thread(owner)
    await owner.call("thread/archive", {"threadId": thread})
    await owner.call("thread/unarchive", {"threadId": thread})
    params = {"threadId": thread, "sandbox": "danger-full-access"}
    assert _refused(await client.try_call("thread/resume", params), "no-shell")
    assert (await client.call("thread/resume", {"threadId": thread}))["sandbox"]["type"] == "readOnly"


@pytest.mark.parametrize(
    "config",
    [
        {"sandbox_mode": "danger-full-access"},
        {"approval_policy": "never"},
        {"default_permissions": "wide"},
        {"permissions": {"mine": {"filesystem": {":root": "write"}}}, "default_permissions": "mine"},
        {"mcp_servers.x.command": "sh"},
        {"features.hooks": True},
        {"model_providers.scripted.base_url": "http://127.0.0.1:1"},
    ],
)
async def test_without_a_shell_the_configuration_cannot_be_loosened(house: House, config: dict[str, Any]) -> None:
    client, owner = await house.client("no-shell"), await house.client("full")
    assert _refused(await client.try_call("thread/start", {"config": config}), "no-shell")
    await owner.call("thread/start", {"config": config, "cwd": str(house.project)})


async def test_without_a_shell_policies_that_are_none_may_be_chosen(house: House) -> None:
    client = await house.client("no-shell")
    thread = await house.thread(client, sandbox="workspace-write", approvalPolicy="untrusted")
    await client.call("thread/settings/update", {"threadId": thread, "permissions": ":read-only"})
    await client.call("thread/settings/update", {"threadId": thread, "permissions": ":workspace"})
    house.model.script(tool_call("exec_command", {"cmd": "echo in > made"}), say("done"))
    params: dict[str, Any] = {"approvalPolicy": "on-request"}
    assert (await run_turn(client, thread, **params))["status"] == "completed"
    assert (house.project / "made").read_text() == "in\n"


async def test_secrets_of_the_configuration_are_not_shown_to_a_narrower_scope(house: House) -> None:
    for scope in SCOPES:
        answer = await (await house.client(scope)).call("config/read", {"includeLayers": True})
        assert answer["config"]["model"] == "mock-model"
        assert ("s3cret" in str(answer)) is (scope == "full")


# observe


async def test_an_observer_sees_a_turn_and_cannot_touch_it(house: House) -> None:
    owner, observer = await house.client("full"), await house.client("observe")
    thread = await house.thread(owner)
    joined = await observer.call("thread/resume", {"threadId": thread, "excludeTurns": True})
    assert joined["thread"]["id"] == thread
    house.model.script(say("hello there"))
    turn_id = await begin(owner, thread)
    turn = await ended(observer, turn_id)
    assert turn["status"] == "completed"
    for method, params in (
        ("turn/start", {"threadId": thread, "input": text("hi")}),
        ("turn/steer", {"threadId": thread, "input": text("hi"), "expectedTurnId": turn_id}),
        ("turn/interrupt", {"threadId": thread, "turnId": turn_id}),
        ("thread/resume", {"threadId": thread, "sandbox": "read-only"}),
        ("thread/name/set", {"threadId": thread, "name": "mine"}),
        ("thread/archive", {"threadId": thread}),
        ("thread/shellCommand", {"threadId": thread, "command": "echo"}),
        ("fs/readFile", {"path": "/etc/hostname"}),
    ):
        assert _refused(await observer.try_call(method, params), "observe"), method
    read = await observer.call("thread/read", {"threadId": thread, "includeTurns": True})
    assert len(read["thread"]["turns"]) == 1
    assert (await observer.call("thread/unsubscribe", {"threadId": thread}))["status"] == "unsubscribed"


async def test_an_observer_is_not_asked_and_does_not_count(house: House) -> None:
    observer = await house.client("observe")
    owner = await house.client("full")
    thread = await house.thread(owner, approvalPolicy="untrusted")
    await observer.call("thread/resume", {"threadId": thread})
    house.model.script(tool_call("exec_command", {"cmd": "echo ran"}), say("done"))
    turn_id = await begin(owner, thread)
    question = await owner.until("item/commandExecution/requestApproval")
    for number in range(5):
        await observer.send({"id": number, "result": {"decision": "accept"}})
    await observer.call("thread/loaded/list", {})
    await owner.respond(question, {"decision": "decline"})
    assert (await ended(owner, turn_id))["status"] == "completed"
    await ended(observer, turn_id)
    told = [message.get("method") for message in observer.received]
    assert "item/commandExecution/requestApproval" not in told
    (item,) = [
        message["params"]["item"]
        for message in observer.notifications("item/completed")
        if message["params"]["item"]["type"] == "commandExecution"
    ]
    assert item["status"] == "declined"


async def test_without_a_shell_an_approval_holds_for_one_command_and_adds_no_rule(house: House) -> None:
    client = await house.client("no-shell")
    thread = await house.thread(client, approvalPolicy="untrusted")
    amendment = {"acceptWithExecpolicyAmendment": {"execpolicy_amendment": ["echo"]}}
    house.model.script(tool_call("exec_command", {"cmd": "echo one"}))
    house.model.script(tool_call("exec_command", {"cmd": "echo two"}))
    house.model.script(say("done"))
    turn_id = await begin(client, thread)
    for decision in (amendment, "decline"):
        question = await client.until("item/commandExecution/requestApproval")
        await client.respond(question, {"decision": decision})
    assert (await ended(client, turn_id))["status"] == "completed"
    items = [
        message["params"]["item"]
        for message in client.notifications("item/completed")
        if message["params"]["item"]["type"] == "commandExecution"
    ]
    assert [item["status"] for item in items] == ["completed", "declined"]


# A capability token with a scope


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_capability_token_has_the_scope_of_its_option(tmp_path: Path, scope: str) -> None:
    home = make_home(tmp_path / "home")
    token = tmp_path / "token"
    token.write_text("open sesame")
    token.chmod(0o600)
    options = ("--ws-auth", "capability-token", "--ws-token-file", str(token), "--ws-token-scope", scope)
    headers = {"Authorization": "Bearer open sesame"}
    async with running_daemon(home, options=options) as daemon, daemon.client(**headers) as client:
        await client.initialize()
        answer = await client.try_call("command/exec", {"command": ["true"]})
        assert _refused(answer, scope) is (scope != "full")
        if scope == "observe":
            with pytest.raises(CallFailed, match="observe"):
                await client.call("thread/start", {})


async def test_on_a_unix_socket_everything_is_allowed(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    async with running_daemon(home, f"unix://{tmp_path}/s") as daemon, daemon.client() as client:
        await client.initialize()
        assert (await client.call("command/exec", {"command": ["echo", "hi"]}))["stdout"] == "hi\n"
