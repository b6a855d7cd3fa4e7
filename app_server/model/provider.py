"""What a model is to the rest of the program, and how one is chosen."""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from msgspec import Struct, field

from app_server.auth.manager import AuthManager
from app_server.config.settings import ModelProviderSettings, Settings
from app_server.model.catalog import ModelInfo
from app_server.model.events import ResponseEvent
from app_server.model.http import HttpPool


class ModelRequest(Struct, frozen=True):
    """One question to a model.

    `input` are history items in order; bytes are JSON already and are sent as they are. `output_schema` is a JSON
    Schema that the answer's text must satisfy; only without `strict_schema` may it have members that can be left out.
    `metadata` goes along as `client_metadata`, `headers` as HTTP headers.
    """

    model: str
    instructions: str
    input: Sequence[bytes | Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    parallel_tool_calls: bool = True
    effort: str | None = None
    summary: str | None = None
    verbosity: str | None = None
    prompt_cache_key: str | None = None
    output_schema: Mapping[str, Any] | None = None
    strict_schema: bool = True
    service_tier: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    info: ModelInfo | None = None
    """What is known of the model; None for what our list says."""


class ModelProvider(Protocol):
    """Something that answers."""

    name: str
    settings: ModelProviderSettings

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[ResponseEvent]]:
        """Ask, and read the answer inside the `async with`; leaving it early hangs up.

        Both entering and iterating raise ModelError. An answer that came whole ends with `Completed`.
        """
        ...

    async def models(self) -> bytes | None:
        """What the server itself says about its models, undecoded; None if it is no server. Raises ModelError."""
        ...


def build_provider(name: str, settings: Settings, pool: HttpPool, account: AuthManager | None = None) -> ModelProvider:
    """The provider of this name. Cheap: connections are made by the first request. KeyError for an unknown name.

    `account` is what pays where the provider wants the user to have signed in.
    """
    provider = settings.model_providers[name]
    if name == "demo":
        from app_server.model.demo import DemoModel

        return DemoModel(name, provider)
    from app_server.model.responses import ResponsesClient

    return ResponsesClient(name, provider, pool, account, account_url=f"{settings.account.chatgpt_url}/codex")


def backoff(attempt: int, retry_after: float | None = None) -> float:
    """Seconds to wait before the retry number `attempt` (from 1): doubling from 0.2 s, spread by a tenth either way.

    What the server asked for (`retry_after`) is kept to, up to two minutes; longer waits come as errors that are final.
    """
    if retry_after is not None:
        return min(max(retry_after, 0.0), 120.0)
    return min(0.2 * 2 ** (attempt - 1), 30.0) * random.uniform(0.9, 1.1)
