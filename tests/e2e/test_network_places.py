"""The managed network in each place where commands run, and what its rules say there."""

import base64
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from tests.e2e.conftest import Shared, networked
from tests.sandbox.backends import BACKENDS
from tests.support.daemon import running_daemon
from tests.support.home import make_home
from tests.support.hosts import hosts_file, needs_hosts
from tests.support.networked import (
    HOSTS,
    SETTINGS,
    answer,
    asked,
    done,
    fetch,
    needs_curl,
    output,
    questions,
    rule,
    rules,
    run,
)
from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import ScriptedModel, gate, say
from tests.support.stage import Stage, assert_balanced, begin, ended, run_turn
from tests.support.web import WebServer

pytestmark = [needs_hosts, needs_curl]

NO_SANDBOX = {"sandbox": "danger-full-access"}
DENIED = (
    'Network access to "denied.test" was blocked: domain is explicitly denied by policy and cannot be approved from '
    "this prompt."
)
LOCAL = "was blocked: local/private network addresses are blocked by the sandbox policy."


@asynccontextmanager
async def stage_with(folder: Path, more: str) -> AsyncGenerator[Stage]:
    """A stage of its own with these rules."""
    async with ScriptedModel() as model:
        home = make_home(folder / "home", model.url, settings=SETTINGS, more=more)
        cwd = folder / "project"
        cwd.mkdir()
        async with (
            running_daemon(home, **hosts_file(folder / "hosts", HOSTS)) as daemon,
            Stage(model, home, cwd, daemon) as stage,
        ):
            yield stage


@pytest.fixture(scope="module", params=BACKENDS)
async def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    async with networked(tmp_path_factory.mktemp("homes"), request.param) as shared:
        yield shared


async def outcome(stage: Stage, client: RpcClient, cmd: str, **params: Any) -> tuple[Message, str]:
    """The item of a command in a new thread, and what the model is told of it."""
    thread = await stage.thread(client, **params)
    call = f"call_{len(stage.model.requests)}"
    stage.model.script(run(cmd, call))
    turn = await run_turn(client, thread)
    assert_balanced(client, turn["id"])
    return await done(client, call), output(stage.model.requests[-1], call)


# What the rules say


async def test_where_the_policy_is_never_to_ask_an_unlisted_host_ends_the_command(
    stage: Stage, web: WebServer, host: str
) -> None:
    client = await stage.client()
    item, told = await outcome(stage, client, fetch(host, web.port) + "; sleep 86400", approvalPolicy="never")
    blocked = f'Network access to "http://{host}:{web.port}" was blocked by policy.'
    assert (item["status"], item["exitCode"]) == ("failed", -1)
    assert item["aggregatedOutput"].endswith(blocked)
    assert told.startswith(f"exec_command failed: {blocked}")
    assert (questions(client), web.hits) == ([], [])


@pytest.mark.parametrize("name", ["denied.test", "DENIED.Test", "denied.test.", "Denied.TEST."])
async def test_a_denied_host_ends_the_command_however_it_is_written(stage: Stage, web: WebServer, name: str) -> None:
    client = await stage.client()
    item, told = await outcome(stage, client, f"echo so far; {fetch(name, web.port)}; sleep 86400")
    assert (item["status"], item["exitCode"]) == ("failed", -1)
    assert item["aggregatedOutput"].startswith("so far\n")
    assert item["aggregatedOutput"].endswith(f"\n{DENIED}")
    assert told.startswith(f"exec_command failed: {DENIED}\nOutput:\nso far\n")
    assert (questions(client), web.hits) == ([], [])


async def test_a_pattern_is_for_what_is_below_and_not_for_the_name_itself(stage: Stage, web: WebServer) -> None:
    client = await stage.client()
    hosts = ("a.wild.test", "b.a.wild.test", "LISTED.test.")
    item, _ = await outcome(stage, client, "; ".join(fetch(host, web.port) for host in hosts))
    assert (item["aggregatedOutput"], questions(client)) == ("served GET /x\n" * 3, [])
    thread = await stage.thread(client)
    stage.model.script(run(fetch("wild.test", web.port), "call_apex"))
    turn = await begin(client, thread)
    await answer(client, await asked(client), "decline")
    await ended(client, turn)
    assert (await done(client, "call_apex"))["status"] == "failed"


async def test_local_addresses_are_out_of_reach_by_number_and_by_name(tmp_path: Path, web: WebServer) -> None:
    async with stage_with(tmp_path, rules().replace("allow_local_binding = true", "")) as stage:
        client = await stage.client()
        for host in ("127.0.0.1", "localhost", "10.1.2.3", "[::1]", "0x7f.1", "listed.test"):
            item, told = await outcome(stage, client, fetch(host, web.port) + "; sleep 86400")
            assert item["exitCode"] == -1, host
            assert LOCAL in told, host
        assert (questions(client), web.hits) == ([], [])


async def test_a_local_address_that_is_listed_itself_is_in_reach(tmp_path: Path, web: WebServer) -> None:
    more = rules().replace("allow_local_binding = true", "") + '"127.0.0.1" = "allow"\n'
    async with stage_with(tmp_path, more) as stage:
        client = await stage.client()
        item, _ = await outcome(stage, client, fetch("127.0.0.1", web.port))
        assert item["aggregatedOutput"] == "served GET /x\n"


async def test_in_limited_mode_reading_goes_and_writing_ends_the_command(tmp_path: Path, web: WebServer) -> None:
    async with stage_with(tmp_path, rules('mode = "limited"')) as stage:
        client = await stage.client()
        variables = (
            "for name in CURL_CA_BUNDLE SSL_CERT_FILE PIP_CERT; do [ -r $(printenv $name) ] || echo $name; done; "
        )
        item, _ = await outcome(stage, client, variables + fetch("listed.test", web.port))
        assert (item["status"], item["aggregatedOutput"]) == ("completed", "served GET /x\n")
        item, told = await outcome(stage, client, fetch("listed.test", web.port, "x", "-d a=b") + "; sleep 86400")
        reason = 'Network access to "listed.test" was blocked: request method is blocked by the current network mode.'
        assert (item["status"], item["exitCode"]) == ("failed", -1)
        assert item["aggregatedOutput"].endswith(reason)
        assert told.startswith(f"exec_command failed: {reason}")
        by_socks = fetch("listed.test", web.port, "x", '-x "socks5h://${HTTP_PROXY#http://}"')
        item, told = await outcome(stage, client, by_socks + "; sleep 86400")
        assert item["exitCode"] == -1
        assert [method for method, _, _ in web.hits] == ["GET"]


async def test_learn_mode_lets_everything_through_and_tells_the_rules(tmp_path: Path, web: WebServer) -> None:
    async with stage_with(tmp_path, rules("learn = true")) as stage:
        client = await stage.client()
        item, _ = await outcome(stage, client, fetch("n1.test", web.port))
        assert item["aggregatedOutput"] == "served GET /x\n"
        (warning,) = client.notifications("warning")
        line = rule("n1.test")
        assert warning["params"]["message"].splitlines()[1:] == [line]
        listed = await client.call("turnloom/network/decisions/list", {})
        assert (listed["data"][0]["host"], listed["suggestedRules"]) == ("n1.test", [line])
        item, told = await outcome(stage, client, fetch("denied.test", web.port) + "; sleep 86400")
        assert told.startswith(f"exec_command failed: {DENIED}")


async def test_python_reaches_what_is_listed_and_ends_with_what_is_denied(stage: Stage, web: WebServer) -> None:
    client = await stage.client()
    script = (
        "import sys, urllib.request; "
        f"print(urllib.request.urlopen('http://' + sys.argv[1] + ':{web.port}/x').read().decode(), end='')"
    )
    item, _ = await outcome(stage, client, f'{sys.executable} -I -c "{script}" listed.test')
    assert item["aggregatedOutput"] == "served GET /x\n"
    item, told = await outcome(stage, client, f'{sys.executable} -I -c "{script}" denied.test')
    assert told.startswith(f"exec_command failed: {DENIED}")
    assert item["exitCode"] == -1


# The call of the model


async def test_a_call_waits_as_long_as_the_question_about_its_command(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    asking = run(fetch(host, web.port, "1"), "call_1", yield_time_ms=2_000)
    stage.model.script(asking, run("sleep 2.5; echo awake", "call_2"))
    turn = await begin(client, thread)
    question = await asked(client)
    # By now the call would long have come back without an answer.
    await done(client, "call_2")
    await answer(client, question, "accept")
    await ended(client, turn)
    assert "Process exited with code 0" in output(stage.model.requests[-1], "call_1")
    assert len(web.paths(host)) == 1


# Outside the sandbox


async def test_with_full_access_there_is_no_proxy(stage: Stage, web: WebServer) -> None:
    client = await stage.client()
    direct = f"env | grep -ci proxy; {fetch('127.0.0.1', web.port)}"
    item, _ = await outcome(stage, client, direct, **NO_SANDBOX)
    assert (item["aggregatedOutput"], questions(client)) == ("0\nserved GET /x\n", [])


async def test_an_escalated_command_has_no_proxy(stage: Stage, web: WebServer) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    direct = f"env | grep -ci proxy; {fetch('127.0.0.1', web.port)}"
    stage.model.script(run(direct, sandbox_permissions="require_escalated", justification="May I?"))
    turn = await begin(client, thread)
    question = await client.until("item/commandExecution/requestApproval")
    assert question["params"]["networkApprovalContext"] is None
    await answer(client, question, "accept")
    await ended(client, turn)
    assert (await done(client))["aggregatedOutput"] == "0\nserved GET /x\n"


# The user's own commands


async def shell(client: RpcClient, thread: str, command: str) -> Message:
    """The item of a command that the user runs in a thread, once it has started."""
    before = len(client.notifications("item/started"))
    await client.call("thread/shellCommand", {"threadId": thread, "command": command})
    message = await client.wait_for(
        lambda message: (
            message.get("method") == "item/started"
            and message["params"]["item"].get("source") == "userShell"
            and message in client.notifications("item/started")[before:]
        )
    )
    return message["params"]["item"]


async def test_a_command_of_the_user_goes_by_the_proxy_and_a_denial_ends_it(
    stage: Stage, web: WebServer, host: str
) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    item = await shell(client, thread, fetch("listed.test", web.port))
    assert (await done(client, item["id"]))["aggregatedOutput"] == "served GET /x\n"
    await client.until("turn/completed")
    item = await shell(client, thread, f"echo so far; {fetch('denied.test', web.port)}; sleep 86400")
    ended_item = await done(client, item["id"])
    assert (ended_item["status"], ended_item["exitCode"]) == ("failed", -1)
    assert ended_item["aggregatedOutput"].startswith("so far\n")
    assert ended_item["aggregatedOutput"].endswith(f"\n{DENIED}")
    await client.until("turn/completed")
    item = await shell(client, thread, fetch(host, web.port) + "; sleep 86400")
    await answer(client, await asked(client), "decline")
    ended_item = await done(client, item["id"])
    assert (ended_item["status"], ended_item["exitCode"]) == ("failed", -1)
    assert ended_item["aggregatedOutput"].endswith("rejected by user")
    assert web.hits == [("GET", f"listed.test:{web.port}", "/x")]


async def test_a_command_of_the_user_inside_a_turn_asks_in_that_turn(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    thinks = anyio.Event()
    stage.model.script(gate(thinks), say("done"))
    turn = await begin(client, thread)
    await stage.model.wait_for_requests(1)
    item = await shell(client, thread, fetch(host, web.port))
    question = await asked(client)
    assert question["params"]["turnId"] == turn
    await answer(client, question, "accept")
    assert (await done(client, item["id"]))["aggregatedOutput"] == "served GET /x\n"
    thinks.set()
    await ended(client, turn)
    assert_balanced(client, turn)


async def test_an_interrupt_ends_a_command_of_the_user_that_waits_for_an_answer(
    stage: Stage, web: WebServer, host: str
) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    item = await shell(client, thread, fetch(host, web.port) + "; sleep 86400")
    question = await asked(client)
    turn = question["params"]["turnId"]
    await client.call("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert (await ended(client, turn))["status"] == "interrupted"
    assert (await done(client, item["id"]))["status"] == "failed"
    assert (await client.until("serverRequest/resolved"))["params"]["requestId"] == question["id"]
    assert_balanced(client, turn)


# The commands of clients


async def execute(client: RpcClient, cmd: str, **params: Any) -> Message:
    return await client.call("command/exec", {"command": ["bash", "-c", cmd], **params})


async def test_a_clients_command_gets_its_refusal_and_runs_on(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    result = await execute(
        client, f"{fetch('listed.test', web.port)}; {fetch(host, web.port, 'x', '-i')}; echo; exit 3"
    )
    assert result["exitCode"] == 3
    served, _, refusal = result["stdout"].partition("\n")
    assert served == "served GET /x"
    head, _, body = refusal.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 403 ")
    assert "x-proxy-error: blocked-by-allowlist" in head.lower()
    decided = orjson.loads(body)
    assert {name: decided[name] for name in ("status", "host", "reason", "decision", "source", "protocol", "port")} == {
        "status": "blocked",
        "host": host,
        "reason": "not_allowed",
        "decision": "ask",
        "source": "decider",
        "protocol": "http",
        "port": web.port,
    }
    assert client.notifications("thread/status/changed") == []
    assert questions(client) == []


async def test_a_refused_command_of_a_client_still_times_out(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    result = await execute(client, f"{fetch(host, web.port)}; echo; echo on; sleep 86400", timeoutMs=2500)
    assert (result["exitCode"], result["stdout"].splitlines()[-1]) == (124, "on")
    assert "not_allowed" in result["stdout"]


async def test_a_clients_command_with_full_access_is_led_to_the_proxy(stage: Stage, web: WebServer) -> None:
    client = await stage.client()
    policy = {"sandboxPolicy": {"type": "dangerFullAccess"}}
    result = await execute(client, f"{fetch('listed.test', web.port)}; {fetch('denied.test', web.port)}", **policy)
    assert result["stdout"].startswith("served GET /x\n")
    assert '"reason":"denied"' in result["stdout"]


@pytest.mark.parametrize("how", ["buffered", "streamed", "tty"])
async def test_a_denial_ends_a_clients_command_where_that_is_wanted(tmp_path: Path, web: WebServer, how: str) -> None:
    async with stage_with(tmp_path, rules('on_denial = "terminate"')) as stage:
        client = await stage.client()
        streamed: dict[str, Any] = {} if how == "buffered" else {"processId": "p", "streamStdoutStderr": True}
        cmd = f"echo so far; {fetch('denied.test', web.port)}; sleep 86400"
        result = await execute(client, cmd, disableTimeout=True, tty=how == "tty", **streamed)
        assert result["exitCode"] == (1 if how == "tty" else 137)
        texts = {"stdout": result["stdout"], "stderr": result["stderr"]}
        for told in client.notifications("command/exec/outputDelta"):
            texts[told["params"]["stream"]] += base64.b64decode(told["params"]["deltaBase64"]).decode()
        assert texts["stdout"].startswith("so far")
        assert texts["stdout" if how == "tty" else "stderr"].strip().endswith(DENIED)


async def test_a_timeout_of_a_clients_command_is_no_denial(tmp_path: Path, web: WebServer) -> None:
    async with stage_with(tmp_path, rules('on_denial = "terminate"')) as stage:
        client = await stage.client()
        result = await execute(client, fetch("listed.test", web.port) + "; sleep 86400", timeoutMs=2500)
        assert (result["exitCode"], result["stdout"], result["stderr"]) == (124, "served GET /x\n", "")
