"""ModelDirectory: which models there are, by our list, a catalogue file of the user's, and what providers say."""

import logging
from collections.abc import Callable
from pathlib import Path

import anyio
from anyio import to_thread
from msgspec import Struct, field
from msgspec.structs import replace

from app_server.config.settings import ModelProviderSettings, Settings
from app_server.model.advertised import NotAList, Said, described, is_of_another_trade, read_models
from app_server.model.catalog import MODELS, ModelInfo, default_model, family, unknown, with_settings
from app_server.model.events import ModelError
from app_server.model.provider import ModelProvider
from protocol.jsonrpc import RpcError

logger = logging.getLogger(__name__)

FRESH_S = 300.0
"""How old an answer may be before a provider is asked again."""

PATIENCE_S = 1.0
"""How long a list waits for a provider that has not been asked before."""


class _Answer(Struct, eq=False):
    """What a provider last said; nothing where it said nothing that can be read."""

    settings: ModelProviderSettings
    models: list[Said] = field(default_factory=list[Said])
    asked_at: float = 0.0
    asking: anyio.Event | None = None


class _File(Struct, frozen=True):
    """A catalogue file as it was when it was read."""

    stamp: tuple[int, int]
    models: list[Said]


class ModelDirectory:
    """What is known of models. Nothing here ever fails or waits for long: a provider that is away has our list."""

    def __init__(self, provider: Callable[[str, Settings], ModelProvider], spawn: Callable[..., None]) -> None:
        self._provider, self._spawn = provider, spawn
        self._answers: dict[str, _Answer] = {}
        self._files: dict[Path, _File | None] = {}

    def info(self, name: str, provider: str, settings: Settings) -> ModelInfo:
        """One model as it is known now. A provider that was never asked about it is asked, for the next time."""
        if settings.model_catalog is not None and settings.model_catalog not in self._files:
            self._files[settings.model_catalog] = None
            self._spawn(self.read_file, settings)
        said = self._said(provider, settings).get(name)
        if said is None and name not in MODELS and provider in settings.model_providers:
            answer = self._answer(provider, settings)
            if not answer.asked_at:
                self._ask(answer, provider, settings)
        known = described(said) if said is not None else MODELS.get(name) or unknown(name)
        return with_settings(known, settings)

    async def listed(self, provider: str, settings: Settings, *, hidden: bool = False) -> list[ModelInfo]:
        """The models of a provider, the one that a thread gets by default first. KeyError for an unknown provider."""
        await self.read_file(settings)
        await self._ask_in_time(provider, settings)
        said = self._said(provider, settings)
        kin = family(settings, provider)
        in_file = self._in_file(settings)
        names = [one["id"] for one in in_file] or [one.id for one in MODELS.values() if one.provider == kin]
        own = self._answer(provider, settings).models
        found: dict[str, ModelInfo] = {}
        chosen = default_model(settings, provider)
        if chosen is not None:
            found[chosen] = replace(self.info(chosen, provider, settings), hidden=False)
        for name in names:
            found.setdefault(name, described(said.get(name, {"id": name})))
        for one in own:
            if one["id"] not in found and not is_of_another_trade(one["id"]):
                # OpenAI names everything it has ever had; what we do not know of that is not offered.
                found[one["id"]] = replace(described(one), hidden=one.get("hidden", kin == "openai"))
        return [info for info in found.values() if hidden or not info.hidden]

    def forget(self) -> None:
        """Somebody else has signed in, who may have other models."""
        self._answers.clear()

    def _said(self, provider: str, settings: Settings) -> dict[str, Said]:
        """What was said of each model: by the provider, and stronger by the file."""
        found: dict[str, Said] = {}
        answer = self._answers.get(provider)
        told = [] if answer is None or answer.settings != settings.model_providers.get(provider) else answer.models
        for one in (*told, *self._in_file(settings)):
            found[one["id"]] = {**found.get(one["id"], {}), **one}
        return found

    # Providers

    def _answer(self, provider: str, settings: Settings) -> _Answer:
        asked = settings.model_providers[provider]
        answer = self._answers.get(provider)
        if answer is None or answer.settings != asked:
            answer = self._answers[provider] = _Answer(asked)
        return answer

    def _ask(self, answer: _Answer, provider: str, settings: Settings) -> anyio.Event:
        if answer.asking is None:
            answer.asking = anyio.Event()
            self._spawn(self._run, answer, answer.asking, provider, settings)
        return answer.asking

    async def _ask_in_time(self, provider: str, settings: Settings) -> None:
        answer = self._answer(provider, settings)
        first = not answer.asked_at
        if not first and anyio.current_time() - answer.asked_at < FRESH_S:
            return
        asking = self._ask(answer, provider, settings)
        if first:
            with anyio.move_on_after(PATIENCE_S):
                await asking.wait()

    async def _run(self, answer: _Answer, asking: anyio.Event, provider: str, settings: Settings) -> None:
        try:
            content = await self._provider(provider, settings).models()
            if content is not None:
                answer.models = read_models(content)
        except (ModelError, NotAList, RpcError) as error:
            logger.info("the models of %s are not known: %s", provider, error)
        finally:
            answer.asked_at = anyio.current_time()
            answer.asking = None
            asking.set()

    # The file

    def _in_file(self, settings: Settings) -> list[Said]:
        path = settings.model_catalog
        kept = None if path is None else self._files.get(path)
        return [] if kept is None else kept.models

    async def read_file(self, settings: Settings) -> str | None:
        """Read the catalogue file again, if there is one and it has changed; what is wrong with it."""
        if settings.model_catalog is None:
            return None
        problem, self._files[settings.model_catalog] = await to_thread.run_sync(self._load, settings.model_catalog)
        return problem

    def _load(self, path: Path) -> tuple[str | None, _File | None]:
        before = self._files.get(path)
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if before is not None and before.stamp == stamp:
                return None, before
            return None, _File(stamp, read_models(path.read_bytes()))
        except (OSError, NotAList) as error:
            reason = (error.strerror or "unreadable") if isinstance(error, OSError) else str(error)
            problem = f"model_catalog_json: {path} cannot be used: {reason}"
            logger.warning("%s", problem)
            return problem, before
