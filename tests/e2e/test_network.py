"""Questions about the network of commands: what is asked, what each answer does, and who is told what."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.e2e.conftest import Shared, networked
from tests.sandbox.backends import BACKENDS
from tests.support.daemon import running_daemon
from tests.support.home import make_home
from tests.support.hosts import hosts_file, needs_hosts
from tests.support.managed import managed_program
from tests.support.networked import (
    DOMAINS,
    HOSTS,
    OPEN,
    REFUSED,
    SETTINGS,
    amendment,
    answer,
    asked,
    done,
    fetch,
    gives_up,
    needs_curl,
    output,
    poll,
    position,
    questions,
    rule,
    rules,
    run,
    session,
    told,
)
from tests.support.scripted_model import Body, Part, ScriptedModel, gate, say
from tests.support.stage import Stage, assert_balanced, begin, ended, run_turn
from tests.support.web import WebServer

pytestmark = [needs_hosts, needs_curl]


@pytest.fixture(scope="module", params=BACKENDS)
async def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    async with networked(tmp_path_factory.mktemp("homes"), request.param) as shared:
        yield shared


def rules_file(stage: Stage) -> str:
    """What the user's rules file says."""
    file = stage.home / "rules" / "default.rules"
    return file.read_text() if file.exists() else ""


# The question


@pytest.mark.parametrize("whose", ["the user's", "an organisation's"])
async def test_the_question_has_the_shape_that_clients_know(tmp_path: Path, web: WebServer, whose: str) -> None:
    managed = whose == "an organisation's"
    system = tmp_path / "system"
    system.mkdir()
    if managed:
        demands = "[experimental_network]\nenabled = true\nallow_local_binding = true\n[experimental_network.domains]\n"
        (system / "requirements.toml").write_text(demands + DOMAINS)
    async with ScriptedModel() as model:
        home = make_home(tmp_path / "home", model.url, settings=SETTINGS, more=OPEN if managed else rules())
        hosts = hosts_file(tmp_path / "hosts", HOSTS)
        async with (
            running_daemon(home, program=managed_program(system), **hosts) as daemon,
            Stage(model, home, tmp_path, daemon) as stage,
        ):
            client = await stage.client()
            thread = await stage.thread(client)
            model.script(run(fetch("n1.test", web.port)))
            turn = await begin(client, thread)
            question = await asked(client)
            await answer(client, question, "accept")
            await ended(client, turn)
            params = question["params"]
            assert params.pop("itemId").startswith(f"network#local#http#n1.test#{web.port}#")
            assert isinstance(params.pop("startedAtMs"), int)
            assert {name: value for name, value in params.items() if value is not None} == {
                "threadId": thread,
                "turnId": turn,
                "kind": "command",
                "environmentId": "local",
                "reason": "Network access to n1.test requires approval",
                "networkApprovalContext": {"host": "n1.test", "protocol": "http"},
                "proposedNetworkPolicyAmendments": [
                    {"host": "n1.test", "action": "allow"},
                    {"host": "n1.test", "action": "deny"},
                ],
                "availableDecisions": ["accept", "acceptForSession", amendment("n1.test"), "cancel"],
            }
            assert web.paths("n1.test") == ["/x"]


async def test_a_listed_host_is_reached_and_nobody_is_asked(stage: Stage, web: WebServer) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(run(fetch("listed.test", web.port)))
    turn = await run_turn(client, thread)
    assert output(stage.model.requests[-1]).endswith("Output:\nserved GET /x\n")
    assert (questions(client), web.paths("listed.test")) == ([], ["/x"])
    assert_balanced(client, turn["id"])


async def test_everybody_is_told_in_order(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(run(fetch(host, web.port)))
    turn = await begin(client, thread)
    question = await asked(client)
    await answer(client, question, "accept")
    await ended(client, turn)
    assert_balanced(client, turn)
    news: list[Any] = []
    for message in client.received:
        match message.get("method"):
            case "thread/status/changed":
                news.append(message["params"]["status"].get("activeFlags"))
            case "item/commandExecution/requestApproval" | "serverRequest/resolved" | "turn/completed":
                news.append(message["method"])
            case _:
                pass
    assert news == [
        [],
        ["waitingOnApproval"],
        "item/commandExecution/requestApproval",
        "serverRequest/resolved",
        [],
        None,
        "turn/completed",
    ]
    item = await done(client)
    assert (item["status"], item["exitCode"], item["aggregatedOutput"]) == ("completed", 0, "served GET /x\n")


# What an answer covers


async def test_once_is_for_one_command(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    for number in range(2):
        stage.model.script(run(f"{fetch(host, web.port, 'a')}; {fetch(host, web.port, 'b')}", f"call_{number}"))
        turn = await begin(client, thread)
        await answer(client, await asked(client, number), "accept")
        await ended(client, turn)
    assert len(questions(client)) == 2
    assert web.paths(host) == ["/a", "/b", "/a", "/b"]


async def test_for_the_session_is_for_this_port_and_protocol(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    async with WebServer() as other:
        attempts = [
            fetch(host, web.port),
            fetch(host, web.port),
            fetch(host, other.port),
            fetch(host, web.port, "x", "-p"),
            fetch(host, web.port, "x", '-x "$ALL_PROXY"'),
            fetch(host, web.port),
        ]
        stage.model.script(*(run(cmd, f"call_{number}") for number, cmd in enumerate(attempts[:1])))
        for number, cmd in enumerate(attempts[1:], 1):
            stage.model.script(run(cmd, f"call_{number}"))
        turn = await begin(client, thread)
        for number in range(4):
            await answer(client, await asked(client, number), "acceptForSession")
        await ended(client, turn)
        contexts = [question["params"]["networkApprovalContext"]["protocol"] for question in questions(client)]
        assert contexts == ["http", "http", "https", "socks5Tcp"]
        assert (len(web.paths(host)), len(other.paths(host))) == (5, 1)


async def test_two_requests_of_one_command_share_a_question(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(run(f"{fetch(host, web.port, '1')} & {fetch(host, web.port, '2')} & wait"))
    turn = await begin(client, thread)
    await answer(client, await asked(client), "accept")
    await ended(client, turn)
    assert len(questions(client)) == 1
    assert sorted(web.paths(host)) == ["/1", "/2"]


async def test_two_commands_at_once_are_asked_about_each_by_itself(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(run(fetch(host, web.port, "1"), "call_1"), run(fetch(host, web.port, "2"), "call_2"))
    turn = await begin(client, thread)
    first, second = await asked(client), await asked(client, 1)
    assert first["params"]["itemId"] != second["params"]["itemId"]
    await answer(client, first, "decline")
    await answer(client, second, "accept")
    await ended(client, turn)
    items = [await done(client, "call_1"), await done(client, "call_2")]
    reached, refused = sorted(items, key=lambda item: item["status"])
    (path,) = web.paths(host)
    assert (reached["status"], reached["aggregatedOutput"]) == ("completed", f"served GET {path}\n")
    assert (refused["status"], refused["exitCode"]) == ("failed", -1)
    assert refused["aggregatedOutput"].endswith(REFUSED)


async def test_a_rule_that_allows_is_kept_and_holds_at_once_for_every_port_and_command(
    stage: Stage, web: WebServer, host: str
) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    go = stage.cwd / "go"
    waits = f"while ! [ -e {go} ]; do sleep 0.02; done; "
    async with WebServer() as other:
        stage.model.script(run(waits + fetch(host, other.port, "runs"), "call_b", yield_time_ms=250))
        stage.model.script(run(fetch(host, web.port)))
        stage.model.script(run(fetch(host, other.port, "later"), "call_l"))
        turn = await begin(client, thread)
        await answer(client, await asked(client), amendment(host))
        await ended(client, turn)
        go.touch()
        assert (await done(client, "call_b"))["status"] == "completed"
        assert (web.paths(host), other.paths(host)) == (["/x"], ["/later", "/runs"])
    assert len(questions(client)) == 1
    line = (
        f'network_rule(host="{host}", protocol="http", decision="allow", justification="Allow http access to {host}")'
    )
    assert line in rules_file(stage).splitlines()
    assert any(host in text for text in told(stage.model.requests[-1]))


async def test_a_rule_that_denies_ends_the_command_and_later_ones_without_a_question(
    stage: Stage, web: WebServer, host: str
) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(run(fetch(host, web.port) + "; sleep 86400", "call_1"))
    stage.model.script(run(fetch(host, web.port + 1) + "; sleep 86400", "call_2"))
    turn = await begin(client, thread)
    await answer(client, await asked(client), amendment(host, "deny"))
    await ended(client, turn)
    assert output(stage.model.requests[1], "call_1").startswith(f"exec_command failed: {REFUSED}")
    denied = "domain is explicitly denied by policy and cannot be approved from this prompt."
    assert f'Network access to "{host}" was blocked: {denied}' in output(stage.model.requests[2], "call_2")
    assert [(await done(client, name))["exitCode"] for name in ("call_1", "call_2")] == [-1, -1]
    assert rule(host, "deny") in rules_file(stage).splitlines()
    assert any(host in text for text in told(stage.model.requests[-1]))
    assert (len(questions(client)), web.paths(host)) == (1, [])


async def test_a_rule_for_another_host_is_a_warning_and_a_refusal(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(run(fetch(host, web.port) + "; sleep 86400"))
    turn = await begin(client, thread)
    await answer(client, await asked(client), amendment("other.test"))
    await ended(client, turn)
    (warning,) = client.notifications("warning")
    assert warning["params"] == {
        "threadId": thread,
        "message": "Failed to apply network policy amendment: network policy amendment host 'other.test' does not "
        f"match approved host '{host}'",
    }
    blocked = f'Network access to "http://{host}:{web.port}" was blocked by policy.'
    assert output(stage.model.requests[-1]).startswith(f"exec_command failed: {blocked}")
    assert "other.test" not in rules_file(stage)


async def test_a_kept_rule_answers_the_questions_of_other_threads_about_the_host(
    stage: Stage, web: WebServer, host: str
) -> None:
    client = await stage.client()
    threads = [await stage.thread(client) for _ in range(2)]
    turns: list[str] = []
    for number, thread in enumerate(threads):
        stage.model.script(run(fetch(host, web.port), f"call_{number}"))
        turns.append(await begin(client, thread))
        await asked(client, number)
    await answer(client, await asked(client, 1), amendment(host))
    for number, turn in enumerate(turns):
        await ended(client, turn)
        assert (await done(client, f"call_{number}"))["aggregatedOutput"] == "served GET /x\n"
    resolved = [message["params"]["requestId"] for message in client.notifications("serverRequest/resolved")]
    assert sorted(resolved) == sorted(question["id"] for question in questions(client))
    assert len(resolved) == 2


# No


async def test_a_no_ends_the_command_and_keeps_its_output(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(run(f"echo so far; {fetch(host, web.port)}; sleep 86400"))
    turn = await begin(client, thread)
    await answer(client, await asked(client), "decline")
    assert (await ended(client, turn))["status"] == "completed"
    item = await done(client)
    assert (item["status"], item["exitCode"]) == ("failed", -1)
    assert item["aggregatedOutput"].startswith("so far\n")
    assert item["aggregatedOutput"].endswith(f"\n{REFUSED}")
    assert output(stage.model.requests[-1]).startswith(f"exec_command failed: {REFUSED}\nOutput:\nso far\n")
    assert_balanced(client, turn)
    assert web.hits == []


async def test_a_no_ends_a_command_in_a_terminal(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(run(f"echo so far; {fetch(host, web.port)}; sleep 86400", tty=True))
    turn = await begin(client, thread)
    await answer(client, await asked(client), "decline")
    await ended(client, turn)
    item = await done(client)
    assert (item["status"], item["exitCode"]) == ("failed", -1)
    assert item["aggregatedOutput"].startswith("so far\r\n")
    assert item["aggregatedOutput"].endswith(f"\n{REFUSED}")
    assert_balanced(client, turn)


async def test_cancel_ends_the_turn_too(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(run(fetch(host, web.port) + "; sleep 86400"))
    turn = await begin(client, thread)
    await answer(client, await asked(client), "cancel")
    assert (await ended(client, turn))["status"] == "interrupted"
    item = await done(client)
    assert (item["status"], item["exitCode"]) == ("failed", -1)
    assert item["aggregatedOutput"].endswith(REFUSED)
    assert_balanced(client, turn, outlived=True)


@pytest.mark.parametrize("reply", [{"error": {"code": -32000, "message": "boom"}}, {"result": {"decision": "zzz"}}])
async def test_an_answer_that_is_none_ends_the_command(
    stage: Stage, web: WebServer, host: str, reply: dict[str, Any]
) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(run(fetch(host, web.port) + "; sleep 86400"))
    turn = await begin(client, thread)
    question = await asked(client)
    await client.send({"id": question["id"], **reply})
    assert (await ended(client, turn))["status"] == "completed"
    assert output(stage.model.requests[-1]).startswith("exec_command failed: approval request failed")
    assert_balanced(client, turn)


async def test_an_interrupt_closes_the_question_before_the_turn_and_ends_the_command(
    stage: Stage, web: WebServer, host: str
) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(run(fetch(host, web.port) + "; sleep 86400"))
    turn = await begin(client, thread)
    question = await asked(client)
    await client.call("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert (await ended(client, turn))["status"] == "interrupted"
    item = await done(client)
    assert (item["status"], item["exitCode"]) == ("failed", -1)
    assert item["aggregatedOutput"].endswith(REFUSED)
    resolved = await client.until("serverRequest/resolved")
    assert resolved["params"] == {"threadId": thread, "requestId": question["id"]}
    (over,) = client.notifications("turn/completed")
    assert position(client, resolved) < position(client, over)
    assert_balanced(client, turn, outlived=True)


async def test_a_program_that_gives_up_ends_its_command(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    bored = stage.cwd / "bored"
    stage.model.script(run(gives_up(fetch(host, web.port), bored)))
    turn = await begin(client, thread)
    question = await asked(client)
    bored.touch()
    await ended(client, turn)
    resolved = await client.until("serverRequest/resolved")
    assert resolved["params"]["requestId"] == question["id"]
    item = await done(client)
    assert (item["status"], item["exitCode"]) == ("failed", -1)
    reason = item["aggregatedOutput"].rpartition("\n")[2]
    assert reason.startswith("Network request disconnected after ")
    assert reason.endswith(" ms, before approval could complete")
    assert reason in output(stage.model.requests[-1])
    assert_balanced(client, turn)


# Commands that run on


async def test_a_denial_while_a_call_polls_is_what_the_poll_says(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    go = stage.cwd / "go"
    waits = f"echo start; while ! [ -e {go} ]; do sleep 0.02; done; echo more; "
    known: list[int] = []

    def wait_for_it(request: Body) -> list[Part]:
        known.append(session(request))
        go.touch()
        return [poll(known[0], "call_p", yield_time_ms=60_000)]

    stage.model.script(run(waits + fetch(host, web.port) + "; sleep 86400", yield_time_ms=250))
    stage.model.script(wait_for_it)
    stage.model.script(lambda _: [poll(known[0], "call_q")])
    turn = await begin(client, thread)
    await answer(client, await asked(client), "decline")
    await ended(client, turn)
    failed = output(stage.model.requests[-2], "call_p")
    assert failed.startswith(f"write_stdin failed: Unified exec process failed: {REFUSED}\nOutput:\n")
    # Whether the first call saw the beginning depends on how fast the machine is.
    begun = output(stage.model.requests[1]).partition("Output:\n")[2]
    assert (begun + failed.partition("Output:\n")[2]).startswith("start\nmore\n")
    assert output(stage.model.requests[-1], "call_q") == f"write_stdin failed: Unknown process id {known[0]}"
    item = await done(client)
    assert (item["status"], item["exitCode"]) == ("failed", -1)
    assert item["aggregatedOutput"].startswith("start\nmore\n")
    assert item["aggregatedOutput"].endswith(f"\n{REFUSED}")
    assert_balanced(client, turn)


async def test_a_denial_between_two_calls_is_what_the_next_poll_says(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    go, thinks = stage.cwd / "go", anyio.Event()
    waits = f"while ! [ -e {go} ]; do sleep 0.02; done; "
    stage.model.script(run(waits + fetch(host, web.port) + "; sleep 86400", yield_time_ms=250))
    stage.model.script(lambda request: [gate(thinks), poll(session(request))])
    stage.model.script(lambda request: [poll(session(request), "call_q")])
    turn = await begin(client, thread)
    await stage.model.wait_for_requests(2)
    go.touch()
    await answer(client, await asked(client), "decline")
    item = await done(client)
    assert (item["status"], item["exitCode"]) == ("failed", -1)
    assert item["aggregatedOutput"].endswith(REFUSED)
    thinks.set()
    await ended(client, turn)
    failed = output(stage.model.requests[-2], "call_p")
    assert failed.startswith(f"write_stdin failed: Unified exec process failed: {REFUSED}")
    assert "Unknown process id" in output(stage.model.requests[-1], "call_q")
    assert_balanced(client, turn)


async def test_after_the_turn_nobody_is_asked_and_the_command_ends_by_itself(
    stage: Stage, web: WebServer, host: str
) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    go = stage.cwd / "go"
    waits = f"echo start; while ! [ -e {go} ]; do sleep 0.02; done; "
    stage.model.script(run(waits + fetch(host, web.port) + "; sleep 86400", yield_time_ms=250))
    turn = await run_turn(client, thread)
    go.touch()
    item = await done(client)
    blocked = f'Network access to "http://{host}:{web.port}" was blocked by policy.'
    assert (item["status"], item["exitCode"]) == ("failed", -1)
    assert item["aggregatedOutput"].startswith("start\n")
    assert item["aggregatedOutput"].endswith(f"\n{blocked}")
    assert (questions(client), web.hits) == ([], [])
    assert (await client.call("thread/backgroundTerminals/list", {"threadId": thread}))["data"] == []
    assert_balanced(client, turn["id"], outlived=True)


async def test_a_question_that_is_open_when_the_turn_ends_is_closed(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    go, thinks = stage.cwd / "go", anyio.Event()
    waits = f"while ! [ -e {go} ]; do sleep 0.02; done; "
    stage.model.script(run(waits + fetch(host, web.port) + "; sleep 86400", yield_time_ms=250))
    stage.model.script(gate(thinks), say("done"))
    turn = await begin(client, thread)
    await stage.model.wait_for_requests(2)
    go.touch()
    question = await asked(client)
    thinks.set()
    await ended(client, turn)
    item = await done(client)
    blocked = f'Network access to "http://{host}:{web.port}" was blocked by policy.'
    assert (item["status"], item["exitCode"]) == ("failed", -1)
    assert item["aggregatedOutput"].endswith(blocked)
    resolved = await client.until("serverRequest/resolved")
    assert resolved["params"]["requestId"] == question["id"]


async def test_a_command_of_an_earlier_turn_asks_in_the_one_that_runs(stage: Stage, web: WebServer, host: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    go, thinks = stage.cwd / "go", anyio.Event()
    waits = f"while ! [ -e {go} ]; do sleep 0.02; done; "
    stage.model.script(run(waits + fetch(host, web.port), yield_time_ms=250))
    await run_turn(client, thread)
    stage.model.script(gate(thinks), say("done"))
    turn = await begin(client, thread)
    go.touch()
    question = await asked(client)
    assert question["params"]["turnId"] == turn
    await answer(client, question, "accept")
    assert (await done(client))["aggregatedOutput"] == "served GET /x\n"
    thinks.set()
    await ended(client, turn)


@pytest.mark.parametrize("how", ["thread/delete", "thread/archive"])
@pytest.mark.parametrize("where", ["in the call", "in the background"])
async def test_a_question_is_closed_when_its_thread_is(
    stage: Stage, web: WebServer, host: str, how: str, where: str
) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    cmd = fetch(host, web.port) + "; sleep 86400"
    stage.model.script(run(cmd if where == "in the call" else f"sleep 0.3; {cmd}", yield_time_ms=250))
    stage.model.script(gate(anyio.Event()))
    turn = await begin(client, thread)
    question = await asked(client)
    await client.call(how, {"threadId": thread})
    assert (await client.until("serverRequest/resolved"))["params"]["requestId"] == question["id"]
    assert (await ended(client, turn))["status"] == "interrupted"
    assert (await done(client))["status"] == "failed"
    assert_balanced(client, turn, outlived=True)


async def test_a_daemon_that_is_stopped_while_it_asks_ends_the_command(tmp_path: Path) -> None:
    async with ScriptedModel() as model:
        home = make_home(tmp_path / "home", model.url, settings=SETTINGS, more=rules())
        async with running_daemon(home) as daemon, Stage(model, home, tmp_path, daemon) as stage:
            client = await stage.client()
            thread = await stage.thread(client)
            model.script(run(fetch("n1.test", 80) + "; sleep 86400"))
            await begin(client, thread)
            question = await asked(client)
            assert await daemon.stop() == 0
            assert (await client.until("serverRequest/resolved"))["params"]["requestId"] == question["id"]
            assert (await done(client))["status"] == "failed"
            assert "Traceback" not in daemon.stderr
        async with running_daemon(home) as daemon, daemon.client() as again:
            await again.initialize()
            (turn,) = (await again.call("thread/read", {"threadId": thread, "includeTurns": True}))["thread"]["turns"]
            assert turn["status"] == "interrupted"
            assert [item["status"] for item in turn["items"] if item["type"] == "commandExecution"] == ["failed"]


# Several clients


async def test_the_first_answer_counts_and_the_other_client_is_told(stage: Stage, web: WebServer, host: str) -> None:
    client, other = await stage.client(), await stage.client("other")
    thread = await stage.thread(client)
    await other.call("thread/resume", {"threadId": thread})
    stage.model.script(run(fetch(host, web.port)))
    turn = await begin(client, thread)
    first, second = await asked(client), await asked(other)
    assert first == second
    await answer(other, second, "accept")
    for one in (client, other):
        resolved = await one.until("serverRequest/resolved")
        assert resolved["params"] == {"threadId": thread, "requestId": first["id"]}
    await answer(client, first, "decline")
    await ended(client, turn)
    assert (await done(client))["status"] == "completed"
    assert web.paths(host) == ["/x"]


async def test_a_client_that_leaves_and_comes_back_finds_the_question_again(
    stage: Stage, web: WebServer, host: str
) -> None:
    watching = await stage.client("watching")
    async with stage.daemon.client() as leaving:
        await leaving.initialize("leaving")
        thread = await stage.thread(leaving)
        stage.model.script(run(fetch(host, web.port)))
        turn = await begin(leaving, thread)
        question = await asked(leaving)
    client = await stage.client("back")
    await client.call("thread/resume", {"threadId": thread})
    again = await asked(client)
    assert again == question
    assert questions(watching) == []
    await answer(client, again, "accept")
    await ended(client, turn)
    assert (await done(client))["aggregatedOutput"] == "served GET /x\n"
