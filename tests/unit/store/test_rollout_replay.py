"""Session files of the reference read into turns, items and history."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from app_server.store.rollouts.chain import chain_of
from app_server.store.rollouts.files import LINE_BYTES
from app_server.store.rollouts.replay import Session, replay
from tests.support.session_files import (
    AT_MS,
    Record,
    answered,
    append,
    context,
    event,
    item,
    old_turn,
    said,
    shown,
    spoken_turn,
    turn,
    write_session,
)


def read(path: Path) -> Session:
    chain = chain_of(path.parents[4], path.as_posix())
    return replay(chain.records(), chain.paginated)


def shapes(session: Session) -> list[tuple[str, str, list[str]]]:
    """Of each turn its id, its status and the types of its items."""
    return [
        (turn.id, turn.status, [item.type for item in session.items if item.turn_id == turn.id])
        for turn in session.turns
    ]


def payloads(session: Session) -> list[dict[str, Any]]:
    return [orjson.loads(item.payload) for item in session.items]


def texts(session: Session) -> list[str]:
    """What the model was shown, in words."""
    items = [orjson.loads(entry) for _, entry in session.history]
    return [
        entry["content"][0]["text"] if "content" in entry else entry.get("output", entry["type"]) for entry in items
    ]


def test_turns_items_and_history_of_a_session_are_as_its_file_tells(tmp_path: Path) -> None:
    session = read(write_session(tmp_path, [*spoken_turn("t1", "one", "1"), *spoken_turn("t2", "two", "2")]))

    both = ["userMessage", "agentMessage"]
    assert shapes(session) == [("t1", "completed", both), ("t2", "completed", both)]
    first = session.turns[0]
    assert (first.started_at_ms, first.completed_at_ms, first.duration_ms) == (AT_MS, (AT_MS // 1000 + 2) * 1000, 2000)
    assert texts(session) == ["one", "1", "two", "2"]
    assert [turn_id for turn_id, _ in session.history] == ["t1", "t1", "t2", "t2"]
    assert payloads(session)[0] == {
        "type": "userMessage",
        "id": "u-t1",
        "content": [{"type": "text", "text": "one", "text_elements": []}],
        "clientId": None,
        "startedAtMs": AT_MS,
        "completedAtMs": AT_MS + 1,
    }


SECONDS = {"secs": 1, "nanos": 500_000_000}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            {
                "type": "CommandExecution",
                "id": "c",
                "command": ["/bin/bash", "-lc", "cat a.txt; exit 3"],
                "cwd": "file:///a%20b",
                "parsed_cmd": [{"type": "read", "cmd": "cat a.txt", "name": "a.txt", "path": "a.txt"}],
                "source": "unified_exec_startup",
                "status": "failed",
                "aggregated_output": "x\n",
                "exit_code": 3,
                "duration": SECONDS,
                "process_id": "7",
            },
            {
                "command": "/bin/bash -lc 'cat a.txt; exit 3'",
                "cwd": "/a b",
                "commandActions": [{"type": "read", "command": "cat a.txt", "name": "a.txt", "path": "/a b/a.txt"}],
                "source": "unifiedExecStartup",
                "status": "failed",
                "aggregatedOutput": "x\n",
                "exitCode": 3,
                "durationMs": 1500,
                "processId": "7",
            },
        ),
        (
            {
                "type": "FileChange",
                "id": "c",
                "status": "completed",
                "changes": {
                    "/b": {"type": "update", "unified_diff": "@@\n", "move_path": "/c"},
                    "/a": {"type": "add", "content": "new\n"},
                },
            },
            {
                "status": "completed",
                "changes": [
                    {"path": "/a", "diff": "new\n", "kind": {"type": "add"}},
                    {"path": "/b", "diff": "@@\n\n\nMoved to: /c", "kind": {"type": "update", "move_path": "/c"}},
                ],
            },
        ),
        (
            {
                "type": "McpToolCall",
                "id": "c",
                "server": "s",
                "tool": "t",
                "arguments": {"a": 1},
                "status": "failed",
                "error": {"message": "no"},
                "duration": SECONDS,
            },
            {"server": "s", "tool": "t", "arguments": {"a": 1}, "status": "failed", "error": {"message": "no"}},
        ),
        (
            {"type": "WebSearch", "id": "c", "query": "q", "action": {"type": "open_page", "url": "u"}},
            {"query": "q", "action": {"type": "openPage", "url": "u"}},
        ),
        (
            {
                "type": "ExitedReviewMode",
                "id": "c",
                "review_output": {
                    "overall_explanation": "Fine.",
                    "findings": [
                        {
                            "title": "T",
                            "body": "one\ntwo",
                            "code_location": {"absolute_file_path": "/f", "line_range": {"start": 1, "end": 2}},
                        }
                    ],
                },
            },
            {"review": "Fine.\n\nReview comment:\n\n- T — /f:1-2\n  one\n  two"},
        ),
        (
            {"type": "Reasoning", "id": "c", "summary_text": ["s"], "raw_content": ["r"]},
            {"summary": ["s"], "content": ["r"]},
        ),
        ({"type": "ContextCompaction", "id": "c"}, {"type": "contextCompaction"}),
        ({"type": "Plan", "id": "c", "text": "# Do"}, {"type": "plan", "text": "# Do"}),
        ({"type": "ImageView", "id": "c", "path": "file:///i.png"}, {"type": "imageView", "path": "/i.png"}),
    ],
    ids=lambda value: value.get("type") if "id" in value else "",
)
def test_an_item_has_the_form_of_the_wire(tmp_path: Path, told: dict[str, Any], expected: dict[str, Any]) -> None:
    session = read(write_session(tmp_path, turn("t1", item("t1", **told))))

    (payload,) = payloads(session)
    assert {name: payload[name] for name in expected} == expected
    assert payload["id"] == "c"


def test_an_item_of_a_kind_or_form_that_is_not_known_is_left_out(tmp_path: Path) -> None:
    odd: list[Record] = [item("t1", type="Hologram", id="h"), item("t1", type="Plan", id="p", text=5)]
    session = read(write_session(tmp_path, turn("t1", *said("t1", "one"), *odd, *answered("t1", "1"))))

    assert shapes(session) == [("t1", "completed", ["userMessage", "agentMessage"])]


def test_turns_end_as_they_ended(tmp_path: Path) -> None:
    error = {"message": "no more", "codex_error_info": {"http_connection_failed": {"http_status_code": 500}}}
    records = [
        *turn("t1", *said("t1", "one"), error=error),
        event("task_started", turn_id="t2"),
        event("turn_aborted", turn_id="t2", reason="interrupted"),
        event("task_started", turn_id="t3"),
        *said("t3", "cut off"),
    ]
    session = read(write_session(tmp_path, records))

    assert [turn.status for turn in session.turns] == ["failed", "interrupted", "interrupted"]
    assert orjson.loads(session.turns[0].error or "") == {
        "message": "no more",
        "codexErrorInfo": {"httpConnectionFailed": {"httpStatusCode": 500}},
        "additionalDetails": None,
        "misalignment": None,
    }


def test_a_review_is_one_turn_without_the_reviewers_own(tmp_path: Path) -> None:
    records = [
        item("t1", type="EnteredReviewMode", id="in", user_facing_hint="look"),
        event("task_started", turn_id="inner", root_turn_id="t1"),
        *said("inner", "look"),
        item("t1", type="ExitedReviewMode", id="out", review_output=None),
        event("task_complete", turn_id="t1"),
    ]
    session = read(write_session(tmp_path, records))

    assert shapes(session) == [("t1", "completed", ["enteredReviewMode", "exitedReviewMode"])]


def test_an_older_session_numbers_its_items(tmp_path: Path) -> None:
    thoughts = [event("agent_reasoning", text="first"), event("agent_reasoning", text="then")]
    records = [*old_turn("t1", "one", "1"), *turn("t2", event("user_message", message="two"), *thoughts)]
    session = read(write_session(tmp_path, records, paginated=False))

    assert [(item.id, item.type) for item in session.items] == [
        ("item-1", "userMessage"),
        ("item-2", "agentMessage"),
        ("item-3", "userMessage"),
        ("item-4", "reasoning"),
    ]
    assert payloads(session)[3]["summary"] == ["first", "then"]
    assert payloads(session)[0]["startedAtMs"] is None


def test_a_session_without_marks_of_turns_begins_one_with_each_message(tmp_path: Path) -> None:
    records = [
        shown("user", "one"),
        event("user_message", message="one"),
        event("agent_message", message="1"),
        shown("assistant", "1"),
        shown("user", "two"),
        event("user_message", message="two"),
    ]
    session = read(write_session(tmp_path, records, paginated=False))

    assert shapes(session) == [
        ("rollout-2", "completed", ["userMessage", "agentMessage"]),
        ("rollout-6", "completed", ["userMessage"]),
    ]
    assert [turn_id for turn_id, _ in session.history] == ["rollout-2", "rollout-2", "rollout-6"]


def test_turns_that_were_rolled_back_are_gone_from_items_and_history(tmp_path: Path) -> None:
    records = [
        *old_turn("t1", "one", "1"),
        *old_turn("t2", "two", "2"),
        *old_turn("t3", "three", "3"),
        event("thread_rolled_back", num_turns=2),
        *old_turn("t4", "four", "4"),
    ]
    session = read(write_session(tmp_path, records, paginated=False))

    assert [turn.id for turn in session.turns] == ["t1", "t4"]
    assert [item.id for item in session.items] == ["item-1", "item-2", "item-3", "item-4"]
    assert texts(session) == ["one", "1", "four", "4"]


def call(call_id: str, command: str) -> Record:
    arguments = orjson.dumps({"cmd": command}).decode()
    return "response_item", {
        "type": "function_call",
        "name": "exec_command",
        "arguments": arguments,
        "call_id": call_id,
    }


def output(call_id: str, text: str) -> Record:
    return "response_item", {"type": "function_call_output", "call_id": call_id, "output": text}


@pytest.mark.parametrize(
    ("told", "status", "exit_code", "text"),
    [
        ("Wall time: 0.1 seconds\nProcess exited with code 0\nOutput:\nhi\n", "completed", 0, "hi\n"),
        ('{"output":"no\\n","metadata":{"exit_code":3,"duration_seconds":0.1}}', "failed", 3, "no\n"),
        ("exec_command failed: rejected by user", "declined", None, "exec_command failed: rejected by user"),
        ("Wall time: 0.7 seconds\naborted by user", "failed", None, "Wall time: 0.7 seconds\naborted by user"),
    ],
)
def test_commands_of_an_older_session_are_shown_though_it_has_no_events_of_them(
    tmp_path: Path, told: str, status: str, exit_code: int | None, text: str
) -> None:
    records = turn("t1", event("user_message", message="one"), call("c1", "echo hi"), output("c1", told))
    session = read(write_session(tmp_path, records, paginated=False))

    command = payloads(session)[1]
    assert (command["command"], command["cwd"]) == ("bash -lc 'echo hi'", "/project")
    assert (command["status"], command["exitCode"], command["aggregatedOutput"]) == (status, exit_code, text)


def test_a_history_that_was_summed_up_is_what_replaced_it(tmp_path: Path) -> None:
    replacement = [shown("user", "one")[1], shown("user", "in short")[1]]
    records = [
        *spoken_turn("t1", "one", "1"),
        ("compacted", {"message": "in short", "replacement_history": replacement}),
        *spoken_turn("t2", "two", "2"),
    ]
    assert texts(read(write_session(tmp_path, records))) == ["one", "in short", "two", "2"]

    older = [*old_turn("t1", "one", "1"), ("compacted", {"message": "in short"}), *old_turn("t2", "two", "2")]
    session = read(write_session(tmp_path, older, paginated=False))
    assert texts(session) == ["one", "in short", "two", "2"]


def test_every_call_in_the_history_has_an_output_and_every_output_a_call(tmp_path: Path) -> None:
    records = turn(
        "t1", *said("t1", "one"), output("lost", "?"), call("c1", "a"), call("c2", "b"), output("c2", "done")
    )
    session = read(write_session(tmp_path, records))

    assert [orjson.loads(entry).get("call_id") for _, entry in session.history] == [None, "c1", "c1", "c2", "c2"]
    assert texts(session)[1:] == ["function_call", "aborted", "function_call", "done"]


def test_settings_and_usage_are_the_last_that_the_file_tells(tmp_path: Path) -> None:
    counts = {"input_tokens": 3, "cached_input_tokens": 1, "output_tokens": 2, "total_tokens": 5}
    records = [
        context(model="first"),
        *spoken_turn("t1", "one", "1"),
        event("token_count", info={"total_token_usage": counts, "last_token_usage": counts, "model_context_window": 9}),
        event("token_count", info=None),
        context(effort="high", approval_policy="on-request"),
        event(
            "thread_settings_applied", thread_settings={"model": "chosen", "cwd": "/moved", "reasoning_effort": "low"}
        ),
    ]
    session = read(write_session(tmp_path, records))

    settings = session.settings
    assert (settings.model, settings.cwd, settings.effort) == ("chosen", "/moved", "low")
    assert (settings.approval_policy, settings.sandbox) == ("on-request", {"type": "read-only"})
    usage = orjson.loads(session.token_usage or "")
    assert (usage["total"]["totalTokens"], usage["last"]["inputTokens"], usage["modelContextWindow"]) == (5, 3, 9)


@pytest.mark.parametrize(
    "damage",
    [
        b"no JSON at all",
        b"",
        b"\0\0\0\0",
        b"[1, 2]",
        b'{"timestamp":"2026-05-04T03:02:01.500Z","type":"event_msg","payl',
        b'{"type":"event_msg","payload":5}',
        b'{"timestamp":"x","type":"event_msg","payload":{"type":"agent_message","message":"a\xff\xfe"}}',
        b'{"timestamp":"x","type":"response_item","payload":{"type":"message","role":"user","content":"text"}}',
        b'{"timestamp":"x","type":"event_msg","payload":{"type":"item_completed","turn_id":"t1","item":{"type":["x"]}}}',
        b'{"timestamp":"x","type":"event_msg","payload":{"type":"item_completed","turn_id":"t1","item":'
        b'{"type":"UserMessage","id":"x","content":[5,{"type":"text"},null]}}}',
        b'{"timestamp":"x","type":"compacted","payload":{"message":null,"replacement_history":[5,{"type":"other"}]}}',
    ],
)
def test_a_damaged_line_costs_no_more_than_itself(tmp_path: Path, damage: bytes) -> None:
    records = [*spoken_turn("t1", "one", "1"), damage, *spoken_turn("t2", "two", "2")]
    session = read(write_session(tmp_path, records))

    shown_turns = [(turn_id, status) for turn_id, status, _ in shapes(session)]
    assert shown_turns == [("t1", "completed"), ("t2", "completed")]
    assert {"u-t1", "a-t1", "u-t2", "a-t2"} <= {item.id for item in session.items}


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    path = write_session(tmp_path, spoken_turn("t1", "one", "1"))
    with path.open("ab") as file:
        file.write(b'{"timestamp":"x","type":"response_item","payload":{"text":"')
        for _ in range(LINE_BYTES >> 20):
            file.write(b"x" * (1 << 20))
        file.write(b'"}}\n')
    append(path, spoken_turn("t2", "two", "2"))

    assert [turn.id for turn in read(path).turns] == ["t1", "t2"]


def test_a_session_of_bare_records_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "sessions/2025/05/01"
    folder.mkdir(parents=True)
    path = folder / "rollout-2025-05-01T01-02-03-00000000-0000-4000-8000-000000000001.jsonl"
    bare = [
        {"id": "00000000-0000-4000-8000-000000000001", "timestamp": "2025-05-01T01:02:03.000Z", "instructions": "I"},
        {"record_type": "state"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
    ]
    path.write_bytes(b"\n".join(map(orjson.dumps, bare)))
    session = read(path)

    assert [types for _, _, types in shapes(session)] == [["userMessage", "agentMessage"]]
    assert texts(session) == ["hello", "hi"]


def test_a_fork_begins_with_the_part_of_its_source_that_it_refers_to(tmp_path: Path) -> None:
    source = write_session(tmp_path, spoken_turn("t1", "one", "1"))
    end = source.stat().st_size
    count = source.read_bytes().count(b"\n")
    append(source, spoken_turn("t2", "not in the fork", "2"), start=count)
    base = {"thread_id": source.stem[-36:], "end_ordinal_exclusive": count, "end_byte_offset": end}
    fork_id = "01a20000-0000-7000-8000-000000000002"
    fork = write_session(tmp_path, spoken_turn("t3", "three", "3"), thread_id=fork_id, start=count, history_base=base)

    session = read(fork)
    assert [turn.id for turn in session.turns] == ["t1", "t3"]
    assert texts(session) == ["one", "1", "three", "3"]


def test_a_fork_whose_source_is_gone_has_what_is_its_own(tmp_path: Path) -> None:
    base = {"thread_id": "01a20000-0000-7000-8000-000000000009", "end_ordinal_exclusive": 9, "end_byte_offset": 99}
    fork = write_session(tmp_path, spoken_turn("t3", "three", "3"), history_base=base)

    assert [turn.id for turn in read(fork).turns] == ["t3"]
    assert "is gone" in (chain_of(tmp_path, fork.as_posix()).incomplete or "")
