"""Talking to a server that speaks the Responses API, over real HTTP."""

import os
import socket
from typing import Any

import anyio
import orjson
import pytest

from app_server.config.settings import ModelProviderSettings
from app_server.model.events import (
    Completed,
    Created,
    ItemAdded,
    ItemDone,
    RateLimits,
    ReasoningPartAdded,
    ReasoningSummaryDelta,
    ReasoningTextDelta,
    TextDelta,
    Usage,
)
from app_server.model.http import HttpPool
from app_server.model.provider import ModelRequest, backoff, build_provider
from app_server.model.responses import ResponsesClient, encode_request
from tests.support.scripted_model import (
    ScriptedModel,
    drop,
    end,
    event,
    failed,
    gate,
    partial,
    raw,
    reasoning,
    say,
    status,
    tool_call,
    usage,
)
from tests.unit.model.answers import REQUEST, ask, failure
from tests.unit.model.conftest import MakeClient

DISCONNECTED = {"responseStreamDisconnected": {"httpStatusCode": None}}


def error_body(code: str, message: str = "told") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


async def test_an_answer_yields_its_events_in_order(model: ScriptedModel, make_client: MakeClient) -> None:
    model.usage = usage(input=100, cached=40, output=20, reasoning=7)
    model.script(
        reasoning("hm", content="raw", item_id="r"), say("hello", deltas=2, item_id="m"), tool_call("t", {"a": 1}, "c")
    )
    events = await ask(make_client())
    assert isinstance(events[0], Created)
    assert events[1:7] == [
        ItemAdded({"type": "reasoning", "id": "r", "summary": []}),
        ReasoningPartAdded("r", 0),
        ReasoningSummaryDelta("r", "hm", 0),
        ReasoningTextDelta("r", "raw", 0),
        ItemDone(
            {
                "type": "reasoning",
                "id": "r",
                "summary": [{"type": "summary_text", "text": "hm"}],
                "encrypted_content": "sealed",
                "content": [{"type": "reasoning_text", "text": "raw"}],
            }
        ),
        ItemAdded({"type": "message", "role": "assistant", "id": "m", "content": []}),
    ]
    assert events[7:9] == [TextDelta("m", "hel"), TextDelta("m", "lo")]
    assert isinstance(events[10], ItemDone)
    assert events[10].item["arguments"] == '{"a":1}'
    assert isinstance(events[11], Completed)
    assert (events[11].response_id, events[11].usage) == (events[0].response_id, Usage(100, 40, 20, 7, 120))
    assert events[11].raw_usage["input_tokens_details"] == {"cached_tokens": 40}
    assert len(events) == 12


async def test_the_request_says_what_the_turn_wants(
    model: ScriptedModel, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "the-key-itself")
    client = make_client(
        env_key="A_KEY", http_headers={"X-Team": "blue"}, env_http_headers={"X-Env": "A_KEY"}, query_params={"v": "1 2"}
    )
    request = ModelRequest(
        model="m",
        instructions="Be brief.",
        input=[b'{"type":"message","n":1e2}', {"type": "message", "n": 2}],
        tools=[{"type": "function", "name": "t"}],
        parallel_tool_calls=False,
        effort="high",
        summary="detailed",
        verbosity="low",
        prompt_cache_key="thread-1",
        output_schema={"type": "object"},
        service_tier="fast",
        metadata={"turn": "1"},
        headers={"X-Turn": "7"},
    )
    await ask(client, request)
    assert model.requests == [
        {
            "model": "m",
            "instructions": "Be brief.",
            "tools": [{"type": "function", "name": "t"}],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
            "store": False,
            "stream": True,
            "reasoning": {"effort": "high", "summary": "detailed"},
            "include": ["reasoning.encrypted_content"],
            "text": {
                "verbosity": "low",
                "format": {
                    "type": "json_schema",
                    "name": "output_schema",
                    "strict": True,
                    "schema": {"type": "object"},
                },
            },
            "service_tier": "priority",
            "prompt_cache_key": "thread-1",
            "client_metadata": {"turn": "1"},
            "input": [{"type": "message", "n": 100.0}, {"type": "message", "n": 2}],
        }
    ]
    headers = model.headers[0]
    assert headers["Authorization"] == "Bearer the-key-itself"
    assert (headers["X-Team"], headers["X-Env"], headers["X-Turn"]) == ("blue", "the-key-itself", "7")
    assert headers["Accept"] == "text/event-stream"


def test_input_that_is_json_already_is_not_encoded_again() -> None:
    odd = b'{"n" : 1e2 , "t":"\\u00e9"}'
    assert encode_request(ModelRequest("m", "", [odd, odd])).endswith(b'"input":[' + odd + b"," + odd + b"]}")


def test_models_that_cannot_reason_are_not_asked_to() -> None:
    body = orjson.loads(encode_request(ModelRequest("gpt-4.1", "", [])))
    assert "reasoning" not in body
    assert "include" not in body
    assert "text" not in body


async def test_answers_in_a_row_share_one_connection(model: ScriptedModel, make_client: MakeClient) -> None:
    client = make_client()
    for _ in range(3):
        await ask(client)
    assert len(model.connections) == 1


async def test_a_connection_whose_answer_ends_a_little_later_is_kept(
    model: ScriptedModel, make_client: MakeClient
) -> None:
    client, rest = make_client(), anyio.Event()
    model.script(event("response.completed", response={"id": "r"}), gate(rest), end())
    async with client.stream(REQUEST) as events:
        async for seen in events:
            if isinstance(seen, Completed):
                rest.set()
    await ask(client)
    assert len(model.connections) == 1


async def test_a_server_that_does_not_end_a_complete_answer_is_left(
    model: ScriptedModel, make_client: MakeClient
) -> None:
    model.script(event("response.completed", response={"id": "r"}), gate(anyio.Event()), end())
    assert (await ask(make_client()))[-1] == Completed("r", Usage())
    await model.wait_for_hangups(1)


async def test_a_megabyte_of_history_is_sent_without_a_warning(model: ScriptedModel, make_client: MakeClient) -> None:
    text = "x" * 3_000_000
    await ask(make_client(), ModelRequest("m", "", [{"type": "message", "text": text}]))
    assert model.requests[0]["input"][0]["text"] == text


async def test_leaving_an_answer_early_hangs_up(model: ScriptedModel, make_client: MakeClient) -> None:
    model.script(partial("first"), gate(anyio.Event()))
    async with make_client().stream(REQUEST) as events:
        async for seen in events:
            if isinstance(seen, TextDelta):
                break
    await model.wait_for_hangups(1)


async def test_cancelling_an_answer_hangs_up(model: ScriptedModel, make_client: MakeClient) -> None:
    model.script(partial("first"), gate(anyio.Event()))
    client = make_client()

    async def read() -> None:
        async with client.stream(REQUEST) as events:
            async for seen in events:
                if isinstance(seen, TextDelta):
                    group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(read)
    await model.wait_for_hangups(1)


async def test_cancelling_before_the_answer_begins_hangs_up(make_client: MakeClient) -> None:
    """The server takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = make_client(base_url=f"http://127.0.0.1:{server.getsockname()[1]}/v1")
        peers: list[socket.socket] = []
        async with anyio.create_task_group() as group:
            group.start_soon(ask, client)
            peers.append((await anyio.to_thread.run_sync(server.accept))[0])
            group.cancel_scope.cancel()
        with peers[0] as peer:
            await anyio.to_thread.run_sync(_read_to_end, peer)


def _read_to_end(peer: socket.socket) -> None:
    while peer.recv(65536):
        pass


@pytest.mark.parametrize("status_code", [500, 502, 503, 504])
async def test_a_server_fault_is_retried_as_often_as_configured(
    model: ScriptedModel, make_client: MakeClient, status_code: int
) -> None:
    for _ in range(2):
        model.script(status(status_code, headers={"retry-after": "0"}))
    assert isinstance((await ask(make_client(request_max_retries=2)))[-1], Completed)
    assert len(model.requests) == 3


async def test_a_model_at_capacity_is_asked_again_before_the_turn_fails(
    model: ScriptedModel, make_client: MakeClient
) -> None:
    for _ in range(3):
        model.script(status(503, error_body("server_is_overloaded"), {"retry-after": "0"}))
    error = await failure(make_client(request_max_retries=2))
    assert (error.codex_error_info, error.retryable, len(model.requests)) == ("serverOverloaded", False, 3)


async def test_retries_end_with_the_last_failure(model: ScriptedModel, make_client: MakeClient) -> None:
    for _ in range(4):
        model.script(status(500, error_body("boom", "it broke"), {"retry-after": "0"}))
    error = await failure(make_client(request_max_retries=2))
    assert len(model.requests) == 3
    assert error.codex_error_info == "internalServerError"
    assert error.message == "The model server Scripted failed: 500 Internal Server Error (it broke)"
    assert (error.status, error.retryable, error.retry_after) == (500, True, 0.0)


@pytest.mark.parametrize(
    ("code", "body", "info", "retryable", "message"),
    [
        (400, error_body("x", "no such parameter"), "badRequest", False, "no such parameter"),
        (400, b"plain text", "badRequest", False, "plain text"),
        (400, {"message": "maximum context length is 4096"}, "contextWindowExceeded", False, "context window"),
        (400, error_body("context_length_exceeded"), "contextWindowExceeded", False, "context window"),
        (413, b"", "contextWindowExceeded", False, "context window"),
        (401, error_body("invalid_api_key", "bad key"), "unauthorized", False, "401 Unauthorized: bad key"),
        (403, error_body("", "not yours"), "unauthorized", False, "403 Forbidden: not yours"),
        (404, error_body("model_not_found", "no model m"), "modelNotFound", False, "no model m"),
        (404, {"error": "model 'm' not found, try pulling it"}, "modelNotFound", False, "try pulling it"),
        (404, b"<html>", {"httpConnectionFailed": {"httpStatusCode": 404}}, False, "Responses API"),
        (418, b"", {"httpConnectionFailed": {"httpStatusCode": 418}}, False, "418"),
        (
            429,
            error_body("rate_limit"),
            {"responseTooManyFailedAttempts": {"httpStatusCode": 429}},
            True,
            "429 Too Many",
        ),
        (429, error_body("usage_limit_reached"), "usageLimitExceeded", False, "usage limit"),
        (429, error_body("insufficient_quota", "pay up"), "usageLimitExceeded", False, "pay up"),
        (500, b"", "internalServerError", True, "500 Internal Server Error"),
        (502, b"", {"responseTooManyFailedAttempts": {"httpStatusCode": 502}}, True, "502 Bad Gateway"),
        (503, b"", "serverOverloaded", True, "503 Service Unavailable"),
        (503, error_body("server_is_overloaded"), "serverOverloaded", False, "at capacity"),
        (302, b"", {"httpConnectionFailed": {"httpStatusCode": 302}}, False, "302 Found"),
        (200, {"output": []}, {"httpConnectionFailed": {"httpStatusCode": 200}}, False, "instead of an event stream"),
    ],
)
async def test_each_http_status_has_its_kind_of_failure(
    model: ScriptedModel, make_client: MakeClient, code: int, body: Any, info: Any, retryable: bool, message: str
) -> None:
    model.script(status(code, body))
    error = await failure(make_client())
    assert (error.codex_error_info, error.retryable, error.status) == (info, retryable, code)
    assert message in error.message
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    ("code", "info", "retryable", "message"),
    [
        ("context_length_exceeded", "contextWindowExceeded", False, "context window"),
        ("insufficient_quota", "usageLimitExceeded", False, "told"),
        ("rate_limit_exceeded", "rateLimitExceeded", True, "rate limit exceeded: told"),
        ("server_is_overloaded", "serverOverloaded", False, "at capacity"),
        ("invalid_prompt", "badRequest", False, "told"),
        ("model_not_found", "modelNotFound", False, "told"),
        ("server_error", DISCONNECTED, True, "stream disconnected before completion: told"),
    ],
)
async def test_each_failure_within_an_answer_has_its_kind(
    model: ScriptedModel, make_client: MakeClient, code: str, info: Any, retryable: bool, message: str
) -> None:
    model.script(failed(code, "told"))
    model.script(event("error", code=code, message="told"), end())
    model.script(event("error", error={"code": code, "message": "told"}), end())
    for _ in range(3):
        error = await failure(make_client())
        assert (error.codex_error_info, error.retryable) == (info, retryable)
        assert message in error.message


async def test_a_message_whose_text_is_no_list_of_parts_is_read(model: ScriptedModel, make_client: MakeClient) -> None:
    item = {"type": "message", "role": "assistant", "content": "hello"}
    model.script(event("response.output_item.done", item=item))
    (done,) = [told for told in await ask(make_client()) if isinstance(told, ItemDone)]
    assert done.item == {**item, "content": [{"type": "output_text", "text": "hello"}]}


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([partial("some"), end()], "stream closed before response.completed"),
        ([partial("some"), drop()], "the connection broke"),
        ([raw(b"data: {broken\n\n")], "cannot be read"),
        ([raw(b"data: [1]\n\n")], "cannot be read"),
        ([raw(b'data: {"type":"response.output_text.delta"}\n\n')], "cannot be read"),
        ([event("response.output_text.delta", item_id="m", delta=None)], "cannot be read"),
        ([event("response.output_item.done", item=None)], "cannot be read"),
        ([event("response.output_item.done", item={"type": "message", "content": ["hello"]})], "cannot be read"),
        ([event("response.output_item.done", item={"type": "reasoning", "summary": [{"text": 5}]})], "cannot be read"),
        ([event("response.completed", response={"usage": {"input_tokens": "many"}})], "cannot be read"),
        ([raw(b'data: {"type":"response.completed"'), end()], "stream closed"),
    ],
)
async def test_a_stream_that_breaks_can_be_asked_again(
    model: ScriptedModel, make_client: MakeClient, parts: Any, reason: str
) -> None:
    model.script(*parts)
    error = await failure(make_client(request_max_retries=3))
    assert (error.codex_error_info, error.retryable, error.status) == (DISCONNECTED, True, None)
    assert error.message.startswith("stream disconnected before completion: ")
    assert reason in error.message
    assert len(model.requests) == 1


async def test_an_answer_that_the_server_cuts_short_is_a_failure(model: ScriptedModel, make_client: MakeClient) -> None:
    model.script(event("response.incomplete", response={"incomplete_details": {"reason": "max_output_tokens"}}), end())
    error = await failure(make_client())
    assert (error.message, error.retryable) == ("Incomplete response returned, reason: max_output_tokens", False)


async def test_events_of_unknown_kinds_and_end_markers_are_passed_over(
    model: ScriptedModel, make_client: MakeClient
) -> None:
    model.script(event("response.in_progress"), event("response.some_new_kind", x=1), raw(b"data: [DONE]\n\n"))
    assert [type(seen) for seen in await ask(make_client())] == [Created, Completed]


async def test_a_completion_without_its_last_empty_line_counts(model: ScriptedModel, make_client: MakeClient) -> None:
    model.script(raw(b'data: {"type":"response.completed","response":{"id":"r"}}'), end())
    assert (await ask(make_client()))[-1] == Completed("r", Usage())


async def test_silence_longer_than_the_idle_timeout_breaks_the_stream(
    model: ScriptedModel, make_client: MakeClient
) -> None:
    model.script(partial("some"), gate(anyio.Event()))
    error = await failure(make_client(stream_idle_timeout_ms=50))
    assert error.message == "stream disconnected before completion: idle timeout waiting for SSE"
    assert (error.codex_error_info, error.retryable) == (DISCONNECTED, True)
    await model.wait_for_hangups(1)


async def test_a_server_that_is_not_there_is_named(make_client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = await failure(make_client(base_url=f"http://user:pass@127.0.0.1:{port}/v1", request_max_retries=5))
    assert (error.codex_error_info, error.retryable) == ({"httpConnectionFailed": {"httpStatusCode": None}}, True)
    assert f"cannot reach the model server Scripted at http://127.0.0.1:{port}/v1/responses" in error.message
    assert "is it running?" in error.message
    assert "pass@" not in error.message


async def test_a_kept_connection_that_the_server_closed_is_replaced_without_a_retry(
    model: ScriptedModel, make_client: MakeClient
) -> None:
    client = make_client(request_max_retries=0)
    await ask(client)
    model.script(drop())
    assert isinstance((await ask(client))[-1], Completed)
    assert len(model.connections) == 2


async def test_a_server_that_hangs_up_on_a_new_connection_is_a_failure(
    model: ScriptedModel, make_client: MakeClient
) -> None:
    model.script(drop())
    error = await failure(make_client())
    assert (error.codex_error_info, error.retryable) == (DISCONNECTED, True)
    assert len(model.requests) == 1


async def test_a_missing_key_is_told_before_anything_is_sent(
    model: ScriptedModel, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    error = await failure(make_client(env_key="NO_SUCH_KEY", env_key_instructions="Ask the admin."))
    assert error.codex_error_info == "unauthorized"
    assert error.message == (
        "Missing environment variable: `NO_SUCH_KEY`. Set NO_SUCH_KEY in the environment of the server and start it "
        "again. Ask the admin."
    )
    assert model.requests == []


async def test_a_refused_key_is_told_with_the_remedy_and_without_the_key(
    model: ScriptedModel, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="app_server")
    monkeypatch.setenv("A_KEY", "sk-very-secret")
    model.script(status(401, error_body("invalid_api_key", "Incorrect API key provided: sk-very-secret")))
    error = await failure(make_client(env_key="A_KEY", query_params={"token": "query-secret"}))
    assert "Incorrect API key provided: [redacted]" in error.message
    assert "Set A_KEY in the environment" in error.message
    assert "secret" not in error.message + caplog.text


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "7"}, error_body("x"), 7.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, error_body("x"), 1.5),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, error_body("x"), 0.0),
        ({"retry-after": "soon"}, error_body("x", "Please try again in 250ms."), 0.25),
        ({}, error_body("x", "try again in 11.054s"), 11.054),
        ({}, error_body("x"), None),
    ],
)
async def test_the_time_that_a_server_asks_for_is_passed_on(
    model: ScriptedModel, make_client: MakeClient, headers: dict[str, str], body: Any, seconds: float | None
) -> None:
    model.script(status(429, body, headers))
    assert (await failure(make_client())).retry_after == seconds


async def test_a_wait_that_no_user_would_sit_out_makes_the_failure_final(
    model: ScriptedModel, make_client: MakeClient
) -> None:
    model.script(status(503, headers={"retry-after": "3600"}))
    error = await failure(make_client(request_max_retries=3))
    assert (error.retryable, error.retry_after, len(model.requests)) == (False, 3600.0, 1)
    assert "asks to wait 3600 s" in error.message


def test_the_wait_doubles_and_what_the_server_asks_for_wins() -> None:
    for attempt, base in ((1, 0.2), (2, 0.4), (3, 0.8), (4, 1.6), (5, 3.2)):
        assert 0.9 * base <= backoff(attempt) <= 1.1 * base
    assert backoff(50) <= 33
    assert backoff(3, 7.5) == 7.5
    assert backoff(1, 100_000) == 120.0
    assert backoff(1, -5) == 0.0


async def test_allowances_in_the_headers_come_first(model: ScriptedModel, make_client: MakeClient) -> None:
    model.response_headers = {
        "x-codex-primary-used-percent": "12.5",
        "x-codex-primary-window-minutes": "300",
        "x-codex-primary-reset-at": "1900000000",
    }
    first = (await ask(make_client()))[0]
    assert isinstance(first, RateLimits)
    assert first.snapshot["primary"] == {"usedPercent": 12, "windowDurationMins": 300, "resetsAt": 1900000000}
    assert first.snapshot["secondary"] is None


async def test_this_machine_is_reached_past_the_proxy(
    model: ScriptedModel, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert isinstance((await ask(make_client()))[-1], Completed)


async def test_a_proxy_that_cannot_be_used_is_a_failure_of_the_model(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    error = await failure(make_client(base_url="https://model.invalid/v1"))
    assert error.codex_error_info == {"httpConnectionFailed": {"httpStatusCode": None}}
    assert "the proxy in the environment is of a kind that is not supported (socks5)" in error.message


async def test_closing_the_pool_ends_its_connections(model: ScriptedModel) -> None:
    settings = ModelProviderSettings("Scripted", model.url)
    async with HttpPool() as pool:
        await ask(ResponsesClient("scripted", settings, pool))
        session = await pool.session()
    assert session.closed


async def test_building_a_provider_opens_nothing(pool: HttpPool, tmp_path: Any) -> None:
    from app_server.config.layers import load_settings

    settings = load_settings(tmp_path, system_config=tmp_path / "none", environ=dict(os.environ)).settings()
    assert build_provider("openai", settings, pool).settings.base_url
    assert build_provider("demo", settings, pool).name == "demo"
    with pytest.raises(KeyError):
        build_provider("nobody", settings, pool)
