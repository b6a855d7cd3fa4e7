"""What the bytes of a session file tell of the text in it: no text that a search would find may be missed."""

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pytest

from app_server.store.item_text import fold, occurrences, text_of
from app_server.store.rollouts import needle as module
from app_server.store.rollouts.files import parsed
from app_server.store.rollouts.needle import Needle, Sieve, windows
from app_server.store.rollouts.replay import replay
from tests.support.session_files import (
    Record,
    answered,
    context,
    event,
    item,
    lines,
    meta,
    old_turn,
    said,
    shown,
    spoken_turn,
    turn,
)

ODD = (
    'Say "Größe" and C:\\new\\table\tor \x1b[1m10\u212a \ufb01ne STRASSE straße\u00a0\ufb06op '
    "it's 50% — don\u2019t; ПРИВЕТ Σίσυφος 日本語 😀🎉 ǰ İstanbul ẗ ŉ ẚ (a->b) x::y {}[] ~/.x #1 <b>& "
    "\\u00e4\ufb01x \\\\u00c4"
)
CHANGED: dict[str, Any] = {
    "/src/ümläut file.py": {"type": "update", "unified_diff": "-old\n+new text", "move_path": "/dst/there.py"},
    "/src/brand_new.txt": {"type": "add", "content": ODD},
}
CALLED: dict[str, Any] = {
    "server": "tracker",
    "tool": "find_issue",
    "arguments": {"type": "bug", "id": "PROJ-12", "status": "wont-fix", "deep": [{"cwd": "/else"}]},
}
REVIEW = {
    "overall_explanation": "Looks odd",
    "findings": [
        {
            "title": "Off by one",
            "body": "first line\nsecond line",
            "code_location": {"absolute_file_path": "/src/a.py", "line_range": {"start": 12, "end": 14}},
        }
    ],
}
RAN: dict[str, Any] = {"command": ["bash", "-lc", "echo 'it''s' \"$HOME\" a/b"], "cwd": "/project/dir", "exit_code": 0}


def call(name: str, output: Any, **arguments: Any) -> list[Record]:
    told = {"type": "function_call", "name": name, "call_id": f"call-{name}", "arguments": json.dumps(arguments)}
    return [
        ("response_item", told),
        ("response_item", {"type": "function_call_output", "call_id": f"call-{name}", "output": output}),
    ]


PAGINATED = turn(
    "t1",
    *said("t1", ODD),
    item("t1", type="CommandExecution", id="c", aggregated_output=ODD, status="completed", parsed_cmd=[], **RAN),
    item("t1", type="Reasoning", id="r", summary_text=["**Thinking** of it", "and more"], raw_content=["hidden"]),
    item("t1", type="FileChange", id="f", changes=CHANGED, status="completed"),
    item("t1", type="McpToolCall", id="m", status="completed", result={"Ok": {"content": [{"text": ODD}]}}, **CALLED),
    item("t1", type="ImageView", id="i", path="file:///pictures/my%20%C3%A4rger%23.png"),
    item("t1", type="WebSearch", id="w", query="how to", action={"type": "search"}),
    item("t1", type="ExitedReviewMode", id="e", review_output=REVIEW),
    item("t1", type="Plan", id="p", text="1. Do\n2. Done"),
    *answered("t1", ODD),
)
OLD = [
    *old_turn("t1", ODD, ODD),
    *turn(
        "t2",
        event("user_message", message="run it", images=[]),
        event("agent_reasoning", text="the end of one thought"),
        event("agent_reasoning", text="begins another"),
        event("exec_command_end", call_id="x1", aggregated_output="", stdout="out of it", stderr="", **RAN),
        *call("exec_command", f"Exit code: 1\nOutput:\n{ODD}", cmd=f"grep -e 'żółw' {ODD}"),
        *call("shell", '{"output":"as \\"json\\" \\u00e4","metadata":{"exit_code":0}}', command=["ls", "-la", "ä ö"]),
        event("patch_apply_end", call_id="x2", changes=CHANGED, success=True),
        event("mcp_tool_call_end", call_id="x3", invocation=CALLED, result={"Err": {"code": "broken"}}),
        event("exited_review_mode", review_output=None),
    ),
]
SPOKEN = [shown("user", ODD), shown("assistant", f"{ODD} said"), ("compacted", {"message": "a summary of it"})]


def compact(records: Sequence[Record], *, paginated: bool) -> bytes:
    """As the reference writes them."""
    return b"\n".join([*lines([meta(paginated=paginated), context(), *records], numbered=paginated), b""])


def escaped(records: Sequence[Record], *, paginated: bool) -> bytes:
    """As a program writes them that leaves no character beyond ASCII as it is, and puts blanks between members."""
    return b"".join(
        json.dumps(orjson.loads(line)).encode() + b"\n" for line in compact(records, paginated=paginated).splitlines()
    )


def texts(data: bytes, *, paginated: bool) -> list[str]:
    records = (record for line in data.splitlines() if (record := parsed(line)) is not None)
    items = replay(records, paginated).items
    return [text for one in items if (text := text_of(one.type, one.payload))]


def may_have(data: bytes, term: str) -> bool:
    sieve = Sieve(Needle(fold(term)))
    if any(sieve.add(head, window) for head, window in windows(io.BytesIO(data))):
        return True
    return sieve.doubtful and not sieve.has_turns(windows(io.BytesIO(data)))


def terms(text: str) -> Iterator[str]:
    """Parts of a text, wherever they begin and of several lengths, that a search would find in it."""
    for length in (1, 2, 4, 11):
        for start in range(0, len(text) - length + 1, 1 if length < 4 else 3):
            for term in (text[start : start + length], text[start : start + length].upper()):
                if (folded := fold(term)) and any(occurrences(text, folded)):
                    yield term


@pytest.mark.parametrize("write", [compact, escaped])
@pytest.mark.parametrize(("records", "paginated"), [(PAGINATED, True), (OLD, False), (SPOKEN, False)])
def test_no_text_that_is_there_is_missed(write: Any, records: Sequence[Record], paginated: bool) -> None:
    data = write(records, paginated=paginated)
    found = texts(data, paginated=paginated)
    wanted = {term for text in found for term in terms(text)}

    assert len(wanted) > 500
    assert [term for term in sorted(wanted) if not may_have(data, term)] == []


@pytest.mark.parametrize("number", range(3))
def test_no_text_is_missed_where_one_piece_of_a_file_ends(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(module, "WINDOW_BYTES", 700 + number)
    words = [f"ä{number:04}ω" if number % 2 else f"plain{number:04}word" for number in range(300)]
    data = compact(spoken_turn("t1", "?", " ".join(words)), paginated=True)

    assert [word for word in words if not may_have(data, word)] == []
    assert not may_have(data, "plain0301word")
    assert not may_have(data, "session-model")


@pytest.mark.parametrize("paginated", [True, False])
@pytest.mark.parametrize(
    "term",
    [
        "nobody said this",
        "ZEBRA",
        "payload",
        "session_meta",
        "session-model",
        "instructed",
        "secret",
        "/project",
        "ФЫВА",
        "ö",
    ],
)
def test_files_without_a_text_need_not_be_read(term: str, paginated: bool) -> None:
    spoken = spoken_turn if paginated else old_turn
    records = [
        meta(paginated=paginated, base_instructions={"text": "instructed payload zebra"}),
        context(user_instructions="secret ö", cwd="/project"),
        shown("developer", "secret payload"),
        *spoken("t1", "What is it?", "A file — “this” one."),
    ]
    assert not may_have(b"\n".join([*lines(records, numbered=paginated), b""]), term)


def test_all_that_folds_to_letters_of_others_is_known() -> None:
    made: dict[str, set[str]] = {}
    for character in map(chr, range(0x80, 0x110000)):
        if (folded := character.casefold()) != character:
            for one in folded:
                made.setdefault(one, set()).add(character)

    assert {odd for one in made if one.isascii() and one.isalnum() for odd in made[one]} == set(module.ODD_LETTERS)
    assert not [one for one in made if not one.isascii() and module.has_no_case(one)]
    assert max(odd for odds in made.values() for odd in odds) < chr(module.CASED)
