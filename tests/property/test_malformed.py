"""Whatever a client sends, it gets one clear error for it, and the connection and the server live."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

import orjson
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.support.home import REPOSITORY

INITIALIZE = {"id": "hello", "method": "initialize", "params": {"clientInfo": {"name": "rude", "version": "1"}}}


class RudeClient:
    """A client of the made-up server over real pipes that sends lines of any bytes."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._pings = 0

    def say(self, line: bytes) -> list[dict[str, Any]]:
        """Send one line; gives what came back before the answer to a ping that was sent after it."""
        self._pings += 1
        ping = f"ping {self._pings}"
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(line + b"\n" + orjson.dumps({"id": ping, "method": "test/echo", "params": {"value": 1}}) + b"\n")
        stdin.flush()
        answers: list[dict[str, Any]] = []
        while True:
            answer = orjson.loads(stdout.readline())
            if answer.get("id") == ping:
                assert answer["result"] == {"value": 1, "number": None}
                return answers
            answers.append(answer)

    def error(self, line: bytes) -> dict[str, Any]:
        """Send one line that must be answered by one error; gives that answer."""
        (answer,) = self.say(line)
        assert set(answer) == {"id", "error"}
        assert answer["error"]["message"]
        return answer


@pytest.fixture(scope="module")
def client() -> Iterator[RudeClient]:
    argv = [sys.executable, "-m", "tests.support.fake_app"]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        client = RudeClient(process)
        (hello,) = client.say(orjson.dumps(INITIALIZE))
        assert hello["result"]["userAgent"].startswith("rude/")
        yield client
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_one_line = st.binary(min_size=1, max_size=200).map(lambda line: line.replace(b"\n", b" "))
_ids = st.text(max_size=20) | st.integers(-(2**63), 2**64 - 1)


@given(_one_line)
@example(b"{")
@example(b'{"id":1,"method":"test/echo"')
@example(b"\xff\xfe\xfd")
@example(b'{"id":1,"method":"test/echo","params":{"value":"\xff"}}')
@example(b'{"id":1,"method":"te\0st/echo"}')
@example(b"\0" * 100)
@example(b"[" * 100_000)
@example(b'{"a":' * 5000 + b"1" + b"}" * 5000)
@example(b'{"id":NaN}')
@example(b'{"id":1e999}')
@example(b'{"id":1,"method":"\\ud800"}')
@example(b'\xef\xbb\xbf{"id":1,"method":"test/echo"}')
@example(b"Content-Length: 52\r")
@example(b"GET / HTTP/1.1\r")
def test_what_is_not_json_is_a_parse_error(client: RudeClient, line: bytes) -> None:
    assume(line.strip() and not _is_json(line))
    answer = client.error(line)
    assert answer["id"] is None
    assert answer["error"]["code"] == -32700
    assert answer["error"]["message"].startswith("Parse error: ")


@given(_json)
@example([])
@example([{"id": 1, "method": "test/echo"}])
@example(None)
@example("test/echo")
@example(1.5)
def test_json_that_is_no_object_is_an_invalid_request(client: RudeClient, value: Any) -> None:
    assume(not isinstance(value, dict))
    answer = client.error(orjson.dumps(value))
    assert (answer["id"], answer["error"]["code"]) == (None, -32600)
    assert answer["error"]["message"].startswith("Invalid request: ")


@given(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.lists(_json, max_size=2), _json
)
@example({}, "test/echo")
@example(None, "test/echo")
@example(True, "test/echo")
@example(1.0, "test/echo")
def test_an_id_that_is_neither_text_nor_whole_number_is_refused(client: RudeClient, wrong: Any, method: Any) -> None:
    assume(method is not None)
    answer = client.error(orjson.dumps({"id": wrong, "method": method}))
    assert answer["id"] is None
    assert answer["error"] == {"code": -32600, "message": "Invalid request: `id` must be a string or an integer"}


def test_an_id_too_large_for_a_number_is_refused(client: RudeClient) -> None:
    answer = client.error(b'{"id":123456789012345678901234567890,"method":"test/echo"}')
    assert answer["error"]["message"] == "Invalid request: `id` must be a string or an integer"


@given(_ids, _json)
def test_a_method_that_is_no_text_is_refused_under_the_requests_id(client: RudeClient, given: Any, method: Any) -> None:
    assume(not isinstance(method, str))
    answer = client.error(orjson.dumps({"id": given, "method": method}))
    assert (answer["id"], answer["error"]["code"]) == (given, -32600)
    assert "`method`" in answer["error"]["message"]


@given(_ids, st.text(max_size=30))
@example(1, "")
@example(1, "__class__")
@example(1, "test/echo ")
@example(1, "rpc.discover")
def test_an_unknown_method_is_named_in_the_refusal(client: RudeClient, given: Any, method: str) -> None:
    assume(method != "initialize")
    answer = client.error(orjson.dumps({"id": given, "method": method}))
    assert answer["id"] == given
    assert answer["error"] == {"code": -32600, "message": f"Invalid request: unknown method `{method}`"}


@given(_ids, _json)
@example(1, [])
@example(1, "")
@example(1, [{"number": 1}])
@example(1, {"number": True})
@example(1, {"number": 1.5})
@example(1, {"number": "1"})
@example(1, {"number": 1e300})
@example(1, {"number": {}})
def test_params_of_a_wrong_type_are_refused_and_right_ones_taken(client: RudeClient, given: Any, params: Any) -> None:
    (answer,) = client.say(orjson.dumps({"id": given, "method": "test/echo", "params": params}))
    assert answer["id"] == given
    members = cast("dict[str, Any]", params) if isinstance(params, dict) else {}
    number = members.get("number")
    whole = number is None or (isinstance(number, int) and not isinstance(number, bool))
    if params is None or (isinstance(params, dict) and whole):
        assert answer["result"]["number"] == number
    else:
        assert answer["error"]["code"] == -32600
        assert answer["error"]["message"].startswith("Invalid request: ")
        if isinstance(params, dict):
            assert "`number`" in answer["error"]["message"]


@pytest.mark.parametrize("depth", [10, 250, 260, 900, 1020])
def test_deep_nesting_is_answered(client: RudeClient, depth: int) -> None:
    value = b"[" * depth + b"]" * depth
    (answer,) = client.say(b'{"id":1,"method":"test/echo","params":{"value":%b}}' % value)
    assert answer["id"] == 1
    # What cannot be written again (past 255 levels) is an error of its own, not the end of the connection.
    assert "result" in answer if depth < 255 else answer["error"]["code"] == -32603


@pytest.mark.parametrize("params", [None, {}, {"size": None}, {"size": "1"}, {"size": True}, {"size": 1.5}, []])
def test_a_missing_or_ill_typed_member_is_named(client: RudeClient, params: Any) -> None:
    answer = client.error(orjson.dumps({"id": 1, "method": "test/blob", "params": params}))
    assert answer["error"]["code"] == -32600
    assert "size" in answer["error"]["message"] or isinstance(params, list)


@given(st.text(max_size=20), _json)
@example("initialize", None)
@example("initialized", None)
@example("initialized", {})
@example("test/echo", {"value": 1})
@example("$/cancelRequest", {"id": 1})
def test_a_notification_is_never_answered(client: RudeClient, method: str, params: Any) -> None:
    assert client.say(orjson.dumps({"method": method, "params": params})) == []


@given(_json, _json, st.sampled_from(("result", "error")))
def test_an_answer_to_a_question_that_was_not_asked_is_ignored(
    client: RudeClient, given: Any, value: Any, member: str
) -> None:
    assert client.say(orjson.dumps({"id": given, member: value})) == []


@given(_one_line)
def test_any_line_gets_at_most_one_answer(client: RudeClient, line: bytes) -> None:
    assert len(client.say(line)) <= 1


@given(st.dictionaries(st.sampled_from(("id", "method", "params", "result", "error", "jsonrpc")), _json))
def test_any_mixture_of_members_gets_at_most_one_answer(client: RudeClient, message: dict[str, Any]) -> None:
    answers = client.say(orjson.dumps(message))
    if "id" in message and "result" not in message and "error" not in message:
        assert len(answers) == 1
    assert len(answers) <= 1


@pytest.mark.parametrize("line", [b"", b" ", b"\r", b"\t \r"])
def test_an_empty_line_means_nothing(client: RudeClient, line: bytes) -> None:
    assert client.say(line) == []


def test_a_carriage_return_before_the_newline_is_no_part_of_the_message(client: RudeClient) -> None:
    (answer,) = client.say(b'{"id":1,"method":"test/echo","params":{"value":"a"}}\r')
    assert answer["result"]["value"] == "a"


@pytest.mark.parametrize("given", ["", "é\0", 0, -1, 2**63 - 1, 2**64 - 1, "123"])
def test_an_id_comes_back_as_it_was(client: RudeClient, given: Any) -> None:
    (answer,) = client.say(orjson.dumps({"id": given, "method": "test/echo", "jsonrpc": "2.0"}))
    assert answer == {"id": given, "result": {"value": None, "number": None}}
