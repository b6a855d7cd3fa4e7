"""Session files whose records have been changed at random: reading them never fails."""

from collections.abc import Sequence
from typing import Any, cast

import orjson
from hypothesis import given
from hypothesis import strategies as st

from app_server.store.rollouts.files import Record, parsed
from app_server.store.rollouts.replay import replay
from tests.support.session_files import context, event, item, lines, meta, old_turn, said, shown, spoken_turn

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)

SECONDS = {"secs": 1, "nanos": 1}
REVIEW = {
    "overall_explanation": "e",
    "findings": [{"title": "t", "body": "b", "code_location": {"line_range": {"start": 1, "end": 2}}}],
}
CHANGES = {"/a": {"type": "update", "unified_diff": "@@", "move_path": None}, "/b": {"add": {"content": "x"}}}
COMMAND: dict[str, Any] = {
    "command": ["ls"],
    "cwd": "file:///a",
    "parsed_cmd": [{"type": "read", "cmd": "ls", "name": "n", "path": "p"}],
    "duration": SECONDS,
    "exit_code": 0,
}
CALL: dict[str, Any] = {"server": "s", "tool": "t", "arguments": {}}
WHOLE: list[dict[str, Any]] = [
    {"type": "AgentMessage", "content": [{"text": "x"}], "memory_citation": {"entries": [], "rollout_ids": []}},
    {"type": "UserMessage", "content": [{"type": "text", "text": "x", "text_elements": [{"byte_range": {}}]}]},
    {"type": "UserMessage", "content": [{"type": kind} for kind in ("image", "local_image", "audio", "skill")]},
    {"type": "CommandExecution", **COMMAND},
    {"type": "FileChange", "changes": CHANGES},
    {"type": "McpToolCall", **CALL, "result": {"content": []}, "app_context": {"connector_id": "c"}},
    {"type": "DynamicToolCall", "tool": "t", "content_items": [], "success": True},
    {"type": "CollabAgentToolCall", "tool": "spawn_agent", "agents_states": {}},
    {"type": "SubAgentActivity", "kind": "started"},
    {"type": "WebSearch", "query": "q", "action": {"type": "search"}},
    {"type": "ImageGeneration", "result": "x"},
    {"type": "HookPrompt", "fragments": [{"text": "x"}]},
    {"type": "Sleep", "duration": SECONDS},
    {"type": "ExitedReviewMode", "review_output": REVIEW},
]
EVENTS: list[dict[str, Any]] = [
    {"type": "exec_command_end", **COMMAND},
    {"type": "patch_apply_end", "changes": CHANGES, "success": True},
    {"type": "mcp_tool_call_end", "invocation": CALL, "result": {"Ok": {"content": []}}},
    {"type": "exited_review_mode", "review_output": REVIEW},
    {"type": "user_message", "message": "m", "images": ["x"], "text_elements": []},
    {"type": "agent_reasoning", "text": "x"},
    {"type": "thread_rolled_back", "num_turns": 1},
    {"type": "turn_aborted"},
    {"type": "token_count", "info": {"total_token_usage": {}, "last_token_usage": {}}},
    {"type": "thread_settings_applied", "thread_settings": {"model": "m", "runtime_workspace_roots": []}},
    {"type": "task_complete", "turn_id": "t1", "error": {"message": "m", "codex_error_info": {"a_b": {}}}},
]
SHELL = {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "c"}
LOCAL = {"type": "local_shell_call", "call_id": "d", "action": {"command": ["ls"]}}
TOLD = '{"output":"","metadata":{"exit_code":1}}'
RECORDS: list[Any] = [
    ("session_meta", {**meta()[1], "base_instructions": {"text": "x"}, "dynamic_tools": []}),
    context(collaboration_mode={"mode": "plan"}, active_permission_profile={"id": "x"}),
    *spoken_turn("t0", "q", "a"),
    *old_turn("t1", "q", "a"),
    event("task_started", turn_id="t1", started_at=1),
    *said("t1", "x"),
    *(item("t1", id=f"i{number}", **whole) for number, whole in enumerate(WHOLE)),
    *(("event_msg", {"call_id": f"e{number}", **told}) for number, told in enumerate(EVENTS)),
    ("response_item", SHELL),
    ("response_item", {"type": "function_call_output", "call_id": "c", "output": TOLD}),
    ("response_item", LOCAL),
    ("response_item", {"type": "reasoning", "summary": [{"text": "x"}]}),
    ("compacted", {"message": "m", "replacement_history": [shown("user", "x")[1]]}),
]


def changed(value: Any, place: Sequence[int], junk: Any) -> Any:
    """JSON with `junk` somewhere within it."""
    if place and isinstance(value, dict) and value:
        members = cast("dict[str, Any]", value)
        name = list(members)[place[0] % len(members)]
        return {**members, name: changed(members[name], place[1:], junk)}
    if place and isinstance(value, list) and value:
        parts = cast("list[Any]", value)
        at = place[0] % len(parts)
        return [*parts[:at], changed(parts[at], place[1:], junk), *parts[at + 1 :]]
    return junk


CHANGES_MADE = st.lists(
    st.tuples(st.integers(0, len(RECORDS) - 1), st.lists(st.integers(0, 9), min_size=1, max_size=6), JUNK), max_size=6
)


@given(made=CHANGES_MADE, paginated=st.booleans(), order=st.randoms(use_true_random=False))
def test_a_session_with_odd_records_is_read(
    made: list[tuple[int, list[int], Any]], paginated: bool, order: Any
) -> None:
    whole: list[Any] = [orjson.loads(line) for line in lines(RECORDS)]
    for number, place, junk in made:
        whole[number] = changed(whole[number], place, junk)
    if len(made) > 3:
        order.shuffle(whole)
    records: list[Record] = [record for value in whole if (record := parsed(orjson.dumps(value))) is not None]
    session = replay(records, paginated)

    numbers = [turn.started_at_ms for turn in session.turns] + [row.completed_at_ms for row in session.items]
    assert all(number is not None and abs(number) < 1 << 63 for number in numbers)
    ids = {turn.id for turn in session.turns}
    assert all(row.turn_id in ids and isinstance(orjson.loads(row.payload), dict) for row in session.items)
    assert all(turn_id is None or turn_id in ids for turn_id, _ in session.history)


@given(st.binary(max_size=200))
def test_a_line_of_anything_is_a_record_or_nothing(line: bytes) -> None:
    assert parsed(line) is None or isinstance(parsed(line), Record)
