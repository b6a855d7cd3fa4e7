"""Automatic reviews of the network of commands: who decides about a connection, and what its end has to say."""

import sys
from collections.abc import AsyncIterator

import anyio
import orjson
import pytest

from tests.e2e.conftest import Shared
from tests.support.networked import done, gives_up, position
from tests.support.reviews import (
    COMPLETED,
    SETTINGS,
    Roles,
    command,
    deny,
    output,
    ran,
    reviews,
    shown,
    statuses,
    warnings,
)
from tests.support.scripted_model import ScriptedModel, gate, say
from tests.support.stage import Stage, assert_balanced, begin, ended, run_turn

MORE = "[features.network_proxy]\nenabled = true\n[sandbox_workspace_write]\nnetwork_access = true"
HOST = "unlisted.invalid"


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    async with (
        ScriptedModel() as model,
        Shared(tmp_path_factory.mktemp("homes"), model, settings=SETTINGS, more=MORE) as shared,
    ):
        yield shared


def reach() -> str:
    """A command line that asks the host for something."""
    script = f"import urllib.request as r; r.urlopen('http://{HOST}/secret-path')"
    return f'{sys.executable} -c "{script}"'


def later(stage: Stage, line: str, name: str = "go") -> str:
    """A command line that does something once a file is there."""
    return f"while ! [ -e {stage.cwd / name} ]; do sleep 0.02; done; {line}"


async def test_a_connection_of_a_command_is_reviewed_and_a_denial_ends_the_command(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    line = f"{reach()} || touch went-on"
    roles.agent(command(line))
    roles.reviewer(deny("The task needs no network."))
    turn = await begin(client, thread)
    await ended(client, turn)
    (params,) = [told["params"] for told in client.notifications(COMPLETED)]
    assert params["targetItemId"] is None
    assert params["turnId"] == turn
    assert params["action"] == {
        "type": "networkAccess",
        "target": f"http://{HOST}:80",
        "host": HOST,
        "protocol": "http",
        "port": 80,
    }
    assert not ran(stage, "went-on")
    assert statuses(client) == ["failed"]
    assert "Reason: The task needs no network." in output(roles.turns[-1])
    request = shown(roles.reviews[0])
    planned = orjson.loads(request.partition("Network access JSON:\n")[2].rpartition(">>>")[0])
    assert planned["trigger"]["command"][-1] == line
    permissions = request.partition("AGENT PERMISSIONS START\n")[2].partition(">>>")[0]
    assert "The network is managed" in permissions
    assert "reachable" not in permissions
    # An approval lets this command out, and no other one: the next is reviewed again.
    for _ in range(2):
        roles.agent(command(line))
        await run_turn(client, thread)
    assert reviews(client) == ["denied", "approved", "approved"]
    assert ran(stage, "went-on")


async def test_the_end_of_the_turn_aborts_a_review_for_a_command_that_runs_on(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    thinks = anyio.Event()
    roles.agent(command(later(stage, f"{reach()}; sleep 86400"), yield_time_ms=250))
    roles.agent(gate(thinks), say("done"))
    roles.reviewer(gate(anyio.Event()))
    turn = await begin(client, thread)
    await stage.model.wait_for_requests(2)
    (stage.cwd / "go").touch()
    await stage.model.wait_for_requests(3)
    thinks.set()
    await ended(client, turn)
    item = await done(client, "call_c")
    assert (item["status"], item["exitCode"]) == ("failed", -1)
    assert item["aggregatedOutput"].endswith(f'Network access to "http://{HOST}:80" was blocked by policy.')
    (told,), (over,) = client.notifications(COMPLETED), client.notifications("turn/completed")
    assert told["params"]["review"]["status"] == "aborted"
    assert position(client, told) < position(client, over)
    assert warnings(client) == []


async def test_a_program_that_does_not_wait_for_its_review_ends_its_command(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    bored = stage.cwd / "bored"
    roles.agent(command(gives_up(reach(), bored)))
    roles.reviewer(gate(anyio.Event()))
    turn = await begin(client, thread)
    await stage.model.wait_for_requests(2)
    bored.touch()
    await ended(client, turn)
    assert_balanced(client, turn)
    assert reviews(client) == ["aborted"]
    assert statuses(client) == ["failed"]
    assert "before approval could complete" in output(roles.turns[-1])


async def test_the_denial_that_ends_the_turn_is_why_its_command_ends(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    for number in range(3):
        line = later(stage, f"{reach()}; sleep 86400", f"go{number}")
        roles.agent(command(line, f"call_{number}", yield_time_ms=250))
        roles.reviewer(deny(f"No, {number}."))
    roles.agent(gate(anyio.Event()))
    turn = await begin(client, thread)
    await stage.model.wait_for_requests(4)
    for number in range(3):
        (stage.cwd / f"go{number}").touch()
        assert f"Reason: No, {number}." in (await done(client, f"call_{number}"))["aggregatedOutput"]
    assert (await ended(client, turn))["status"] == "interrupted"
    assert warnings(client)[-1].endswith("(3 consecutive, 3 in the last 50 reviews); interrupting the turn.")


async def test_the_reviewer_is_told_which_commands_the_user_has_typed(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    roles.reviewer(deny("It leaks."))
    await client.call("thread/shellCommand", {"threadId": thread, "command": f"{reach()}; sleep 86400"})
    await client.until("turn/completed")
    assert "The user has typed that command; it is none of the agent's." in shown(roles.reviews[0])
    assert statuses(client) == ["failed"]
