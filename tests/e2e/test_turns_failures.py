"""What clients are told when the model's server fails, and how often it is asked again."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import Part, drop, end, failed, gate, partial, raw, say, status, tool_call
from tests.support.stage import (
    Stage,
    assert_balanced,
    begin,
    completed_items,
    ended,
    run_turn,
    set_stage,
)


def providers(url: str) -> str:
    """Further providers on the same server: one that retries streams, one that retries requests, one impatient."""
    common = f'base_url = "{url}"\nwire_api = "responses"\n'
    return (
        f'[model_providers.patient]\nname = "patient"\n{common}stream_max_retries = 2\nrequest_max_retries = 0\n'
        f'[model_providers.asking]\nname = "asking"\n{common}stream_max_retries = 0\nrequest_max_retries = 2\n'
        f'[model_providers.hasty]\nname = "hasty"\n{common}stream_max_retries = 1\nrequest_max_retries = 0\n'
        "stream_idle_timeout_ms = 200\n"
        f'[model_providers.keyed]\nname = "keyed"\n{common}env_key = "A_KEY_THAT_IS_NOT_SET"\n'
        '[model_providers.nowhere]\nname = "nowhere"\nbase_url = "http://127.0.0.1:9/v1"\nwire_api = "responses"\n'
        "stream_max_retries = 1\nrequest_max_retries = 0\n"
    )


def errors(client: RpcClient, turn_id: str) -> list[Message]:
    return [m["params"] for m in client.notifications("error") if m["params"]["turnId"] == turn_id]


@pytest.mark.parametrize(
    ("answer", "info"),
    [
        (status(500), "internalServerError"),
        (status(503), "serverOverloaded"),
        (status(502), {"responseTooManyFailedAttempts": {"httpStatusCode": 502}}),
        (status(400, {"error": {"message": "bad thing", "type": "invalid_request_error"}}), "badRequest"),
        (status(400, {"error": {"message": "too long", "code": "context_length_exceeded"}}), "contextWindowExceeded"),
        (status(401), "unauthorized"),
        (status(403), "unauthorized"),
        (status(404), {"httpConnectionFailed": {"httpStatusCode": 404}}),
        (status(404, {"error": {"message": "no such", "code": "model_not_found"}}), "modelNotFound"),
        (status(429), {"responseTooManyFailedAttempts": {"httpStatusCode": 429}}),
        (status(429, {"error": {"type": "usage_limit_reached", "message": "limit"}}), "usageLimitExceeded"),
        (drop(), {"responseStreamDisconnected": {"httpStatusCode": None}}),
        ([*partial("half"), *drop()], {"responseStreamDisconnected": {"httpStatusCode": None}}),
        ([*partial("half"), *end()], {"responseStreamDisconnected": {"httpStatusCode": None}}),
        (failed("context_length_exceeded", "ctx"), "contextWindowExceeded"),
        (failed("rate_limit_exceeded", "Please try again in 0.01s"), "rateLimitExceeded"),
        (failed("insufficient_quota", "pay"), "usageLimitExceeded"),
        (failed("server_is_overloaded", "busy"), "serverOverloaded"),
    ],
)
async def test_a_failure_of_the_model_fails_the_turn_with_its_kind(stage: Stage, answer: Part, info: Any) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.default = [answer]
    turn_id = await begin(client, thread)
    turn = await ended(client, turn_id)
    assert turn["status"] == "failed"
    assert turn["error"]["codexErrorInfo"] == info
    assert turn["error"]["message"]
    assert_balanced(client, turn_id)
    assert errors(client, turn_id) == [
        {"threadId": thread, "turnId": turn_id, "willRetry": False, "error": turn["error"]}
    ]
    read = await client.call("thread/read", {"threadId": thread, "includeTurns": True})
    assert read["thread"]["status"] == {"type": "systemError"}
    assert read["thread"]["turns"][0]["error"] == turn["error"]
    stage.model.default = [say("well again")]
    assert (await run_turn(client, thread))["status"] == "completed"
    read = await client.call("thread/read", {"threadId": thread})
    assert read["thread"]["status"] == {"type": "idle"}


async def test_a_text_that_was_cut_off_stays_visible_when_the_turn_fails(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(partial("half a mess"), drop())
    turn = await run_turn(client, thread)
    assert [item.get("text") for item in completed_items(client, turn["id"])] == [None, "half a mess"]


async def test_an_unreadable_stream_does_not_hang_the_turn(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(raw(b"data: {not json}\n\n"), raw(b"event: nonsense\ndata: []\n\n"), say("fine"))
    turn = await run_turn(client, thread)
    assert turn["status"] in ("completed", "failed")
    assert_balanced(client, turn["id"])


async def test_a_call_without_a_name_fails_the_turn_and_leaves_the_thread_usable(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(lambda _: [[*tool_call("", "{}", "")], [*tool_call("exec_command", "{}", "c")]])
    turn = await run_turn(client, thread)
    assert turn["status"] in ("completed", "failed")
    assert (await run_turn(client, thread))["status"] == "completed"


@pytest.mark.parametrize("name", ["nothing_like_that", "exec_command"])
@pytest.mark.parametrize("arguments", ["{", "[]", '{"cmd": 5}', "{}", '{"cmd": "true", "yield_time_ms": -1}'])
async def test_a_wrong_tool_call_is_answered_and_the_turn_goes_on(stage: Stage, name: str, arguments: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(tool_call(name, arguments, "call_w"))
    turn = await run_turn(client, thread)
    assert turn["status"] == "completed"
    output = stage.model.requests[1]["input"][-1]
    assert (output["type"], output["call_id"]) == ("function_call_output", "call_w")
    assert ("unsupported call: nothing_like_that" if name.startswith("n") else "failed") in output["output"]


@pytest.fixture(scope="module")
async def patient(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with set_stage(tmp_path_factory.mktemp("patient"), more=providers) as stage:
        yield stage


Failure = Callable[[], Part]


@pytest.mark.parametrize("failure", [drop, lambda: [*partial("half"), *drop()], lambda: status(429)])
async def test_a_broken_stream_is_tried_again_and_the_turn_completes(patient: Stage, failure: Failure) -> None:
    patient.model.reset()
    client = await patient.client()
    thread = await patient.thread(client, modelProvider="patient")
    patient.model.script(failure())
    patient.model.script(failure())
    patient.model.script(say("at last"))
    turn = await run_turn(client, thread)
    assert turn["status"] == "completed"
    assert_balanced(client, turn["id"])
    told = errors(client, turn["id"])
    assert [(error["willRetry"], error["error"]["message"]) for error in told] == [
        (True, "Reconnecting... 1/2"),
        (True, "Reconnecting... 2/2"),
    ]
    assert all("responseStreamDisconnected" in error["error"]["codexErrorInfo"] for error in told)
    assert len(patient.model.requests) == 3
    times = [m["emittedAtMs"] for m in client.notifications("error")]
    assert times[1] - times[0] >= 150, "no pause before the second try"


async def test_after_the_last_retry_the_turn_fails(patient: Stage) -> None:
    patient.model.reset()
    client = await patient.client()
    thread = await patient.thread(client, modelProvider="patient")
    patient.model.default = [[*partial("half"), *drop()]]
    turn = await run_turn(client, thread)
    assert turn["status"] == "failed"
    assert turn["error"]["codexErrorInfo"] == {"responseStreamDisconnected": {"httpStatusCode": None}}
    assert [error["willRetry"] for error in errors(client, turn["id"])] == [True, True, False]
    assert len(patient.model.requests) == 3


async def test_what_a_broken_stream_had_said_is_not_lost_when_it_is_tried_again(patient: Stage) -> None:
    patient.model.reset()
    client = await patient.client()
    thread = await patient.thread(client, modelProvider="patient")
    patient.model.script(say("whole", item_id="msg_a"), tool_call("exec_command", {"cmd": "true"}, "lost"), drop())
    patient.model.script(say("again", item_id="msg_b"))
    turn = await run_turn(client, thread)
    assert turn["status"] == "completed"
    assert [item.get("text") for item in completed_items(client, turn["id"])] == [None, "whole", "again"]
    await run_turn(client, thread)
    calls = [entry for entry in patient.model.requests[-1]["input"] if entry["type"].startswith("function_call")]
    outputs = [entry["call_id"] for entry in calls if entry["type"].endswith("output")]
    assert outputs == [entry["call_id"] for entry in calls if entry["type"] == "function_call"]


async def test_retry_after_is_kept_to(patient: Stage) -> None:
    patient.model.reset()
    client = await patient.client()
    thread = await patient.thread(client, modelProvider="patient")
    patient.model.script(status(429, headers={"retry-after": "0.6"}))
    turn_id = await begin(client, thread)
    told = await client.until("error")
    turn = await ended(client, turn_id)
    assert turn["status"] == "completed"
    done = client.notifications("turn/completed")[-1]
    assert done["emittedAtMs"] - told["emittedAtMs"] >= 590


async def test_a_server_that_asks_for_a_very_long_wait_fails_the_turn_at_once(patient: Stage) -> None:
    patient.model.reset()
    client = await patient.client()
    thread = await patient.thread(client, modelProvider="patient")
    patient.model.script(status(429, headers={"retry-after": "3600"}))
    turn = await run_turn(client, thread)
    assert turn["status"] == "failed"
    assert turn["error"]["codexErrorInfo"] == {"responseTooManyFailedAttempts": {"httpStatusCode": 429}}
    assert len(patient.model.requests) == 1


async def test_a_server_error_is_retried_within_the_request_budget(patient: Stage) -> None:
    patient.model.reset()
    client = await patient.client()
    thread = await patient.thread(client, modelProvider="asking")
    patient.model.script(status(500))
    patient.model.script(status(500))
    turn = await run_turn(client, thread)
    assert turn["status"] == "completed"
    assert len(patient.model.requests) == 3
    patient.model.default = [status(500)]
    turn = await run_turn(client, thread)
    assert (turn["status"], turn["error"]["codexErrorInfo"]) == ("failed", "internalServerError")
    assert len(patient.model.requests) == 6


async def test_a_bad_request_is_not_retried(patient: Stage) -> None:
    patient.model.reset()
    client = await patient.client()
    for provider in ("patient", "asking"):
        thread = await patient.thread(client, modelProvider=provider)
        patient.model.script(status(400, {"error": {"message": "bad thing"}}))
        turn = await run_turn(client, thread)
        assert (turn["status"], turn["error"]["codexErrorInfo"]) == ("failed", "badRequest")
    assert len(patient.model.requests) == 2


async def test_a_silent_stream_is_given_up_after_the_idle_timeout(patient: Stage) -> None:
    patient.model.reset()
    client = await patient.client()
    thread = await patient.thread(client, modelProvider="hasty")
    patient.model.script(partial("half"), gate(anyio.Event()))
    patient.model.script(gate(anyio.Event()))
    turn = await run_turn(client, thread)
    assert turn["status"] == "failed"
    assert turn["error"]["codexErrorInfo"] == {"responseStreamDisconnected": {"httpStatusCode": None}}
    assert [error["willRetry"] for error in errors(client, turn["id"])] == [True, False]
    await patient.model.wait_for_hangups(2)


async def test_a_missing_key_is_named(patient: Stage) -> None:
    patient.model.reset()
    client = await patient.client()
    thread = await patient.thread(client, modelProvider="keyed")
    turn = await run_turn(client, thread)
    assert (turn["status"], turn["error"]["codexErrorInfo"]) == ("failed", "unauthorized")
    assert "A_KEY_THAT_IS_NOT_SET" in turn["error"]["message"]
    assert patient.model.requests == []


async def test_a_server_that_is_not_there_is_retried_so_often_as_configured(patient: Stage) -> None:
    client = await patient.client()
    thread = await patient.thread(client, modelProvider="nowhere")
    turn = await run_turn(client, thread)
    assert turn["status"] == "failed"
    assert turn["error"]["codexErrorInfo"] == {"httpConnectionFailed": {"httpStatusCode": None}}
    assert [error["willRetry"] for error in errors(client, turn["id"])] == [True, False]


async def test_a_retry_that_waits_can_be_interrupted_and_steered(patient: Stage) -> None:
    patient.model.reset()
    client = await patient.client()
    thread = await patient.thread(client, modelProvider="patient")
    patient.model.script(status(429, headers={"retry-after": "60"}))
    turn_id = await begin(client, thread)
    await client.until("error")
    await client.call("turn/interrupt", {"threadId": thread, "turnId": turn_id})
    assert (await ended(client, turn_id))["status"] == "interrupted"
    patient.model.script(status(429, headers={"retry-after": "60"}))
    turn_id = await begin(client, thread)
    await client.until("error")
    assert await begin(client, thread, "more") == turn_id
    assert (await ended(client, turn_id))["status"] == "completed"
    assert_balanced(client, turn_id)


async def test_an_unknown_provider_is_refused_naming_the_known_ones(patient: Stage) -> None:
    client = await patient.client()
    answer = await client.try_call("thread/start", {"cwd": str(patient.cwd), "modelProvider": "none"})
    assert answer["error"]["code"] == -32600
    assert "`none`" in answer["error"]["message"]
    assert "patient" in answer["error"]["message"]
