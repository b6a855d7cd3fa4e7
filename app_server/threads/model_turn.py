"""A turn with the model: its stream becomes items and tool calls, then it is asked again, until no call is left."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio
import orjson
from msgspec.structs import replace

from app_server.approvals.approvals import TurnCancelled
from app_server.model.events import (
    Completed,
    Created,
    ItemAdded,
    ItemDone,
    ModelError,
    RateLimits,
    ReasoningPartAdded,
    ReasoningSummaryDelta,
    ReasoningTextDelta,
    ResponseEvent,
    TextDelta,
    ToolInputDelta,
)
from app_server.model.provider import ModelProvider, ModelRequest, backoff
from app_server.store.ids import uuid7
from app_server.threads.history import call_output, kept
from app_server.threads.messages import Message
from app_server.threads.settings import LOCAL_ENVIRONMENT, checked_cwd
from app_server.threads.turn import Turn, TurnFailed
from app_server.tools.context import ToolCall, ToolOutput
from app_server.tools.goal import GOAL_TOOLS
from app_server.tools.patch_preview import PatchPreviews
from protocol.jsonrpc import invalid_request
from protocol.v2.account import ACCOUNT_RATE_LIMITS_UPDATED
from protocol.v2.thread_data import TurnError
from protocol.v2.turn import TurnSettingsUpdateParams

if TYPE_CHECKING:
    from app_server.threads.thread import Thread

TURN_METADATA = "x-codex-turn-metadata"
"""Under which name a provider is told what a turn is, as JSON."""

CONGESTION_CHECK = 64
"""How many deltas are pushed between two looks at a follower that has to be waited for."""


class ModelTurn(Turn):
    """Asks the model, runs what it calls, and takes further messages while it runs."""

    def __init__(
        self,
        thread: "Thread",
        provider: ModelProvider,
        message: Message | None,
        *,
        output_schema: Any = None,
        service_tier: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(thread, message)
        self._provider, self._output_schema = provider, output_schema
        self._service_tier = service_tier or thread.settings.service_tier
        self._metadata = metadata
        self._offers_tools = thread.offers_tools
        self._steered: list[Message] = []
        self._calling = 0
        self._injected = False
        self._after_call: list[Callable[[], None]] = []
        self._previews = PatchPreviews(thread.events.publish, thread.id, self.id, thread.settings.cwd)

    def steer(self, message: Message) -> None:
        """Give the model a further message now: its answer is cut where it is, and it is asked again."""
        self._steered.append(message)
        if self._waiting is not None:
            self._waiting.cancel()

    def change_settings(self, changes: TurnSettingsUpdateParams) -> None:
        """Change what the user chose, from the next request to the model on."""
        places = changes.environments
        for place in places or ():
            if place.environment_id != LOCAL_ENVIRONMENT:
                raise invalid_request(f"unknown turn environment id `{place.environment_id}`")
        cwd = checked_cwd(places[0].cwd) if places else None
        super().change_settings(changes)
        named = {"model": changes.model, "effort": changes.effort, "summary": changes.summary}
        self._settings = replace(self._settings, **{name: value for name, value in named.items() if value is not None})
        self._service_tier = changes.service_tier or self._service_tier
        self._context.model = self._thread.model_info(self._settings.model)
        if places is not None:
            self._offers_tools = bool(places)
        if cwd is not None:
            self._context.cwd = cwd

    def after_call(self, work: Callable[[], None]) -> None:
        """Do something once a call that is being answered has its answer, or at once where there is none."""
        if self._calling:
            self._after_call.append(work)
        else:
            work()

    async def _drive(self) -> None:
        while not self._interrupted:
            calls = await self._ask_model()
            if calls and (note := await self._thread.agenda.goal.settle(self.id)) is not None:
                self.tell_model(note)
            await self._run_calls(calls)
            if calls or self._steered:
                await self._flush_history()
            if await self._take_steered() or calls or self._take_injected():
                continue
            await self._wait_beside()
            if not self._steered:
                return

    def reads_again(self) -> None:
        """Something was added to the history: the model is asked once more before the turn ends."""
        self._injected = True

    def _take_injected(self) -> bool:
        injected, self._injected = self._injected, False
        return injected

    async def _run_calls(self, calls: Sequence[ToolCall]) -> None:
        """Answer the calls of the model: those that may beside each other, the others one by one, all in order."""
        rest = list(calls)
        while rest and not self._interrupted:
            together = [rest.pop(0)]
            while rest and all(map(self._thread.tools.runs_beside_others, (together[0], rest[0]))):
                together.append(rest.pop(0))
            outputs: list[ToolOutput | None] = [None] * len(together)

            async def answer(index: int, call: ToolCall, outputs: list[ToolOutput | None] = outputs) -> None:
                self._calling += 1
                try:
                    outputs[index] = await self._thread.tools.dispatch(call, self._context)
                except TurnCancelled:
                    self.interrupt()
                finally:
                    self._calling -= 1
                waiting, self._after_call = self._after_call, []
                for work in waiting:
                    work()

            if len(together) == 1:
                await answer(0, together[0])
            else:
                async with anyio.create_task_group() as tasks:
                    for index, call in enumerate(together):
                        tasks.start_soon(answer, index, call)
            # What was cancelled has no output; the end of the turn gives it one.
            done = [(call, output) for call, output in zip(together, outputs, strict=True) if output]
            self._entries += [call_output(call, output) for call, output in done]
            if any(output.success and call.name not in GOAL_TOOLS for call, output in done):
                self._thread.agenda.goal.worked()

    async def _keep_unread(self) -> None:
        await self._take_steered()

    async def _take_steered(self) -> bool:
        taken, self._steered = self._steered, []
        for message in taken:
            await self._add_message(message)
        return bool(taken)

    async def _ask_model(self) -> list[ToolCall]:
        """One answer, with retries of streams that broke. Empty when the answer was cut by a user."""
        limit = self._provider.settings.stream_max_retries
        attempt = 0
        while True:
            answer = _Answer()
            try:
                with anyio.CancelScope() as self._waiting:
                    if self._interrupted or self._steered:
                        return []
                    await self._read(answer)
                whole = not self._waiting.cancelled_caught
                await self._keep(answer, whole=whole)
                return answer.calls if whole else []
            except ModelError as failure:
                await self._keep(answer, whole=False)
                if not failure.retryable or attempt >= limit:
                    raise TurnFailed(_turn_error(failure)) from failure
                attempt += 1
                self._tell_retry(failure, attempt, limit)
                with anyio.CancelScope() as self._waiting:
                    await anyio.sleep(0 if self._interrupted else backoff(attempt, failure.retry_after))
            finally:
                self._waiting = None

    async def _read(self, answer: "_Answer") -> None:
        async with self._provider.stream(self.request()) as stream:
            async for event in stream:
                await self._on_event(event, answer)

    def request(self) -> ModelRequest:
        """What the model is asked next."""
        thread, settings = self._thread, self._settings
        return ModelRequest(
            model=settings.model,
            instructions=settings.base_instructions or thread.base_instructions,
            input=thread.history,
            tools=thread.tools.specs(self._context) if self._offers_tools else (),
            effort=settings.effort,
            summary=settings.summary,
            verbosity=self._context.config.model_verbosity,
            prompt_cache_key=thread.id,
            output_schema=self._output_schema,
            service_tier=self._service_tier,
            metadata=self._told_metadata(),
            info=self._context.model,
        )

    def _told_metadata(self) -> Mapping[str, str]:
        """What the client wants the provider to know, beside what the turn is; nothing unless a client wants it."""
        if self._metadata is None:
            return {}
        told = {**self._metadata, "thread_id": self._thread.id, "turn_id": self.id}
        return {TURN_METADATA: orjson.dumps(told).decode()}

    async def _on_event(self, event: ResponseEvent, answer: "_Answer") -> None:
        match event:
            case TextDelta():
                self.items.message_delta(event.item_id or answer.message_id(), event.delta)
                await self._after_delta(answer)
            case ReasoningSummaryDelta():
                self.items.summary_delta(event.item_id or answer.reasoning_id(), event.delta, event.summary_index)
                await self._after_delta(answer)
            case ReasoningTextDelta():
                self.items.reasoning_delta(event.item_id or answer.reasoning_id(), event.delta, event.content_index)
                await self._after_delta(answer)
            case ToolInputDelta():
                self._previews.delta(event.item_id, event.delta)
                await self._after_delta(answer)
            case ReasoningPartAdded():
                self.items.summary_part(event.item_id or answer.reasoning_id(), event.summary_index)
            case ItemAdded():
                kind = event.item.get("type")
                if kind == "message":
                    self.items.open_message(event.item, answer.message_id(event.item.get("id")))
                elif kind == "reasoning":
                    self.items.open_reasoning(answer.reasoning_id(event.item.get("id")))
                elif kind == "web_search_call" and event.item.get("id"):
                    await self.items.web_search(event.item, event.item["id"], done=False)
                elif kind == "custom_tool_call":
                    self._previews.begin(event.item)
            case ItemDone():
                await self._on_item(event.item, answer)
            case Completed():
                answer.completed = event
            case RateLimits():
                params = orjson.dumps({"rateLimits": event.snapshot})
                self._thread.events.publish_json(ACCOUNT_RATE_LIMITS_UPDATED, params)
            case Created():
                pass

    async def _after_delta(self, answer: "_Answer") -> None:
        answer.deltas += 1
        if not answer.deltas % CONGESTION_CHECK:
            await self._thread.events.congestion()

    async def _on_item(self, item: dict[str, Any], answer: "_Answer") -> None:
        kind = item.get("type")
        if (entry := kept(item)) is not None:
            answer.entries.append(entry)
        if kind == "message":
            # With the message goes the reasoning before it, so that the history keeps the model's order.
            entries, answer.entries = answer.entries, []
            await self.items.close_message(item, answer.message_id(item.get("id")), entries)
            answer.message = None
        elif kind == "reasoning":
            await self.items.close_reasoning(item, answer.reasoning_id(item.get("id")))
            answer.reasoning = None
        elif kind == "web_search_call":
            await self.items.web_search(item, item.get("id") or f"ws_{uuid7()}", done=True)
        elif kind in ("function_call", "custom_tool_call"):
            self._previews.end(item)
            answer.calls.append(_call(item, custom=kind == "custom_tool_call"))

    async def _keep(self, answer: "_Answer", *, whole: bool) -> None:
        """Put the rest of an answer into the history, unless it was cut: its calls are then never answered."""
        await self.items.close_open()
        if answer.completed is not None:
            self._thread.count_tokens(self.id, answer.completed)
        if whole:
            self._entries += answer.entries
            if answer.calls:
                await self._flush_history()

    def _tell_retry(self, failure: ModelError, attempt: int, limit: int) -> None:
        notice = TurnError.model_validate(
            {
                "message": f"Reconnecting... {attempt}/{limit}",
                "codexErrorInfo": {"responseStreamDisconnected": {"httpStatusCode": failure.status}},
                "additionalDetails": failure.message,
            }
        )
        self._publish_error(notice, will_retry=True)


def _turn_error(failure: ModelError) -> TurnError:
    return TurnError.model_validate({"message": failure.message, "codexErrorInfo": failure.codex_error_info})


def _call(item: dict[str, Any], *, custom: bool) -> ToolCall:
    arguments = item.get("input" if custom else "arguments") or ""
    name, call_id = item.get("name"), item.get("call_id")
    namespace = item.get("namespace")
    if not isinstance(name, str) or not isinstance(call_id, str) or not isinstance(arguments, str):
        raise ModelError("the model sent a tool call without a name or call id", "other", retryable=False)
    return ToolCall(call_id, name, arguments, custom, namespace if isinstance(namespace, str) else None)


class _Answer:
    """What one request to the model has given so far."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.calls: list[ToolCall] = []
        self.completed: Completed | None = None
        self.deltas = 0
        self.message: str | None = None
        self.reasoning: str | None = None

    def message_id(self, given: str | None = None) -> str:
        """The id of the message in progress; servers that give none get one of ours."""
        self.message = given or self.message or f"msg_{uuid7()}"
        return self.message

    def reasoning_id(self, given: str | None = None) -> str:
        """The id of the reasoning in progress."""
        self.reasoning = given or self.reasoning or f"rs_{uuid7()}"
        return self.reasoning
