"""Asking the model something aside: it sees the thread, and the thread does not see the answer."""

from collections.abc import Hashable, Mapping

import anyio
from msgspec import Struct
from msgspec.structs import replace

from app_server.model.events import Completed, Created, ItemDone, ModelError, Usage
from app_server.model.provider import ModelProvider
from app_server.threads.history import aborted_output, text_message, unanswered_calls
from app_server.threads.model_turn import ModelTurn
from app_server.threads.thread import Thread
from protocol.jsonrpc import internal_error, invalid_request

PROMPT_BYTES = 4000


class Sample(Struct, frozen=True):
    """An answer. `text` is None where the model has only called tools, which are not run."""

    response_id: str
    text: str | None
    usage: Usage | None


class Samples:
    """The samples that are being taken, each under the key of the request that asked for it."""

    def __init__(self) -> None:
        self._running: dict[Hashable, anyio.CancelScope] = {}

    def cancel(self, key: Hashable) -> None:
        """Give up a sample. One that is not there (any more) needs nothing."""
        if (scope := self._running.get(key)) is not None:
            scope.cancel()

    async def take(
        self,
        key: Hashable,
        thread: Thread,
        provider: ModelProvider,
        prompt: str,
        effort: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Sample:
        """Ask the model of the thread. Raises -32603 with what the provider says, and after `cancel`."""
        # The same request as a turn would make, so that the provider knows the beginning already.
        request = ModelTurn(thread, provider, None, metadata=metadata).request()
        history = list(thread.history)
        cut = [aborted_output(call_id, custom=custom) for call_id, custom in unanswered_calls(history)]
        request = replace(request, input=[*history, *cut, text_message("user", prompt)])
        if effort is not None:
            request = replace(request, effort=effort)
        response_id, texts, usage = "", list[str](), None
        with anyio.CancelScope() as scope:
            self._running[key] = scope
            try:
                async with provider.stream(request) as stream:
                    async for event in stream:
                        if isinstance(event, Created):
                            response_id = event.response_id
                        elif isinstance(event, ItemDone) and event.item.get("type") == "message":
                            texts += [part["text"] for part in event.item.get("content") or () if "text" in part]
                        elif isinstance(event, Completed):
                            usage = event.usage
            except ModelError as error:
                raise internal_error(error.message) from error
            finally:
                del self._running[key]
        if scope.cancelled_caught:
            raise internal_error("sample canceled")
        return Sample(response_id, "".join(texts) or None, usage)


def check_prompt(prompt: str, turn_id: str) -> None:
    """Raise -32600 for a sample of nothing, and for an overlong prompt."""
    if not turn_id or not prompt or len(prompt.encode("utf-8", "replace")) > PROMPT_BYTES:
        raise invalid_request(f"thread/sample requires expectedTurnId and a prompt of at most {PROMPT_BYTES} bytes")


def check_source(thread: Thread, newest_turn_id: str | None, turn_id: str, *, while_running: bool) -> None:
    """Raise -32600 unless the thread stands where the client believes it to stand."""
    active = thread.active
    if active is not None and not while_running:
        raise invalid_request("sample source must be idle")
    if turn_id != (active.id if active is not None else newest_turn_id):
        raise invalid_request("sample source turn must be the latest finished turn")
