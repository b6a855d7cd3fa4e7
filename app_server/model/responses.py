"""Any server that speaks the Responses API, over HTTP with server-sent events."""

import io
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import anyio
import orjson

from app_server.auth.fetching import FetchFailed, OAuthError
from app_server.auth.manager import AuthManager, Bearer
from app_server.config.settings import ModelProviderSettings
from app_server.model import failures
from app_server.model.catalog import model_info
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
    Usage,
)
from app_server.model.http import HttpPool, is_loopback, proxy_for
from app_server.model.provider import ModelRequest, backoff
from app_server.model.rate_limits import rate_limit_snapshot
from app_server.model.sse import EventTooLarge, SseParser
from app_server.version import PROTOCOL_VERSION

if TYPE_CHECKING:
    from aiohttp import ClientResponse

logger = logging.getLogger(__name__)

MAX_ERROR_BODY_BYTES = 64 * 1024
ACCOUNT_HEADER = "ChatGPT-Account-ID"
DRAIN_S = 0.05
"""How long the end of a finished answer is waited for, so that its connection can serve the next request."""


class ResponsesClient:
    """One provider. Requests that fail before an answer begins are repeated here; what breaks later is the turn's."""

    def __init__(
        self,
        name: str,
        settings: ModelProviderSettings,
        pool: HttpPool,
        account: AuthManager | None = None,
        *,
        account_url: str | None = None,
    ) -> None:
        """`account` is what the user has signed in with; ChatGPT accounts are served at `account_url`, if anywhere."""
        self.name, self.settings, self._pool = name, settings, pool
        self._account = account if settings.requires_openai_auth else None
        self._account_url = account_url if settings.follows_account else None

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[ResponseEvent]]:
        """Ask. See `ModelProvider.stream`."""
        response, bearer = await self._send(request)
        try:
            async with aclosing(self._events(response, bearer)) as events:
                yield events
        finally:
            # Hangs up unless the answer was read to its end.
            response.close()

    async def models(self) -> bytes | None:
        """What the server says about its models. Raises ModelError. See `ModelProvider.models`."""
        bearer, _ = await self._bearer()
        version = {"client_version": PROTOCOL_VERSION} if self._serves_account(bearer) else {}
        try:
            answer = await self._pool.fetch(
                "GET", self._url(bearer, "models", version), headers=self._own_headers(bearer)
            )
        except FetchFailed as error:
            raise failures.disconnected(str(error)) from None
        if answer.status != 200:
            raise failures.disconnected(f"status {answer.status} for GET /models")
        return answer.body

    async def _send(self, request: ModelRequest) -> "tuple[ClientResponse, Bearer | None]":
        bearer, signed_in = await self._bearer()
        body = encode_request(request)
        attempt, free_retry, renewed = 0, True, False
        while True:
            reused: dict[str, bool] = {}
            try:
                response = await self._attempt(self._url(bearer), self._headers(request, bearer), body, reused)
            except ModelError as error:
                _forget(error, bearer)
                if error.status == 401 and signed_in and bearer is not None and not renewed:
                    if (better := await self._renewed(bearer)) is None:
                        raise
                    bearer, renewed = better, True
                    continue
                # A kept connection that the server has closed meanwhile says nothing about the server.
                stale = free_retry and error.status is None and bool(reused)
                patient = (error.retry_after or 0) <= failures.LONGEST_WAIT_S
                repeatable = error.status is not None and error.status >= 500 and patient
                if not stale and not (repeatable and attempt < self.settings.request_max_retries):
                    raise
                if stale:
                    free_retry = False
                    continue
                attempt += 1
                wait = backoff(attempt, error.retry_after)
                logger.info(
                    "model request to %s failed with status %s; retry %d in %.1f s",
                    self.name,
                    error.status,
                    attempt,
                    wait,
                )
                await anyio.sleep(wait)
            else:
                return response, bearer

    async def _bearer(self) -> tuple[Bearer | None, bool]:
        """What the request carries, and whether that is what the user has signed in with."""
        key = self.settings.api_key()
        if self._account is not None and (self.settings.sign_in_first or not key):
            try:
                if (bearer := await self._account.bearer()) is not None:
                    return bearer, True
            except OAuthError as error:
                raise ModelError(str(error), "unauthorized") from None
        if not key and self.settings.env_key:
            raise failures.missing_key(self.settings)
        return (Bearer(key) if key else None), False

    async def _renewed(self, refused: Bearer) -> Bearer | None:
        assert self._account is not None
        try:
            return await self._account.renew(refused)
        except OAuthError as error:
            raise ModelError(str(error), "unauthorized") from None

    def _serves_account(self, bearer: Bearer | None) -> bool:
        return bearer is not None and bearer.mode != "apikey" and self._account_url is not None

    def _url(self, bearer: Bearer | None, place: str = "responses", more: Mapping[str, str] | None = None) -> str:
        base = self._account_url if self._serves_account(bearer) else self.settings.base_url
        query = {**self.settings.query_params, **(more or {})}
        return f"{(base or '').rstrip('/')}/{place}" + ("?" + urlencode(query) if query else "")

    async def _attempt(
        self, url: str, headers: Mapping[str, str], body: bytes, reused: dict[str, bool]
    ) -> "ClientResponse":
        session = await self._pool.session()
        from aiohttp import ClientConnectorError, ClientError, ClientTimeout, InvalidURL

        proxy = proxy_for(url)
        if proxy is not None and not proxy.startswith(("http://", "https://")):
            kind = proxy.partition(":")[0]
            reason = f"the proxy in the environment is of a kind that is not supported ({kind})"
            raise failures.unreachable(self.settings, url, reason)
        idle_s = self.settings.stream_idle_timeout_ms / 1000
        try:
            response = await session.post(
                url,
                data=io.BytesIO(body),
                headers=headers,
                allow_redirects=False,
                proxy=proxy,
                timeout=ClientTimeout(total=None, sock_connect=min(idle_s, 30.0), sock_read=idle_s),
                trace_request_ctx=reused,
            )
        except (ClientConnectorError, InvalidURL) as error:
            raise failures.unreachable(self.settings, url, self._why(error)) from None
        except TimeoutError:
            raise failures.unreachable(self.settings, url, "it did not answer in time") from None
        except (ClientError, OSError) as error:
            raise failures.disconnected(f"the server hung up before it answered ({type(error).__name__})") from None
        kind = response.content_type
        if response.status == 200 and kind not in ("text/html", "application/json"):
            return response
        try:
            with anyio.move_on_after(10):
                raise await self._refusal(response, url)
            raise failures.disconnected("the server did not finish its refusal")
        finally:
            response.close()

    async def _refusal(self, response: "ClientResponse", url: str) -> ModelError:
        from aiohttp import ClientError

        body = b""
        try:
            while len(body) < MAX_ERROR_BODY_BYTES and (chunk := await response.content.readany()):
                body += chunk
        except (ClientError, OSError, TimeoutError):
            pass
        if response.status == 200:
            shown = failures.shown_url(url)
            message = f"{shown} answered with {response.content_type} instead of an event stream; check base_url"
            return ModelError(message, failures.with_status("httpConnectionFailed", 200), status=200)
        return failures.http_failure(self.settings, url, response.status, response.headers, body)

    def _why(self, error: Exception) -> str:
        reason = getattr(error, "strerror", None) or type(error).__name__
        host = getattr(error, "host", "") or ""
        return f"{reason} (is it running?)" if is_loopback(host) else str(reason)

    def _headers(self, request: ModelRequest, bearer: Bearer | None) -> dict[str, str]:
        streamed = {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
        }
        # What the request brings along outweighs what is configured, and only the key outweighs both.
        own = self._own_headers(bearer)
        kept = {name: own.pop(name) for name in ("Authorization", ACCOUNT_HEADER) if bearer is not None and name in own}
        return {**streamed, **own, **request.headers, **kept}

    def _own_headers(self, bearer: Bearer | None) -> dict[str, str]:
        headers = {"User-Agent": "turnloom", **self.settings.http_headers}
        for name, variable in self.settings.env_http_headers.items():
            if value := os.environ.get(variable, "").strip():
                headers[name] = value
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer.token}"
            if bearer.account_id is not None:
                headers[ACCOUNT_HEADER] = bearer.account_id
        return headers

    async def _events(self, response: "ClientResponse", bearer: Bearer | None) -> AsyncGenerator[ResponseEvent]:
        from aiohttp import ClientError

        if snapshot := rate_limit_snapshot(response.headers):
            yield RateLimits(snapshot)
        parser, read = SseParser(), response.content.readany
        finished = False
        try:
            while not finished and (chunk := await read()):
                for data in parser.feed(chunk):
                    event = self._event(data)
                    if event is not None:
                        if type(event) is Completed:
                            finished = True
                        yield event
            for data in parser.finish() if not finished else ():
                event = self._last_event(data)
                if event is not None:
                    finished = True
                    yield event
            if finished:
                with anyio.move_on_after(DRAIN_S):
                    while await read():
                        pass
                return
        except ModelError as error:
            _forget(error, bearer)
            raise
        except TimeoutError:
            raise failures.disconnected("idle timeout waiting for SSE") from None
        except EventTooLarge:
            raise failures.disconnected("the server sent an event that is too large") from None
        except (ClientError, OSError) as error:
            if finished:
                return
            raise failures.disconnected(f"the connection broke ({type(error).__name__})") from None
        raise failures.disconnected("stream closed before response.completed")

    def _last_event(self, data: bytes) -> ResponseEvent | None:
        # Without its closing empty line an event may be cut; only a whole `response.completed` is believed.
        try:
            event = self._event(data)
        except ModelError as error:
            if error.retryable:
                return None
            raise
        return event if isinstance(event, Completed) else None

    def _event(self, data: bytes) -> ResponseEvent | None:
        try:
            event: dict[str, Any] = orjson.loads(data)
            kind: Any = event["type"]
            if kind == "response.output_text.delta":
                return TextDelta(event.get("item_id"), _delta(event))
            build = _BUILDERS.get(kind)
            if build is not None:
                return build(event)
        except (ValueError, KeyError, TypeError, AttributeError):
            if data.strip() == b"[DONE]":
                return None
            raise failures.disconnected("the server sent an event that cannot be read") from None
        if kind in ("response.failed", "error"):
            raise failures.answer_failure(self.settings, _error_of(event))
        if kind == "response.incomplete":
            raise failures.incomplete(_incomplete_reason(event))
        return None


def _forget(error: ModelError, bearer: Bearer | None) -> None:
    """Take out of a refusal what it repeats of the secret that was sent."""
    if bearer is not None and len(bearer.token) >= failures.SHORTEST_SECRET:
        error.message = error.message.replace(bearer.token, "[redacted]")


def encode_request(request: ModelRequest) -> bytes:
    """The body of `POST /responses`; input items that are bytes are spliced in as they are."""
    info = request.info or model_info(request.model)
    body: dict[str, Any] = {
        "model": request.model,
        "instructions": request.instructions,
        "tools": request.tools,
        "tool_choice": "auto",
        "parallel_tool_calls": request.parallel_tool_calls and info.parallel_calls,
        "store": False,
        "stream": True,
    }
    if request.effort or request.summary or info.reasons:
        effort, summary = request.effort or info.default_effort, request.summary or "auto"
        reasoning = {"effort": effort, "summary": None if summary == "none" else summary}
        body["reasoning"] = {name: value for name, value in reasoning.items() if value is not None}
        body["include"] = ["reasoning.encrypted_content"]
    text: dict[str, Any] = {}
    if request.verbosity:
        text["verbosity"] = request.verbosity
    if request.output_schema is not None:
        text["format"] = {
            "type": "json_schema",
            "name": "output_schema",
            "strict": request.strict_schema,
            "schema": request.output_schema,
        }
    if text:
        body["text"] = text
    if request.service_tier:
        body["service_tier"] = "priority" if request.service_tier == "fast" else request.service_tier
    if request.prompt_cache_key:
        body["prompt_cache_key"] = request.prompt_cache_key
    if request.metadata:
        body["client_metadata"] = request.metadata
    items = b",".join(item if isinstance(item, bytes) else orjson.dumps(item) for item in request.input)
    return orjson.dumps(body)[:-1] + b',"input":[' + items + b"]}"


def _completed(event: Mapping[str, Any]) -> Completed:
    response = cast("Mapping[str, Any]", event["response"])
    usage = cast("Mapping[str, Any]", response.get("usage") or {})
    inputs = cast("Mapping[str, Any]", usage.get("input_tokens_details") or {})
    outputs = cast("Mapping[str, Any]", usage.get("output_tokens_details") or {})
    given, made = int(usage.get("input_tokens") or 0), int(usage.get("output_tokens") or 0)
    return Completed(
        str(response.get("id") or ""),
        Usage(
            input=given,
            cached_input=int(inputs.get("cached_tokens") or 0),
            output=made,
            reasoning_output=int(outputs.get("reasoning_tokens") or 0),
            total=int(usage.get("total_tokens") or given + made),
        ),
        usage,
    )


def _incomplete_reason(event: Mapping[str, Any]) -> str | None:
    response = cast("Mapping[str, Any]", event.get("response") or {})
    details = cast("Mapping[str, Any]", response.get("incomplete_details") or {})
    return details.get("reason")


def _error_of(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    response = cast("Mapping[str, Any]", event.get("response") or event)
    error = response.get("error")
    return cast("Mapping[str, Any]", error) if isinstance(error, dict) else event


def _created(event: Mapping[str, Any]) -> Created:
    return Created(str(event["response"].get("id") or ""))


def _item_added(event: Mapping[str, Any]) -> ItemAdded:
    return ItemAdded(_item(event))


def _item_done(event: Mapping[str, Any]) -> ItemDone:
    return ItemDone(_item(event))


def _item(event: Mapping[str, Any]) -> dict[str, Any]:
    """The item; texts of messages and reasoning are lists of parts. Raises TypeError for what cannot be one."""
    item: Any = event["item"]
    if not isinstance(item, dict):
        raise TypeError("an item must be an object")
    known = cast("dict[str, Any]", item)
    if known.get("type") not in ("message", "reasoning"):
        return known
    if isinstance(known.get("content"), str):
        # Some gateways write a message's text as it is.
        known["content"] = [{"type": "output_text", "text": known["content"]}]
    for part in (*(known.get("content") or ()), *(known.get("summary") or ())):
        if not isinstance(part, dict) or not isinstance(cast("dict[str, Any]", part).get("text", ""), str):
            raise TypeError("a part of a text must be an object, and its text a string")
    return known


def _delta(event: Mapping[str, Any]) -> str:
    """The text that is added. Raises TypeError for what is none."""
    delta: Any = event["delta"]
    if not isinstance(delta, str):
        raise TypeError("a delta must be a string")
    return delta


def _reasoning_part_added(event: Mapping[str, Any]) -> ReasoningPartAdded:
    return ReasoningPartAdded(event.get("item_id"), event.get("summary_index") or 0)


def _reasoning_summary_delta(event: Mapping[str, Any]) -> ReasoningSummaryDelta:
    return ReasoningSummaryDelta(event.get("item_id"), _delta(event), event.get("summary_index") or 0)


def _reasoning_text_delta(event: Mapping[str, Any]) -> ReasoningTextDelta:
    return ReasoningTextDelta(event.get("item_id"), _delta(event), event.get("content_index") or 0)


def _tool_input_delta(event: Mapping[str, Any]) -> ToolInputDelta:
    return ToolInputDelta(event.get("item_id"), _delta(event))


_BUILDERS: dict[str, Callable[[Mapping[str, Any]], ResponseEvent]] = {
    "response.created": _created,
    "response.output_item.added": _item_added,
    "response.output_item.done": _item_done,
    "response.reasoning_summary_part.added": _reasoning_part_added,
    "response.reasoning_summary_text.delta": _reasoning_summary_delta,
    "response.reasoning_text.delta": _reasoning_text_delta,
    "response.custom_tool_call_input.delta": _tool_input_delta,
    "response.completed": _completed,
    "response.done": _completed,
}
