"""A session file as turns, items and history: what the reference shows of it, and what its model was shown."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, cast

import orjson
from msgspec import Struct, field

from app_server.rpc.outbound import encode
from app_server.store.rollouts import items
from app_server.store.rollouts.calls import command_item, command_of
from app_server.store.rollouts.files import ODD_RECORD, Record
from app_server.store.rollouts.history import Entry, compacted, kept, paired
from app_server.store.rollouts.settings import SessionSettings
from app_server.store.rollouts.summary import message_text, spoken
from app_server.store.rows import ItemRow, TurnRow, TurnStatus
from protocol.v2.item import ReasoningThreadItem

Json = Mapping[str, Any]

LARGEST: Final = 1 << 50
"""A greater number is no time and no count."""

_BEGINS: Final = {"task_started", "turn_started"}
_ENDS: Final = {"task_complete", "turn_complete"}


class Session(Struct, frozen=True):
    """All that a session file holds; `token_usage` is the wire's ThreadTokenUsage as JSON."""

    turns: list[TurnRow]
    items: list[ItemRow]
    history: list[Entry]
    settings: SessionSettings
    token_usage: str | None


class _Turn(Struct, eq=False):
    """A turn as far as it was read. `explicit`: the file says where it begins and ends."""

    id: str
    started_at_ms: int
    explicit: bool
    status: TurnStatus | None = None
    completed_at_ms: int | None = None
    duration_ms: int | None = None
    error: str | None = None
    items: dict[str, "_Item"] = field(default_factory=dict[str, "_Item"])

    def row(self) -> TurnRow:
        # A turn without an end was cut off, unless it has no beginning either.
        status = self.status or ("interrupted" if self.explicit else "completed")
        return TurnRow(self.id, status, self.started_at_ms, self.completed_at_ms, self.duration_ms, self.error)


class _Item(Struct, eq=False):
    """An item as it is stored: of a long session there are many, and a model takes far more room than its text."""

    row: ItemRow
    place: int
    thoughts: ReasoningThreadItem | None


def replay(records: Iterable[Record], paginated: bool) -> Session:
    """Read a session from its first record to its last."""
    reader = _Reader(paginated)
    for record in records:
        # What is of another form than the reference ever wrote costs no more than itself.
        with suppress(*ODD_RECORD):
            reader.take(record)
    return reader.session()


class _Reader:
    def __init__(self, paginated: bool) -> None:
        self._paginated = paginated
        self._turns: dict[str, _Turn] = {}
        self._current: _Turn | None = None
        self._aliases: dict[str, str] = {}
        self._named: set[str] = set()
        self._history: list[Entry] = []
        self._settings = SessionSettings()
        self._begun = False
        self._tokens: Json | None = None
        self._records = 0
        self._numbered = 0
        self._places = 0
        self._calls: dict[str, list[str]] = {}
        self._at_ms = 0

    def take(self, record: Record) -> None:
        self._records += 1
        self._at_ms = record.at_ms or self._at_ms
        payload = record.payload
        match record.type:
            case "session_meta" if not self._begun:
                self._begun = True
                self._settings.begin(payload)
            case "turn_context":
                self._settings.turn_context(payload)
            case "response_item":
                self._response_item(payload)
            case "compacted":
                self._history = compacted(payload, self._history, self._turn_id)
            case "event_msg":
                self._event(str(payload.get("type")), payload)
            case _:
                pass

    @property
    def _turn_id(self) -> str | None:
        return None if self._current is None else self._current.id

    # What the model was shown

    def _response_item(self, item: Json) -> None:
        encoded = kept(item)
        if encoded is not None:
            self._history.append((self._turn_id, encoded))
        if self._paginated:
            return
        call_id = item.get("call_id")
        if not isinstance(call_id, str):
            return
        if (words := command_of(item)) is not None:
            self._calls[call_id] = words
            return
        words = self._calls.pop(call_id, None) if "output" in item else None
        if words is not None and self._current is not None and call_id not in self._current.items:
            self._add(self._current, command_item(call_id, words, self._settings.cwd, item["output"]))

    # What happened

    def _event(self, kind: str, event: Json) -> None:
        if kind in _BEGINS:
            self._begin(event)
        elif kind in _ENDS:
            self._end(event, "completed")
        elif kind == "turn_aborted":
            self._end(event, "interrupted")
        elif kind == "thread_settings_applied":
            if isinstance(settings := event.get("thread_settings"), dict):
                self._settings.applied(cast("Json", settings))
        elif kind == "token_count":
            if isinstance(info := event.get("info"), dict):
                self._tokens = cast("Json", info)
        elif kind == "item_completed":
            self._item_completed(event)
        elif not self._paginated:
            self._old_event(kind, event)

    def _begin(self, event: Json) -> None:
        turn_id, root = _text(event, "turn_id"), _text(event, "root_turn_id")
        started_at_ms = _ms(event.get("started_at"), self._at_ms)
        if turn_id is not None and root is not None and root != turn_id and root in (self._named | self._turns.keys()):
            # A reviewer works in a turn of its own within the user's: it is the user's that is shown.
            self._aliases[turn_id] = root
            if root not in self._turns:
                self._current = self._open(root, started_at_ms, explicit=True)
            return
        self._current = self._open(turn_id or self._implicit_id(), started_at_ms, explicit=True)

    def _open(self, turn_id: str, started_at_ms: int, *, explicit: bool) -> _Turn:
        if (turn := self._turns.get(turn_id)) is None:
            turn = self._turns[turn_id] = _Turn(turn_id, started_at_ms, explicit)
        return turn

    def _end(self, event: Json, status: TurnStatus) -> None:
        turn_id = _text(event, "turn_id")
        if turn_id in self._aliases:
            return
        turn = self._current if turn_id is None else self._turns.get(turn_id)
        if turn is None:
            return
        turn.status, turn.duration_ms = status, _number(event.get("duration_ms"))
        if event.get("completed_at") is not None or not self._paginated:
            turn.completed_at_ms = _ms(event.get("completed_at"), self._at_ms)
        if isinstance(error := event.get("error"), dict):
            turn.status, turn.error = "failed", _error_json(cast("Json", error))
        if turn is self._current:
            self._current = None

    def _item_completed(self, event: Json) -> None:
        turn_id, item = _text(event, "turn_id"), event.get("item")
        if turn_id is None or not isinstance(item, dict):
            return
        self._named.add(turn_id)
        told = cast("Json", item)
        # Older sessions have an event for whatever can be told by one; plans cannot.
        if turn_id in self._aliases or not (self._paginated or told.get("type") == "Plan"):
            return
        turn = self._turns.get(turn_id)
        if turn is None and told.get("type") == "EnteredReviewMode":
            turn = self._open(turn_id, self._at_ms, explicit=True)
        if turn is not None:
            built = items.item_of(told, _number(event.get("started_at_ms")), _number(event.get("completed_at_ms")))
            self._add(turn, built)

    def _old_event(self, kind: str, event: Json) -> None:
        match kind:
            case "user_message":
                self._user_message(event)
            case "agent_message":
                self._say(items.agent_message(event, self._next_id()))
            case "agent_reasoning":
                self._think(_text(event, "text"), None)
            case "agent_reasoning_raw_content":
                self._think(None, _text(event, "text"))
            case "thread_rolled_back":
                self._roll_back(_number(event.get("num_turns")) or 0)
            case _:
                self._old_item(event)

    def _old_item(self, event: Json) -> None:
        taken = self._numbered
        item = items.event_item(event, self._new_id)
        if item is None:
            self._numbered = taken
            return
        turn_id = _text(event, "turn_id")
        if turn_id is not None:
            self._named.add(turn_id)
            turn_id = self._aliases.get(turn_id, turn_id)
        turn = self._turns.get(turn_id or "") or self._current
        if turn is None or (item.type == "enteredReviewMode" and turn_id is not None and turn_id not in self._turns):
            turn = self._current = self._open(turn_id or self._implicit_id(), self._at_ms, explicit=turn_id is not None)
        self._add(turn, item)

    def _user_message(self, event: Json) -> None:
        if self._current is not None and self._current.id in self._aliases.values():
            self._numbered += 1  # the instructions of a reviewer, not words of the user; the reference counts them
            return
        if self._current is None or not self._current.explicit:
            self._current = self._open(self._implicit_id(), self._at_ms, explicit=False)
            self._adopt_message(self._current)
        self._add(self._current, items.user_message(event, self._new_id()))

    def _adopt_message(self, turn: _Turn) -> None:
        """Give a turn that begins with a message what the model was told of that message just before."""
        place = len(self._history)
        while place > 0 and self._history[place - 1][1].startswith(b'{"type":"message","role":"user"'):
            place -= 1
        self._history[place:] = [(turn.id, encoded) for _, encoded in self._history[place:]]

    def _say(self, item: Any) -> None:
        if item is not None:
            self._numbered += 1
            self._add(self._somewhere(), item)

    def _think(self, summary: str | None, content: str | None) -> None:
        if not summary and not content:
            return
        turn = self._somewhere()
        last = next(reversed(turn.items.values()), None)
        thoughts = None if last is None else last.thoughts
        item_id = self._new_id() if thoughts is None else thoughts.id
        summaries, contents = ([], []) if thoughts is None else (thoughts.summary, thoughts.content)
        summaries = [*summaries, *([summary] if summary else [])]
        self._add(turn, items.reasoning(item_id, summaries, [*contents, *([content] if content else [])]))

    def _roll_back(self, count: int) -> None:
        for turn_id in list(self._turns)[len(self._turns) - min(count, len(self._turns)) :]:
            turn = self._turns.pop(turn_id)
            self._history = [entry for entry in self._history if entry[0] != turn.id]
        self._current = None
        self._numbered = sum(len(turn.items) for turn in self._turns.values())

    # Turns and items

    def _somewhere(self) -> _Turn:
        if self._current is None:
            self._current = self._open(self._implicit_id(), self._at_ms, explicit=False)
        return self._current

    def _implicit_id(self) -> str:
        return f"rollout-{self._records - 1}"

    def _next_id(self) -> str:
        return f"item-{self._numbered + 1}"

    def _new_id(self) -> str:
        self._numbered += 1
        return f"item-{self._numbered}"

    def _add(self, turn: _Turn, item: Any) -> None:
        if item is None:
            return
        known = turn.items.get(item.id)
        if known is None:
            self._places += 1
        place, at_ms = (self._places, self._at_ms) if known is None else (known.place, known.row.started_at_ms)
        started, ended = _number(item.started_at_ms), _number(item.completed_at_ms)
        started, ended = at_ms if started is None else started, at_ms if ended is None else ended
        row = ItemRow(turn.id, item.id, item.type, encode(item), started, ended)
        turn.items[item.id] = _Item(row, place, item if item.type == "reasoning" else None)

    def _turns_of_history(self) -> None:
        """Make turns of what the model was shown, for files that tell nothing else."""
        entries, self._history = self._history, []
        self._records = 1
        for _, encoded in entries:
            self._records += 1
            item = orjson.loads(encoded)
            if spoken(item) is not None:
                self._current = self._open(self._implicit_id(), self._at_ms, explicit=False)
                self._add(self._current, items.user_message({"message": message_text(item)}, self._new_id()))
            elif self._current is not None and item.get("role") == "assistant":
                self._say(items.agent_message({"message": message_text(item)}, self._next_id()))
            elif self._current is not None and item.get("type") == "reasoning":
                for part in cast("list[Json]", item.get("summary") or ()):
                    self._think(_text(part, "text"), None)
            self._response_item(item)

    def session(self) -> Session:
        """What was read."""
        if not self._turns and self._history:
            self._turns_of_history()
        placed = sorted(
            (item for turn in self._turns.values() for item in turn.items.values()), key=lambda item: item.place
        )
        return Session(
            [turn.row() for turn in self._turns.values()],
            [item.row for item in placed],
            [(turn_id if turn_id in self._turns else None, encoded) for turn_id, encoded in paired(self._history)],
            self._settings,
            _tokens_json(self._tokens),
        )


def _error_json(error: Json) -> str:
    info = error.get("codex_error_info")
    return orjson.dumps(
        {
            "message": str(error.get("message") or ""),
            "codexErrorInfo": items.camel(info) if isinstance(info, str) else items.camel_keys(info),
            "additionalDetails": _text(error, "additional_details"),
            "misalignment": None,
        }
    ).decode()


def _tokens_json(info: Json | None) -> str | None:
    if info is None:
        return None
    total, last = info.get("total_token_usage"), info.get("last_token_usage")
    if not isinstance(total, dict) or not isinstance(last, dict):
        return None
    window = _number(info.get("model_context_window"))
    usage = {"total": _counts(cast("Json", total)), "last": _counts(cast("Json", last)), "modelContextWindow": window}
    return orjson.dumps(usage).decode()


def _counts(usage: Json) -> dict[str, int]:
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens", "total_tokens")
    return {items.camel(name): _number(usage.get(name)) or 0 for name in (*names, "cache_write_input_tokens")}


def _ms(seconds: Any, at_ms: int) -> int:  # Any: what a file holds
    """A time that the file tells in seconds: the record's own, which has milliseconds, if it is the same second."""
    known = _number(seconds)
    return at_ms if known is None or known == at_ms // 1000 else known * 1000


def _number(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and abs(value) < LARGEST else None


def _text(record: Json, name: str) -> str | None:
    value = record.get(name)
    return value if isinstance(value, str) and value else None
