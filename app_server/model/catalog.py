"""What is known about models: a small list of ours, and a fallback for every other name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

FALLBACK_CONTEXT_WINDOW = 272_000
"""Tokens, for models that the list does not know."""

USABLE_PERCENT = 95
"""The part of a context window that is told to clients as usable; the rest is headroom for the answer."""

_CATALOG: dict[str, Any] = orjson.loads(Path(__file__).with_name("catalog.json").read_bytes())


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model. `efforts` are the reasoning efforts it knows, in rising order; none if it does not reason."""

    id: str
    display_name: str
    description: str
    context_window: int = FALLBACK_CONTEXT_WINDOW
    efforts: tuple[str, ...] = ()
    default_effort: str | None = None
    input_modalities: tuple[str, ...] = ("text", "image")
    service_tiers: tuple[str, ...] = ()
    provider: str | None = None
    upgrade: str | None = None
    known: bool = True

    @property
    def reasons(self) -> bool:
        """Whether to ask for reasoning. Of unknown models most do; these of OpenAI refuse a request for it."""
        return bool(self.efforts) if self.known else not self.id.startswith(("gpt-3", "gpt-4", "chatgpt-4"))

    def usable_window(self, configured: int | None = None) -> int:
        """Tokens of context that a thread can use; `configured` is `model_context_window`."""
        return (configured or self.context_window) * USABLE_PERCENT // 100


def _read(entry: Mapping[str, Any]) -> ModelInfo:
    return ModelInfo(
        id=entry["id"],
        display_name=entry["displayName"],
        description=entry["description"],
        context_window=entry["contextWindow"],
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


def model_info(name: str) -> ModelInfo:
    """What is known about the model; the fallback, with `known` false, where nothing is."""
    return MODELS.get(name) or ModelInfo(name, name, "A model that is not in the built-in list.", known=False)
