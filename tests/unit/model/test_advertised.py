"""What servers say about their models, in the forms that are about."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_server.model.advertised import NotAList, described, is_of_another_trade, read_models
from app_server.model.catalog import MODELS, ModelInfo, Tier


def read(value: Any) -> list[ModelInfo]:
    return [described(said) for said in read_models(orjson.dumps(value))]


def test_a_plain_list_of_names_says_nothing_else() -> None:
    models = read({"object": "list", "data": [{"id": "a", "object": "model", "owned_by": "x"}, {"id": "gpt-5.5"}]})
    assert [model.id for model in models] == ["a", "gpt-5.5"]
    assert models[0].known is False
    assert models[1] == MODELS["gpt-5.5"]
    assert [model.id for model in read(["b", {"name": "c"}, 5, {}, {"id": " "}])] == ["b", "c"]


@pytest.mark.parametrize(
    "member",
    [
        {"max_model_len": 4096},
        {"context_length": 4096},
        {"context_window": 4096, "max_model_len": 1},
        {"loaded_context_length": 4096, "max_context_length": 131072},
        {"meta": {"n_ctx_train": 4096}},
        {"context_window": None, "context_length": 4096},
    ],
)
def test_the_window_is_found_wherever_a_server_tells_it(member: dict[str, Any]) -> None:
    (model,) = read({"data": [{"id": "a", **member}]})
    assert (model.full_window, model.context_window) == (4096, 3891)


def test_a_rich_description_is_taken_whole_and_sorted_by_rank() -> None:
    rich = {
        "slug": "b",
        "display_name": "Model B",
        "description": "Good at it",
        "priority": 2,
        "visibility": "hide",
        "context_window": 9000,
        "supported_reasoning_levels": [{"effort": "high", "description": "Long"}, {"effort": "own", "description": ""}],
        "default_reasoning_level": "high",
        "input_modalities": ["image", "text", "smell"],
        "apply_patch_tool_type": "freeform",
        "supports_parallel_tool_calls": False,
        "service_tiers": [{"id": "priority", "name": "Fast", "description": "Sooner"}, {"name": "none"}],
        "default_service_tier": "priority",
        "additional_speed_tiers": ["fast"],
        "upgrade": {"model": "c", "migration_markdown": "Better"},
    }
    plain = {"slug": "c", "priority": 1, "visibility": "list", "apply_patch_tool_type": None}
    first, second = read({"models": [rich, plain]})
    assert (first.id, first.hidden, first.takes_freeform_tools, first.reasons) == ("c", False, False, True)
    assert second == ModelInfo(
        "b",
        "Model B",
        "Good at it",
        full_window=9000,
        efforts=("high", "own"),
        effort_texts={"high": "Long"},
        default_effort="high",
        input_modalities=("text", "image"),
        service_tiers=(Tier("priority", "Fast", "Sooner"),),
        default_tier="priority",
        speed_tiers=("fast",),
        upgrade="c",
        upgrade_text="Better",
        freeform=True,
        parallel_calls=False,
        hidden=True,
    )
    assert second.takes_freeform_tools


def test_a_router_tells_who_reasons_by_what_it_takes() -> None:
    told = {"id": "x/y", "name": "Y", "supported_parameters": ["reasoning", "tools"]}
    (model,) = read({"data": [told | {"architecture": {"input_modalities": ["text"]}}]})
    assert (model.display_name, model.efforts, model.input_modalities) == ("Y", ("low", "medium", "high"), ("text",))


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"5", b'{"data": {}}', b"<html>"])
def test_what_lists_nothing_is_told(content: bytes) -> None:
    with pytest.raises(NotAList):
        read_models(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = [
    "id",
    "slug",
    "name",
    "display_name",
    "description",
    "priority",
    "visibility",
    "context_window",
    "max_model_len",
    "meta",
    "architecture",
    "upgrade",
    "supported_reasoning_levels",
    "default_reasoning_level",
    "supported_parameters",
    "input_modalities",
    "apply_patch_tool_type",
    "supports_parallel_tool_calls",
    "service_tiers",
    "default_service_tier",
    "additional_speed_tiers",
]


@given(st.lists(st.dictionaries(st.sampled_from(MEMBERS), JSON), max_size=4))
def test_no_description_is_odd_enough_to_fail(entries: list[dict[str, Any]]) -> None:
    for model in read({"models": entries}):
        assert model.id
        assert model.context_window > 0
        assert isinstance(model.display_name, str)
        assert all(isinstance(effort, str) and effort for effort in model.efforts)
        assert set(model.input_modalities) <= {"text", "image", "audio"}


def test_models_that_write_no_text_are_known_by_their_names() -> None:
    names = ["text-embedding-3", "whisper-1", "gpt-4o-mini-tts", "dall-e-3", "omni-moderation", "gpt-5.5", "llama3"]
    assert [name for name in names if not is_of_another_trade(name)] == ["gpt-5.5", "llama3"]
