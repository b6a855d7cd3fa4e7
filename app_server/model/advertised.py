"""What a server of models, or a catalogue file, says about its models, in any of the forms that are about."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson
from msgspec.structs import replace

from app_server.model.catalog import EFFORTS, MODELS, ModelInfo, Tier, unknown

MOST = 1000
"""Models of one server; what is beyond is left out."""

OTHER_TRADES = ("embed", "whisper", "tts", "dall-e", "moderation", "rerank", "transcribe", "-image", "sora", "realtime")
"""Parts of the names of models that write no text."""

_WINDOWS = ("context_window", "loaded_context_length", "max_model_len", "context_length", "max_context_length")

Said = Mapping[str, Any]
"""Members of a ModelInfo that were told, by name; `id` always is."""


class NotAList(ValueError):
    """An answer or a file that lists no models; the message says what is wrong."""


def read_models(content: bytes) -> list[Said]:
    """The models in `{"data": [...]}`, `{"models": [...]}` or a bare list, best first. Raises NotAList."""
    try:
        read: Any = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise NotAList(f"it is no JSON: {error}") from None
    if isinstance(read, dict):
        table = cast("dict[str, Any]", read)
        read = table.get("models", table.get("data"))
    if not isinstance(read, list):
        raise NotAList("it has no list `models` or `data`")
    found: dict[str, Said] = {}
    ranks: dict[str, float] = {}
    for entry in cast("list[Any]", read)[:MOST]:
        told = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {"id": entry}
        name = next((told[key] for key in ("slug", "id", "model", "name") if isinstance(told.get(key), str)), "")
        if name.strip():
            found[name] = dict(_said(name, told))
            rank: Any = told.get("priority")
            ranks[name] = rank if isinstance(rank, int | float) else 0
    return sorted(found.values(), key=lambda said: ranks[said["id"]])


def described(said: Said) -> ModelInfo:
    """The model as our list knows it, with what was said about it on top."""
    known = MODELS.get(said["id"])
    return replace(known or replace(unknown(said["id"]), known="efforts" in said), **said)


def is_of_another_trade(name: str) -> bool:
    """Whether the name is that of a model that writes no text."""
    return any(part in name.lower() for part in OTHER_TRADES)


def _said(name: str, told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "id", name
    shown = _text(told.get("display_name")) or _text(told.get("name"))
    if shown is not None and shown != name:
        yield "display_name", shown
    if (text := _text(told.get("description"))) is not None:
        yield "description", text
    if (window := _window(told)) is not None:
        yield "full_window", window
    yield from _reasoning(told)
    yield from _tools(told)
    kinds: Any = told.get("input_modalities") or _table(told.get("architecture")).get("input_modalities")
    if isinstance(kinds, list) and (taken := [kind for kind in ("text", "image", "audio") if kind in kinds]):
        yield "input_modalities", tuple(taken)
    if "visibility" in told:
        yield "hidden", told["visibility"] != "list"
    yield from _buying(told)
    upgrade: Any = told.get("upgrade")
    if isinstance(upgrade, str) and upgrade:
        yield "upgrade", upgrade
    elif (model := _text(_table(upgrade).get("model"))) is not None:
        yield "upgrade", model
        yield "upgrade_text", _text(_table(upgrade).get("migration_markdown"))


def _reasoning(told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    levels: Any = told.get("supported_reasoning_levels")
    if isinstance(levels, list):
        texts = dict(_levels(cast("list[Any]", levels)))
        yield "efforts", tuple(texts)
        yield "effort_texts", {effort: text for effort, text in texts.items() if text}
    elif "reasoning" in _list(told.get("supported_parameters")):
        yield "efforts", tuple(EFFORTS)[:3]
    if (default := _text(told.get("default_reasoning_level"))) is not None:
        yield "default_effort", default


def _levels(levels: list[Any]) -> Iterator[tuple[str, str]]:
    for level in levels:
        effort = level if isinstance(level, str) else _table(level).get("effort")
        if isinstance(effort, str) and effort:
            yield effort, _text(_table(level).get("description")) or ""


def _tools(told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if "apply_patch_tool_type" in told:
        yield "freeform", told["apply_patch_tool_type"] == "freeform"
    if isinstance(parallel := told.get("supports_parallel_tool_calls"), bool):
        yield "parallel_calls", parallel


def _buying(told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    tiers = [_table(tier) for tier in _list(told.get("service_tiers"))]
    named = [Tier(t["id"], _text(t.get("name")) or t["id"], _text(t.get("description")) or "") for t in tiers if _id(t)]
    if named:
        yield "service_tiers", tuple(named)
    if (default := _text(told.get("default_service_tier"))) is not None:
        yield "default_tier", default
    if speeds := [tier for tier in _list(told.get("additional_speed_tiers")) if isinstance(tier, str)]:
        yield "speed_tiers", tuple(speeds)


def _window(told: Mapping[str, Any]) -> int | None:
    places = [*(told.get(key) for key in _WINDOWS), _table(told.get("meta")).get("n_ctx_train")]
    return next((value for value in places if type(value) is int and 0 < value < 1 << 40), None)


def _id(tier: Mapping[str, Any]) -> bool:
    return _text(tier.get("id")) is not None


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _table(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
