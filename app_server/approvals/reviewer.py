"""The reviewing model: one conversation per thread, asked for a verdict until it gives one that can be read."""

import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import anyio
import anyio.to_thread
import orjson
from msgspec import Struct

from app_server.approvals import guardian_prompt
from app_server.approvals.actions import Action
from app_server.approvals.assessment import SCHEMA, Assessment, Unreadable, read_assessment
from app_server.approvals.guardian_prompt import Situation
from app_server.approvals.transcript import BYTES_PER_TOKEN, Entry, approvals_in, cut, entries
from app_server.model.catalog import ModelInfo
from app_server.model.events import Completed, ItemDone, ModelError, TextDelta
from app_server.model.provider import ModelProvider, ModelRequest, backoff

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often the model is asked for one verdict, all within one deadline."""

CONVERSATION_TOKENS = 60_000
"""When the conversation is begun anew, or earlier where the model's window is small."""

LOOKS = 10
"""How many commands the model may run for one verdict."""

SUBAGENT = "guardian"

EXEC_COMMAND: Mapping[str, Any] = {
    "type": "function",
    "name": "exec_command",
    "description": "Runs a shell command in a sandbox that can only read, without a network, and returns its output.",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {
            "cmd": {"type": "string", "description": "The command line, as typed into a shell."},
            "workdir": {"type": "string", "description": "Folder to run in. Default: the agent's workspace."},
        },
        "required": ["cmd"],
        "additionalProperties": False,
    },
}

_DECIDE_NOW = "No further command is run for this review. Decide by what you know."

_NO_SCHEMAS = re.compile(
    r"text\.format|json_?schema|response_?format|structured[ _-]?output|output_?schema|\bschemas?\b|guided"
    r"|param\w*\W+text\b",
    re.IGNORECASE,
)
"""How providers that cannot keep an answer to a schema say so."""


class Investigator(Protocol):
    """Runs commands for the reviewer."""

    async def __call__(self, script: str, folder: str | None) -> str:
        """What a command came to, as text, whatever happened. It can only read."""
        ...


class ReviewingModel(Struct, frozen=True):
    """Whom to ask. `effort` is the thread's own, for models that know no lower one."""

    provider: ModelProvider
    info: ModelInfo
    effort: str | None
    policy: str | None
    investigate: Investigator | None = None

    @property
    def instructions(self) -> str:
        """How it is to review."""
        return guardian_prompt.instructions(self.policy, has_tools=self.investigate is not None)


class ReviewedHistory(Struct, frozen=True):
    """The thread's history: what is stored, and what the running turn has added since."""

    stored: Sequence[bytes]
    unsaved: Sequence[bytes] = ()


class ReviewFailed(Exception):
    """There is no verdict; the message says why."""


class _Conversation(Struct, frozen=True):
    """What the model has been told in earlier reviews, and how far that reaches into the history."""

    key: tuple[str, str, str] | None = None
    items: tuple[bytes, ...] = ()
    seen: int = 0
    stored: int = 0
    last: bytes | None = None

    def goes_on(self, key: tuple[str, str, str], stored: Sequence[bytes], limit: int) -> bool:
        """Whether a further request can follow: same model, same instructions, and a history that has only grown."""
        if self.key != key or sum(map(len, self.items)) > limit * BYTES_PER_TOKEN or len(stored) < self.stored:
            return False
        return self.last is None or stored[self.stored - 1] == self.last


_NEW = _Conversation()


class Reviewer:
    """Asks for verdicts. Reviews beside each other begin with the same conversation, and one of them is kept."""

    def __init__(self, thread_id: str) -> None:
        self._thread_id = thread_id
        self._kept = _NEW
        self._takes_schema: dict[tuple[str, str], bool] = {}
        """By provider and model, as far as that is known."""

    async def assess(
        self, model: ReviewingModel, action: Action, history: ReviewedHistory, permissions: str
    ) -> Assessment:
        """The model's verdict. Raises ReviewFailed."""
        key = (model.provider.name, model.info.id, model.instructions)
        found, approvals = await anyio.to_thread.run_sync(_read, [*history.stored, *history.unsaved])
        limit = min(CONVERSATION_TOKENS, model.info.context_window // 3)
        before = self._kept if self._kept.goes_on(key, history.stored, limit) else _NEW
        situation = partial(Situation, self._thread_id, action, found, approvals=approvals, permissions=permissions)
        corrections: list[bytes] = []
        reason = "the reviewer was not asked"
        with_schema = self._takes_schema.get(key[:2], True)
        attempt = 1
        while attempt <= ATTEMPTS:
            request = guardian_prompt.request(situation(seen=before.seen))
            try:
                text = await self._ask(model, [*before.items, request, *corrections], with_schema=with_schema)
                assessment = read_assessment(text)
            except Unreadable as error:
                reason = str(error)
                corrections = _correction(error)
            except ModelError as error:
                reason = _explained(error, model)
                if with_schema and self._may_be_the_schema(error, key[:2]):
                    with_schema = False
                    continue
                if error.codex_error_info == "contextWindowExceeded" and before is not _NEW:
                    before = _NEW
                    continue
                if not error.retryable:
                    break
                if attempt < ATTEMPTS:
                    await anyio.sleep(backoff(attempt, error.retry_after))
            else:
                if self._kept is before or before is _NEW:
                    stored = history.stored
                    items = (*before.items, request, _verdict(text))
                    last = stored[-1] if stored else None
                    self._kept = _Conversation(key, items, len(found), len(stored), last)
                return assessment
            logger.info("review attempt %d of thread %s failed: %s", attempt, self._thread_id, reason)
            attempt += 1
        raise ReviewFailed(reason)

    def _may_be_the_schema(self, error: ModelError, key: tuple[str, str]) -> bool:
        """Whether the provider may have refused the request because of the schema.

        Many do not say so; then it is asked without one as long as no request with a schema was answered.
        """
        if error.status is None:
            return False
        if _NO_SCHEMAS.search(error.message) is not None:
            return True
        return error.codex_error_info == "badRequest" and key not in self._takes_schema

    async def _ask(self, model: ReviewingModel, items: Sequence[bytes], *, with_schema: bool) -> str:
        """The last message of an answer, after what the model wanted to look at. Raises ModelError, Unreadable."""
        sent = list(items)
        looks = 0
        while True:
            tools = [EXEC_COMMAND] if model.investigate is not None and looks < LOOKS else []
            answer = await self._read_answer(model, sent, tools, with_schema=with_schema)
            if not answer.calls:
                return answer.text()
            sent += answer.items
            for call in answer.calls:
                looks += 1
                output = _DECIDE_NOW if looks > LOOKS else await _look(model.investigate, call)
                result = {"type": "function_call_output", "call_id": call.get("call_id"), "output": output}
                sent.append(orjson.dumps(result))
            if looks > 2 * LOOKS:
                raise Unreadable("the reviewer went on looking instead of deciding")

    async def _read_answer(
        self,
        model: ReviewingModel,
        items: Sequence[bytes],
        tools: Sequence[Mapping[str, Any]],
        *,
        with_schema: bool,
    ) -> "_Answer":
        request = ModelRequest(
            model=model.info.id,
            instructions=model.instructions,
            input=items,
            tools=tools,
            parallel_tool_calls=False,
            effort="low" if "low" in model.info.efforts else model.effort,
            prompt_cache_key=f"guardian:{self._thread_id}",
            output_schema=SCHEMA if with_schema else None,
            strict_schema=False,
            metadata={"x-openai-subagent": SUBAGENT},
            headers={"x-openai-subagent": SUBAGENT},
            info=model.info,
        )
        answer = _Answer()
        async with model.provider.stream(request) as stream:
            async for event in stream:
                match event:
                    case ItemDone():
                        answer.add(event.item)
                    case TextDelta():
                        answer.deltas.append(event.delta)
                    case Completed():
                        # Reviews do not count into the thread's own use of its context window.
                        logger.info("review in thread %s used %d tokens", self._thread_id, event.usage.total)
                    case _:
                        pass
        self._takes_schema[model.provider.name, model.info.id] = with_schema
        return answer


class _Answer:
    """What one request has given."""

    def __init__(self) -> None:
        self.items: list[bytes] = []
        self.calls: list[Mapping[str, Any]] = []
        self.deltas: list[str] = []
        self._messages: list[str] = []

    def add(self, item: Mapping[str, Any]) -> None:
        """Take a finished item."""
        kind = item.get("type")
        if kind == "message":
            parts = item.get("content") or ()
            self._messages.append("".join(str(part.get("text") or "") for part in parts))
        elif kind in ("function_call", "reasoning"):
            if kind == "function_call":
                self.calls.append(item)
            self.items.append(
                orjson.dumps({name: value for name, value in item.items() if name not in ("id", "status")})
            )

    def text(self) -> str:
        """The last message. Raises Unreadable if there is none."""
        text = self._messages[-1] if self._messages else "".join(self.deltas)
        if not text.strip():
            raise Unreadable("the reviewer gave no answer")
        return text


def _read(history: Sequence[bytes]) -> tuple[list[Entry], list[str]]:
    return entries(history), approvals_in(history)


def _verdict(text: str) -> bytes:
    content = [{"type": "output_text", "text": cut(text, 1_000)}]
    return orjson.dumps({"type": "message", "role": "assistant", "content": content})


def _correction(error: Unreadable) -> list[bytes]:
    text = f"No verdict could be read from your answer: {error}. Answer with the JSON object alone."
    content = [{"type": "input_text", "text": text}]
    return [orjson.dumps({"type": "message", "role": "developer", "content": content})]


def _explained(error: ModelError, model: ReviewingModel) -> str:
    if error.codex_error_info == "modelNotFound":
        return (
            f"the model `{model.info.id}`, which is to review, is not available at the provider "
            f"`{model.provider.name}` ({error.message}); set auto_review.model in config.toml to one that is"
        )
    return error.message


async def _look(investigate: Investigator | None, call: Mapping[str, Any]) -> str:
    if investigate is None or call.get("name") != EXEC_COMMAND["name"]:
        return f"unsupported call: {call.get('name')}"
    try:
        arguments: Any = orjson.loads(call.get("arguments") or "")
        script, folder = arguments["cmd"], arguments.get("workdir")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return "the arguments must be a JSON object with `cmd`"
    if not isinstance(script, str) or not (folder is None or isinstance(folder, str)):
        return "`cmd` and `workdir` must be texts"
    if "\0" in script + (folder or ""):
        return "`cmd` and `workdir` must not contain NUL characters"
    return await investigate(script, folder)
