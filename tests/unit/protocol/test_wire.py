"""What the base model does with names, nulls, numbers and unknown members."""

from typing import Annotated, Any

import orjson
import pytest
from pydantic import Field, ValidationError

from protocol.v2.command_exec import CommandExecParams, CommandExecTerminalSize
from protocol.v2.config import Config
from protocol.v2.model import Settings
from protocol.v2.thread import ThreadForkParams
from protocol.v2.thread_data import (
    ActiveThreadStatus,
    HttpConnectionFailedCodexErrorInfo,
    HttpFailure,
    IdleThreadStatus,
    ThreadStatus,
    TurnError,
)
from protocol.v2.turn import TurnStartParams
from protocol.v2.user_input import ImageUserInput, TextUserInput
from protocol.wire import Experimental, Wire, models_in


class Inner(Wire):
    number: int


class Outer(Wire):
    first_inner: Inner
    more_inners: dict[str, list[Inner | None]] | None = None
    with_list: list[str] = Field(default_factory=lambda: ["a"])
    marked: Annotated[bool, Experimental("x/y.marked")] = False


def _refused(model: type[Wire], value: Any) -> list[tuple[str, ...]]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return [tuple(map(str, error["loc"])) for error in caught.value.errors()]


def test_members_are_camel_case_on_the_wire_and_snake_case_in_python() -> None:
    outer = Outer(first_inner=Inner(number=1))
    assert outer.model_dump(mode="json") == {
        "firstInner": {"number": 1},
        "moreInners": None,
        "withList": ["a"],
        "marked": False,
    }
    assert Outer.model_validate(outer.model_dump(mode="json")) == outer


def test_configuration_keeps_snake_case() -> None:
    settings = Settings(model="m", reasoning_effort="low")
    assert settings.model_dump() == {"model": "m", "developer_instructions": None, "reasoning_effort": "low"}


def test_null_for_a_member_with_a_default_is_no_value() -> None:
    params = ThreadForkParams.model_validate({"threadId": "t", "excludeTurns": None, "attachToSource": None})
    assert params == ThreadForkParams(thread_id="t")
    assert Outer.model_validate({"firstInner": {"number": 1}, "withList": None}).with_list == ["a"]


def test_a_default_list_is_not_shared_between_instances() -> None:
    first, second = (Outer.model_validate({"firstInner": {"number": 1}, "withList": given}) for given in (None, None))
    first.with_list.append("b")
    assert second.with_list == ["a"]


def test_null_for_a_required_member_is_refused_by_name() -> None:
    assert _refused(ThreadForkParams, {"threadId": None}) == [("threadId",)]


@pytest.mark.parametrize("value", [1.0, "1", True, None, [1]])
def test_only_an_integer_is_an_integer(value: Any) -> None:
    assert _refused(Inner, {"number": value}) == [("number",)]


@pytest.mark.parametrize("value", [1, "true", 0.0])
def test_only_a_boolean_is_a_boolean(value: Any) -> None:
    assert _refused(CommandExecParams, {"command": ["ls"], "tty": value}) == [("tty",)]


@pytest.mark.parametrize("rows", [-1, 65536])
def test_a_terminal_size_fits_in_16_bits(rows: int) -> None:
    assert _refused(CommandExecTerminalSize, {"rows": rows, "cols": 80}) == [("rows",)]


def test_unknown_members_are_ignored_except_in_configuration_which_keeps_them() -> None:
    assert ThreadForkParams.model_validate({"threadId": "t", "new": 1}) == ThreadForkParams(thread_id="t")
    assert Config.model_validate({"new_key": {"a": 1}}).model_dump()["new_key"] == {"a": 1}


def test_a_model_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Inner(number=1).number = 2


def test_an_image_has_a_url_or_a_file_and_only_what_it_has_is_written() -> None:
    image = ImageUserInput(url="data:image/png;base64,AA==")
    assert image.model_dump() == {"type": "image", "url": "data:image/png;base64,AA==", "detail": None}
    assert ImageUserInput.model_validate({"type": "image", "fileId": "f"}).file_id == "f"
    assert _refused(TurnStartParams, {"threadId": "t", "input": [{"type": "image"}]}) == [("input", "0", "image")]


def test_a_union_is_told_apart_by_its_tag_alone() -> None:
    params = TurnStartParams.model_validate({"threadId": "t", "input": [{"text": "hi", "type": "text"}]})
    assert params.input == [TextUserInput(text="hi")]
    assert _refused(TurnStartParams, {"threadId": "t", "input": [{"type": "telepathy"}]}) == [("input", "0")]
    assert _refused(TurnStartParams, {"threadId": "t", "input": [{"text": "hi"}]}) == [("input", "0")]


def test_a_tag_is_written_without_being_given() -> None:
    class Holder(Wire):
        status: ThreadStatus

    assert Holder(status=IdleThreadStatus()).model_dump() == {"status": {"type": "idle"}}
    assert Holder(status=ActiveThreadStatus(active_flags=["waitingOnApproval"])).model_dump() == {
        "status": {"type": "active", "activeFlags": ["waitingOnApproval"]}
    }


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ("usageLimitExceeded", "usageLimitExceeded"),
        (
            {"httpConnectionFailed": {"httpStatusCode": 502}},
            HttpConnectionFailedCodexErrorInfo(http_connection_failed=HttpFailure(http_status_code=502)),
        ),
        ("fromTheFuture", "fromTheFuture"),
        ({"fromTheFuture": {"a": 1}}, {"fromTheFuture": {"a": 1}}),
    ],
)
def test_error_details_are_known_shapes_or_kept_as_they_came(info: Any, expected: Any) -> None:
    error = TurnError.model_validate({"message": "m", "codexErrorInfo": info})
    assert error.codex_error_info == expected
    assert orjson.loads(error.model_dump_json())["codexErrorInfo"] == info


def test_building_an_outer_model_builds_the_inner_ones_first() -> None:
    class Leaf(Wire):
        value: int

    class Branch(Wire):
        leaves: list[Annotated[Leaf, Field(description="x")]]

    class Tree(Wire):
        branch: Branch | None

    Tree.model_rebuild()
    assert [model.__pydantic_complete__ for model in (Leaf, Branch, Tree)] == [True, True, True]


def test_models_are_found_within_unions_and_containers() -> None:
    annotation = dict[str, list[Inner | None]] | tuple[Outer, int] | None
    assert set(models_in(annotation)) == {Inner, Outer}
