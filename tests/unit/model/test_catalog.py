"""What is known about models, and what clients are told of it."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from app_server.config.layers import load_settings
from app_server.config.settings import DEFAULT_MODELS, Settings
from app_server.handlers.model import model_page
from app_server.model.catalog import EFFORTS, MODELS, ModelInfo, Tier, model_info, unknown
from protocol.jsonrpc import RpcError
from protocol.v2.model import ModelListParams


def settings(tmp_path: Path, text: str = "", **environ: str) -> Settings:
    (tmp_path / "config.toml").write_text(text)
    return load_settings(tmp_path, system_config=tmp_path / "none", environ=environ).settings()


def written(*models: ModelInfo, **params: Any) -> list[dict[str, Any]]:
    return orjson.loads(model_page(models, ModelListParams(**params)).model_dump_json())["data"]


def test_unknown_models_get_the_window_that_clients_expect(tmp_path: Path) -> None:
    info = model_info("no-such-model")
    assert (info.known, info.context_window, info.reasons) == (False, 258_400, True)
    configured = settings(tmp_path, "model_context_window = 100000\n")
    assert model_info("no-such-model", configured).context_window == 95_000


def test_every_default_model_is_known() -> None:
    for provider, name in DEFAULT_MODELS.items():
        assert MODELS[name].provider == provider


def test_every_model_of_the_list_is_whole() -> None:
    for info in MODELS.values():
        assert set(info.efforts) <= set(EFFORTS)
        assert info.default_effort in info.efforts
        assert info.upgrade is None or info.upgrade in MODELS
        assert info.default_tier in (None, *(tier.id for tier in info.service_tiers))


def test_pages_follow_each_other() -> None:
    models = list(MODELS.values())
    seen, cursor = list[str](), None
    while len(seen) <= len(models):
        page = model_page(models, ModelListParams(cursor=cursor, limit=4))
        assert len(page.data) <= 4
        seen += [model.id for model in page.data]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == [info.id for info in models]


@pytest.mark.parametrize("limit", [0, 1])
def test_a_page_has_at_least_one_model(limit: int) -> None:
    page = model_page(list(MODELS.values()), ModelListParams(limit=limit))
    assert (len(page.data), page.next_cursor) == (1, "1")


@pytest.mark.parametrize("cursor", ["zzz", "-1", "999", "1.5", "٣", ""])
def test_a_cursor_that_was_not_given_out_is_refused(cursor: str) -> None:
    with pytest.raises(RpcError, match=f"invalid cursor: {cursor}"):
        model_page(list(MODELS.values()), ModelListParams(cursor=cursor))


def test_the_first_model_is_the_default() -> None:
    models = written(unknown("a"), unknown("b"))
    assert [model["isDefault"] for model in models] == [True, False]
    assert [model["isDefault"] for model in written(unknown("a"), unknown("b"), cursor="1")] == [False]


def test_an_unknown_model_has_every_member_that_clients_require() -> None:
    (model,) = written(unknown("my-model"))
    assert [option["reasoningEffort"] for option in model["supportedReasoningEfforts"]] == ["low", "medium", "high"]
    assert model["defaultReasoningEffort"] == "medium"
    assert model["displayName"] == model["model"] == "my-model"
    assert model["hidden"] is False


def test_a_model_that_does_not_reason_offers_nothing_else() -> None:
    (model,) = written(ModelInfo("m", "M", "A model.", efforts=()))
    assert [option["reasoningEffort"] for option in model["supportedReasoningEfforts"]] == ["none"]
    assert model["defaultReasoningEffort"] == "none"


def test_all_that_is_known_is_told() -> None:
    info = ModelInfo(
        "m",
        "M",
        "A model.",
        efforts=("low", "odd"),
        effort_texts={"odd": "In its own way"},
        default_effort="odd",
        input_modalities=("text",),
        service_tiers=(Tier("priority", "Fast", "Sooner"),),
        default_tier="priority",
        speed_tiers=("fast",),
        upgrade="n",
        upgrade_text="Better.",
        specialty="cyber",
        multi_agent="v2",
        hidden=True,
    )
    (model,) = written(info)
    assert {name: value for name, value in model.items() if value not in (None, False)} == {
        "id": "m",
        "model": "m",
        "displayName": "M",
        "description": "A model.",
        "hidden": True,
        "isDefault": True,
        "defaultReasoningEffort": "odd",
        "supportedReasoningEfforts": [
            {"reasoningEffort": "low", "description": EFFORTS["low"]},
            {"reasoningEffort": "odd", "description": "In its own way"},
        ],
        "inputModalities": ["text"],
        "serviceTiers": [{"id": "priority", "name": "Fast", "description": "Sooner"}],
        "defaultServiceTier": "priority",
        "additionalSpeedTiers": ["fast"],
        "upgrade": "n",
        "upgradeInfo": {
            "model": "n",
            "migrationMarkdown": "Better.",
            "modelLink": None,
            "retirementAt": None,
            "upgradeCopy": None,
        },
        "modelSpecialty": "cyber",
        "multiAgentVersion": "v2",
    }
