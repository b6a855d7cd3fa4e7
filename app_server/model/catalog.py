"""What is known about models: a small list of ours, and a fallback for every other name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from app_server.config.settings import DEFAULT_MODELS, Settings

FALLBACK_CONTEXT_WINDOW = 272_000
"""Tokens, for models that the list does not know."""

USABLE_PERCENT = 95
"""The part of a context window that is told to clients as usable; the rest is headroom for the answer."""

_CATALOG: dict[str, Any] = orjson.loads(Path(__file__).with_name("catalog.json").read_bytes())


Modality = Literal["text", "image", "audio"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model. `efforts` are the reasoning efforts it knows, in rising order; none if it does not reason."""

    id: str
    display_name: str
    description: str
    full_window: int = FALLBACK_CONTEXT_WINDOW
    efforts: tuple[str, ...] = ()
    default_effort: str | None = None
    input_modalities: tuple[Modality, ...] = ("text", "image")
    service_tiers: tuple[str, ...] = ()
    provider: str | None = None
    upgrade: str | None = None
    known: bool = True

    @property
    def reasons(self) -> bool:
        """Whether to ask for reasoning. Of unknown models most do; these of OpenAI refuse a request for it."""
        return bool(self.efforts) if self.known else not self.id.startswith(("gpt-3", "gpt-4", "chatgpt-4"))

    @property
    def takes_freeform_tools(self) -> bool:
        """Whether it writes calls of tools that are no JSON. Those of OpenAI in the list do; others have functions."""
        return self.known and self.provider == "openai"

    @property
    def context_window(self) -> int:
        """Tokens that a thread can use, as clients are told; the rest of the full window is left to the answer."""
        return self.full_window * USABLE_PERCENT // 100


def _read(entry: Mapping[str, Any]) -> ModelInfo:
    return ModelInfo(
        id=entry["id"],
        display_name=entry["displayName"],
        description=entry["description"],
        full_window=entry["contextWindow"],
        efforts=tuple(entry["efforts"]),
        default_effort=entry["defaultEffort"],
        input_modalities=tuple(entry.get("inputModalities", ("text", "image"))),
        service_tiers=tuple(entry.get("tiers", ())),
        provider=entry["provider"],
        upgrade=entry.get("upgrade"),
    )


MODELS: Mapping[str, ModelInfo] = {entry["id"]: _read(entry) for entry in _CATALOG["models"]}
"""The list, in the order in which clients show it."""

EFFORTS: Mapping[str, str] = _CATALOG["efforts"]
"""What each reasoning effort means, for users."""

SERVICE_TIERS: Mapping[str, Mapping[str, str]] = _CATALOG["serviceTiers"]
"""Name and description of each service tier."""


def model_info(name: str, settings: Settings | None = None) -> ModelInfo:
    """What is known about the model, or a fallback with `known` false. Settings may set its window."""
    info = MODELS.get(name) or ModelInfo(name, name, "A model that is not in the built-in list.", known=False)
    if settings is not None and settings.model_context_window is not None:
        return replace(info, full_window=settings.model_context_window)
    return info


def list_models(settings: Settings, provider: str) -> list[ModelInfo]:
    """The models that a provider is known to have, the one that a thread gets by default first."""
    chosen = settings.model if provider == settings.model_provider else DEFAULT_MODELS.get(provider)
    family = "openai" if settings.model_providers[provider].requires_openai_auth else provider
    models = [info for info in MODELS.values() if info.provider == family]
    if chosen is None:
        return models
    return [model_info(chosen), *(info for info in models if info.id != chosen)]
