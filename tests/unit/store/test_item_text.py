from typing import Any

import orjson
import pytest

from app_server.store.item_text import HEAD, TAIL, fold, occurrences, text_of


def text(kind: str, **members: Any) -> str:
    return text_of(kind, orjson.dumps({"type": kind, "id": "i", **members}))


@pytest.mark.parametrize(
    ("kind", "members", "expected"),
    [
        ("userMessage", {"content": [{"type": "text", "text": "one\n two"}, {"type": "image", "url": "u"}]}, "one two"),
        ("agentMessage", {"text": " said\t\tso "}, "said so"),
        ("reasoning", {"summary": ["a", "b"], "content": ["hidden"]}, "a b"),
        ("commandExecution", {"command": "ls", "aggregatedOutput": "x\ny\n", "cwd": "/elsewhere"}, "ls x y"),
        ("commandExecution", {"command": "ls", "aggregatedOutput": None}, "ls"),
        ("fileChange", {"changes": [{"path": "/a", "diff": "+b", "kind": {"type": "add"}}]}, "/a +b"),
        (
            "mcpToolCall",
            {
                "server": "s",
                "tool": "t",
                "arguments": {"q": ["deep", 1]},
                "result": {"content": [{"type": "text", "text": "found"}, {"type": "image", "data": "AAAA"}]},
            },
            "s t deep found",
        ),
        (
            "dynamicToolCall",
            {"tool": "t", "arguments": "a", "contentItems": [{"type": "inputText", "text": "c"}]},
            "t a c",
        ),
        ("functionCallOutput", {"name": "n", "output": "o"}, "n o"),
        ("webSearch", {"query": "q"}, "q"),
        ("contextCompaction", {}, ""),
        ("a kind of later", {"text": "x"}, ""),
    ],
)
def test_each_kind_of_item_has_the_text_that_users_see(kind: str, members: dict[str, Any], expected: str) -> None:
    assert text(kind, **members) == expected


def test_of_a_long_output_the_beginning_and_the_end_count() -> None:
    output = "first " + "x" * 100_000 + " last"
    found = text("commandExecution", command="c", aggregatedOutput=output)
    assert len(found) <= HEAD + TAIL + 1
    assert found.startswith("c first xx")
    assert found.endswith("xx last")


@pytest.mark.parametrize("payload", [b"", b"[]", b'"x"', b'{"content":5}', b'{"content":[5]}', b"{"])
def test_what_is_no_item_has_no_text(payload: bytes) -> None:
    assert text_of("userMessage", payload) == ""


@pytest.mark.parametrize(
    ("said", "term", "found"),
    [
        ("Zebra and zebra", "ZEBRA", ["Zebra", "zebra"]),
        ("aaaa", "aa", ["aa", "aa"]),
        ("die Straße, die STRASSE", "strasse", ["Straße", "STRASSE"]),
        ("ßßx", "sx", ["ßx"]),
        ("ÜBER über", "Über", ["ÜBER", "über"]),
        ("a  b", "A B", []),
        ("nothing", "x", []),
    ],
)
def test_occurrences_are_places_in_the_text_as_it_was_said(said: str, term: str, found: list[str]) -> None:
    assert [said[start:end] for start, end in occurrences(said, fold(term))] == found
