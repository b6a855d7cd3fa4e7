"""What is kept for the model, and in which form."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_server.threads.history import aborted_output, call_output, kept, message, text_message, unanswered_calls
from app_server.threads.user_input import preview_of
from app_server.tools.context import ToolCall, ToolOutput
from protocol.v2.user_input import ImageUserInput, TextUserInput

Item = dict[str, Any]


def call(call_id: str, *, custom: bool = False) -> bytes:
    kind = "custom_tool_call" if custom else "function_call"
    return orjson.dumps({"type": kind, "call_id": call_id, "name": "x", "arguments": "{}"})


def test_calls_without_an_output_are_found_in_order() -> None:
    history = [
        call("a"),
        call("b", custom=True),
        call_output(ToolCall("a", "t", ""), ToolOutput("done")),
        call("c"),
        text_message("user", "call_id"),
    ]
    assert unanswered_calls(history) == [("b", True), ("c", False)]
    answered = [
        *history,
        *(aborted_output(call_id, custom=custom) for call_id, custom in [("b", True), ("c", False)]),
    ]
    assert unanswered_calls(answered) == []


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.booleans()), max_size=20))
def test_answering_what_is_unanswered_leaves_nothing_unanswered(steps: list[tuple[str, bool, bool]]) -> None:
    history = [
        call_output(ToolCall(name, "t", "", custom), ToolOutput("x")) if is_output else call(name, custom=custom)
        for name, is_output, custom in steps
    ]
    history += [aborted_output(call_id, custom=custom) for call_id, custom in unanswered_calls(history)]
    assert unanswered_calls(history) == []


def test_texts_have_the_kind_of_their_role() -> None:
    kinds = {role: orjson.loads(text_message(role, "x"))["content"] for role in ("user", "developer", "assistant")}
    assert kinds == {
        "user": [{"type": "input_text", "text": "x"}],
        "developer": [{"type": "input_text", "text": "x"}],
        "assistant": [{"type": "output_text", "text": "x"}],
    }
    assert orjson.loads(message("user", {"type": "input_image", "image_url": "u"}))["content"][0]["image_url"] == "u"


def test_the_ids_of_the_models_items_are_not_sent_back() -> None:
    text: Item = {
        "type": "message",
        "id": "msg_1",
        "status": "completed",
        "content": [{"type": "output_text", "text": "x"}],
    }
    called: Item = {
        "type": "function_call",
        "id": "fc_1",
        "status": "completed",
        "call_id": "c",
        "name": "n",
        "arguments": "{}",
    }
    thought: Item = {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "sealed"}
    assert [orjson.loads(kept(item) or b"null") for item in (text, called, thought)] == [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
        {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"},
        {"type": "reasoning", "summary": [], "encrypted_content": "sealed"},
    ]
    assert kept({"type": "something_new"}) is None


@pytest.mark.parametrize(
    ("inputs", "preview"),
    [
        ([TextUserInput(text=" one "), TextUserInput(text="two")], "one \ntwo"),
        ([ImageUserInput(url="data:,")], "[image]"),
        ([], ""),
    ],
)
def test_the_preview_is_the_text_of_the_first_message(
    inputs: list[TextUserInput | ImageUserInput], preview: str
) -> None:
    assert preview_of(inputs) == preview


def test_an_output_that_answers_no_call_closes_none() -> None:
    delivered = b'{"type":"function_call_output","name":"mail","output":[{"type":"input_text","call_id":"x"}]}'
    call = b'{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}'
    assert unanswered_calls([call, delivered]) == [("c", False)]
