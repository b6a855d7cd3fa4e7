"""What is known about models: a small list of ours, and a fallback for every other name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import orjson
from msgspec import Struct
from msgspec.structs import replace

from app_server.config.settings import DEFAULT_MODELS, Settings

FALLBACK_CONTEXT_WINDOW = 272_000
"""Tokens, for models that the list does not know."""

USABLE_PERCENT = 95
"""The part of a context window that is told to clients as usable; the rest is headroom for the answer."""

_CATALOG: dict[str, Any] = orjson.loads(Path(__file__).with_name("catalog.json").read_bytes())


Modality = Literal["text", "image", "audio"]


class Tier(Struct, frozen=True):
    """A service level that can be bought."""

    id: str
    name: str
    description: str


class ModelInfo(Struct, frozen=True):
    """One model. `efforts` are the reasoning efforts it knows, in rising order; none if it does not reason.

    `effort_texts` describes those that are not in EFFORTS. `freeform` tells whether it writes calls of tools that are
    no JSON, if anybody said so; `parallel_calls` whether it may make several calls at once.
    """

    id: str
    display_name: str
    description: str
    full_window: int = FALLBACK_CONTEXT_WINDOW
    efforts: tuple[str, ...] = ()
    effort_texts: Mapping[str, str] | None = None
    default_effort: str | None = None
    input_modalities: tuple[Modality, ...] = ("text", "image")
    service_tiers: tuple[Tier, ...] = ()
    default_tier: str | None = None
    speed_tiers: tuple[str, ...] = ()
    provider: str | None = None
    upgrade: str | None = None
    upgrade_text: str | None = None
    specialty: str | None = None
    multi_agent: Literal["disabled", "v1", "v2"] | None = None
    freeform: bool | None = None
    parallel_calls: bool = True
    hidden: bool = False
    known: bool = True

    @property
    def reasons(self) -> bool:
        """Whether to ask for reasoning. Of unknown models most do; these of OpenAI refuse a request for it."""
        return bool(self.efforts) if self.known else not self.id.startswith(("gpt-3", "gpt-4", "chatgpt-4"))

    @property
    def takes_freeform_tools(self) -> bool:
        """Whether it writes calls of tools that are no JSON. Those of OpenAI in the list do; others have functions."""
        return self.freeform if self.freeform is not None else self.known and self.provider == "openai"

    @property
    def context_window(self) -> int:
        """Tokens that a thread can use, as clients are told; the rest of the full window is left to the answer."""
        return self.full_window * USABLE_PERCENT // 100


EFFORTS: Mapping[str, str] = _CATALOG["efforts"]
"""What each reasoning effort means, for users."""


def _read(entry: Mapping[str, Any]) -> ModelInfo:
    return ModelInfo(
        id=entry["id"],
        display_name=entry["displayName"],
        description=entry["description"],
        full_window=entry["contextWindow"],
        efforts=tuple(entry["efforts"]),
        default_effort=entry["defaultEffort"],
        input_modalities=tuple(entry.get("inputModalities", ("text", "image"))),
        service_tiers=tuple(Tier(tier, **_CATALOG["serviceTiers"][tier]) for tier in entry.get("tiers", ())),
        default_tier=entry.get("defaultTier"),
        speed_tiers=tuple(entry.get("speedTiers", ())),
        provider=entry["provider"],
        upgrade=entry.get("upgrade"),
        specialty=entry.get("specialty"),
        multi_agent=entry.get("multiAgent"),
        hidden=entry.get("hidden", False),
    )


MODELS: Mapping[str, ModelInfo] = {entry["id"]: _read(entry) for entry in _CATALOG["models"]}
"""The list, in the order in which clients show it."""


def model_info(name: str, settings: Settings | None = None) -> ModelInfo:
    """What is known about the model, or a fallback with `known` false. Settings may set its window."""
    return with_settings(MODELS.get(name) or unknown(name), settings)


def unknown(name: str) -> ModelInfo:
    """What is taken for granted of a model that nobody has described."""
    return ModelInfo(name, name, "A model that is not in the built-in list.", known=False)


def with_settings(info: ModelInfo, settings: Settings | None) -> ModelInfo:
    """The model with what configuration says of it."""
    if settings is not None and settings.model_context_window is not None:
        return replace(info, full_window=settings.model_context_window)
    return info


def family(settings: Settings, provider: str) -> str:
    """Whose models of the list a provider has."""
    return "openai" if settings.model_providers[provider].requires_openai_auth else provider


def default_model(settings: Settings, provider: str) -> str | None:
    """The model that a thread with this provider gets unless it names another."""
    return settings.model if provider == settings.model_provider else DEFAULT_MODELS.get(provider)
