"""What a reviewer is shown of a thread: numbered entries within limits, long ones cut in the middle."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import orjson
from msgspec import Struct
from msgspec.structs import replace

BYTES_PER_TOKEN = 4
"""A rough measure that is good enough for limits."""

MESSAGES_TOKENS = 10_000
TOOLS_TOKENS = 10_000
MESSAGE_TOKENS = 2_000
TOOL_ENTRY_TOKENS = 1_000
OTHER_ENTRIES = 40
"""How many entries that are not the user's are shown, the newest ones."""

APPROVAL_TAG = "<approved_action>"
"""What a developer message about an action that the user has allowed begins with."""

_NOT_TYPED = re.compile(
    r"\s*(<(environment_context|turn_aborted|additional_context|user_shell_command|INSTRUCTIONS|skill)\b"
    r"|# AGENTS\.md instructions for )"
)
"""How messages begin that stand in the user's place without being the user's words."""

_DELIMITER = re.compile(r">{3,}(?=\s*(TRANSCRIPT|APPROVAL|USER APPROVALS|AGENT PERMISSIONS))")

Kind = Literal["user", "assistant", "context", "tool"]


class Entry(Struct, frozen=True):
    """One thing that happened. `number` counts from 1 over the whole thread."""

    number: int
    kind: Kind
    label: str
    text: str

    def shown(self) -> str:
        """As the reviewer reads it: only the first line of an entry begins at the margin, so none can be forged."""
        text = quoted(self.text).replace("\n", "\n    ")
        return f"[{self.number}] {self.label}: {text}\n"

    @property
    def limit(self) -> int:
        """The most tokens that are shown of it."""
        return TOOL_ENTRY_TOKENS if self.kind == "tool" else MESSAGE_TOKENS


def tokens(text: str) -> int:
    """About how many tokens a text has, rounded up."""
    return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)


def cut(text: str, limit: int) -> str:
    """`text` with so much taken out of its middle that about `limit` tokens are left, and a mark in its place."""
    if tokens(text) <= limit:
        return text
    data = text.encode(errors="replace")
    half = limit * BYTES_PER_TOKEN // 2
    head, tail = data[:half].decode(errors="ignore"), data[len(data) - half :].decode(errors="ignore")
    omitted = -(-(len(data) - 2 * half) // BYTES_PER_TOKEN)
    return f'{head}<truncated omitted_approx_tokens="{omitted}" />{tail}'


def quoted(text: str) -> str:
    """`text` without what could be taken for a delimiter of the request."""
    return _DELIMITER.sub("(quoted)", text)


def entries(history: Iterable[bytes]) -> list[Entry]:
    """Every entry of a history of response items, uncut. Reasoning and messages of the program are left out."""
    found: list[Entry] = []
    names: dict[str, str] = {}
    for encoded in history:
        shown = _entry(orjson.loads(encoded), names)
        if shown is not None:
            found.append(Entry(len(found) + 1, *shown))
    return found


def approvals_in(history: Iterable[bytes]) -> list[str]:
    """The developer messages by which the user has allowed actions that were denied, oldest first."""
    marked = (orjson.loads(encoded) for encoded in history if APPROVAL_TAG.encode() in encoded)
    messages = (_text(item.get("content")) for item in marked if item.get("role") == "developer")
    return [text for text in messages if text.startswith(APPROVAL_TAG)]


def selected(found: Sequence[Entry]) -> tuple[list[Entry], int]:
    """The entries that are shown, in order and cut, and how many are left out.

    What the user said first and last always stays; then the newest come first, as far as the limits go.
    """
    users = [entry for entry in found if entry.kind == "user"]
    kept = {entry.number: _cut(entry) for entry in (*users[:1], *users[-1:])}
    budgets = {True: MESSAGES_TOKENS - sum(tokens(entry.text) for entry in kept.values()), False: TOOLS_TOKENS}
    others = OTHER_ENTRIES
    full: set[bool] = set()
    # The user's words before those of the model: they are what authorises an action.
    by_weight = [*reversed(users), *(entry for entry in reversed(found) if entry.kind != "user")]
    for entry in by_weight:
        is_message = entry.kind != "tool"
        if entry.number in kept or is_message in full:
            continue
        if entry.kind != "user" and others == 0:
            break
        shown = _cut(entry)
        cost = tokens(shown.text)
        if cost > budgets[is_message]:
            full.add(is_message)
            continue
        budgets[is_message] -= cost
        others -= entry.kind != "user"
        kept[entry.number] = shown
    return [kept[number] for number in sorted(kept)], len(found) - len(kept)


def _cut(entry: Entry) -> Entry:
    return replace(entry, text=cut(entry.text, entry.limit))


def _entry(item: Mapping[str, Any], names: dict[str, str]) -> tuple[Kind, str, str] | None:
    kind = item.get("type")
    if kind == "message":
        return _message(item)
    if kind in ("function_call", "custom_tool_call"):
        name = str(item.get("name"))
        names[str(item.get("call_id"))] = name
        return "tool", f"tool {name} call", str(item.get("arguments", item.get("input", "")))
    if kind in ("function_call_output", "custom_tool_call_output"):
        name = names.get(str(item.get("call_id")), "unknown")
        return "tool", f"tool {name} result", _text(item.get("output"))
    if kind in ("web_search_call", "local_shell_call"):
        return "tool", f"tool {kind.removesuffix('_call')} call", orjson.dumps(item.get("action")).decode()
    return None


def _message(item: Mapping[str, Any]) -> tuple[Kind, str, str] | None:
    text = _text(item.get("content"))
    match item.get("role"):
        case "user" if _NOT_TYPED.match(text):
            return "context", "context (not the user's words)", text
        case "user":
            return "user", "user", text
        case "assistant" if text:
            return "assistant", "assistant", text
        case _:
            return None


def _text(content: Any) -> str:
    """The text of a message or an output; what is no text is only named."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = cast("list[Any]", content)
    return "\n".join(_part(cast("Mapping[str, Any]", part)) for part in parts if isinstance(part, dict))


def _part(part: Mapping[str, Any]) -> str:
    text = part.get("text")
    return text if isinstance(text, str) else f"({part.get('type')})"
