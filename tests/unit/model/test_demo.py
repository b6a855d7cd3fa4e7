"""The offline demo: it answers, streams and runs commands, all without a network."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson
import pytest
from jsonschema import Draft202012Validator

from app_server.config.settings import ModelProviderSettings
from app_server.model.demo import GREETING, DemoModel
from app_server.model.events import (
    Completed,
    Created,
    ItemAdded,
    ItemDone,
    ReasoningSummaryDelta,
    ResponseEvent,
    TextDelta,
)
from app_server.model.provider import ModelRequest
from tests.unit.model.answers import ask

TOOLS = [{"type": "function", "name": "exec_command"}]
CONTEXT = "<environment_context>\n  <cwd>/run: rm</cwd>\nrun: never\n</environment_context>"


def message(role: str, text: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


async def answer(
    items: Sequence[bytes | Mapping[str, Any]], schema: Any = None, tools: Any = TOOLS
) -> list[ResponseEvent]:
    demo = DemoModel("demo", ModelProviderSettings("Demo"), word_pause_s=0)
    return await ask(demo, ModelRequest("demo", "", items, tools=tools, output_schema=schema))


def text_of(events: Sequence[ResponseEvent]) -> str:
    (text,) = [seen.item["content"][0]["text"] for seen in events if isinstance(seen, ItemDone) and "role" in seen.item]
    return text


def calls_of(events: Sequence[ResponseEvent]) -> list[dict[str, Any]]:
    return [seen.item for seen in events if isinstance(seen, ItemDone) and seen.item["type"] == "function_call"]


async def test_it_says_what_it_is_and_how_to_see_a_command() -> None:
    events = await answer([message("user", CONTEXT), message("user", "hello")])
    assert text_of(events) == GREETING
    assert "offline demo" in GREETING
    assert "run: ls -la" in GREETING
    assert isinstance(events[0], Created)
    assert isinstance(events[-1], Completed)


async def test_the_pieces_of_each_text_add_up_to_it() -> None:
    events = await answer([message("user", "hello")])
    assert "".join(seen.delta for seen in events if isinstance(seen, TextDelta)) == text_of(events)
    summaries = [seen for seen in events if isinstance(seen, ItemDone) and seen.item["type"] == "reasoning"]
    (summary,) = summaries[0].item["summary"]
    assert "".join(seen.delta for seen in events if isinstance(seen, ReasoningSummaryDelta)) == summary["text"]


async def test_every_item_that_begins_also_ends_under_the_same_id() -> None:
    events = await answer([message("user", "run: ls")])
    added = [seen.item["id"] for seen in events if isinstance(seen, ItemAdded)]
    assert added == [seen.item["id"] for seen in events if isinstance(seen, ItemDone)]


async def test_a_run_line_becomes_a_command() -> None:
    events = await answer([message("user", CONTEXT), message("user", "please\n  Run:  echo 'a b' | wc  \nthanks")])
    (call,) = calls_of(events)
    assert call["name"] == "exec_command"
    assert orjson.loads(call["arguments"]) == {"cmd": "echo 'a b' | wc"}


async def test_several_run_lines_become_commands_with_ids_of_their_own() -> None:
    calls = calls_of(await answer([message("user", "run: one\nrun: two")]))
    assert [orjson.loads(call["arguments"])["cmd"] for call in calls] == ["one", "two"]
    assert len({call["call_id"] for call in calls}) == 2


async def test_the_output_of_the_commands_is_reported() -> None:
    items: list[bytes | Mapping[str, Any]] = [
        message("user", "run: ls"),
        *calls_of(await answer([message("user", "run: ls")])),
    ]
    items.append(orjson.dumps({"type": "function_call_output", "call_id": "c", "output": "a ``` b\nfile"}))
    items.append(message("developer", "a note in between"))
    events = await answer(items)
    assert calls_of(events) == []
    assert "\n````\na ``` b\nfile\n````" in text_of(events)


async def test_a_further_message_after_an_output_is_answered_itself() -> None:
    output = {"type": "function_call_output", "call_id": "c", "output": "old"}
    items = [message("user", "run: ls"), output, message("assistant", "done"), message("user", "run: pwd")]
    (call,) = calls_of(await answer(items))
    assert orjson.loads(call["arguments"]) == {"cmd": "pwd"}


async def test_without_the_tool_it_says_so() -> None:
    events = await answer([message("user", "run: ls")], tools=[])
    assert calls_of(events) == []
    assert "exec_command" in text_of(events)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]},
        {"type": "object", "properties": {"title": {"type": "string", "minLength": 12, "maxLength": 36}}},
        {
            "type": "object",
            "required": ["n", "list", "kind", "maybe", "fixed", "yes"],
            "additionalProperties": False,
            "properties": {
                "n": {"type": "integer", "minimum": 3},
                "list": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/entry"}},
                "kind": {"enum": ["a", "b"]},
                "maybe": {"type": ["string", "null"]},
                "fixed": {"const": 7},
                "yes": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            },
            "$defs": {"entry": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
        },
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "anyOf": [{"type": "null"}, {"$ref": "#/$defs/a"}]},
        True,
    ],
)
async def test_a_demanded_schema_is_kept_to(schema: Any) -> None:
    text = text_of(await answer([message("user", "run: ls")], schema=schema))
    cast("Any", Draft202012Validator(schema)).validate(orjson.loads(text))


async def test_two_answers_have_different_ids() -> None:
    answers = [await answer([message("user", "hi")]) for _ in range(2)]
    first, second = ({seen.item["id"] for seen in events if isinstance(seen, ItemDone)} for events in answers)
    assert not first & second
    assert len(list(itertools.chain(first, second))) == 4
