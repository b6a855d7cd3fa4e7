"""What is known about models, and what clients are told of it."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from app_server.config.layers import load_settings
from app_server.config.settings import DEFAULT_MODELS, Settings
from app_server.handlers.model import model_page
from app_server.model.catalog import MODELS, model_info
from protocol.jsonrpc import RpcError
from protocol.v2.model import ModelListParams

MINE = 'model_provider = "mine"\nmodel = "my-model"\n[model_providers.mine]\nbase_url = "http://127.0.0.1:1/v1"\n'


def settings(tmp_path: Path, text: str = "", **environ: str) -> Settings:
    (tmp_path / "config.toml").write_text(text)
    return load_settings(tmp_path, system_config=tmp_path / "none", environ=environ).settings()


def listed(of: Settings, **params: Any) -> list[str]:
    return [model.id for model in model_page(of, ModelListParams(**params)).data]


def test_unknown_models_get_the_window_that_clients_expect(tmp_path: Path) -> None:
    info = model_info("no-such-model")
    assert (info.known, info.context_window, info.reasons) == (False, 258_400, True)
    configured = settings(tmp_path, "model_context_window = 100000\n")
    assert model_info("no-such-model", configured).context_window == 95_000


def test_every_default_model_is_known() -> None:
    for provider, name in DEFAULT_MODELS.items():
        assert MODELS[name].provider == provider


def test_an_openai_user_sees_the_catalogue_with_the_chosen_model_first(tmp_path: Path) -> None:
    of = settings(tmp_path, 'model = "gpt-6-luna"\n', OPENAI_API_KEY="k")
    page = model_page(of, ModelListParams())
    assert page.data[0].id == "gpt-6-luna"
    assert [model.id for model in page.data if model.is_default] == ["gpt-6-luna"]
    assert len({model.id for model in page.data}) == len(page.data) == 8
    assert page.next_cursor is None


def test_a_provider_of_ones_own_has_the_configured_model_alone(tmp_path: Path) -> None:
    of = settings(tmp_path, MINE)
    assert listed(of) == ["my-model"]
    assert listed(of, model_provider="demo") == ["demo"]
    assert listed(of, model_provider="openai")[0] == "gpt-6.1-sol"


def test_without_configuration_there_is_the_demo(tmp_path: Path) -> None:
    assert listed(settings(tmp_path)) == ["demo"]


def test_pages_follow_each_other(tmp_path: Path) -> None:
    of = settings(tmp_path, OPENAI_API_KEY="k")
    seen, cursor = list[str](), None
    for _ in range(4):
        page = model_page(of, ModelListParams(cursor=cursor, limit=3))
        seen += [model.id for model in page.data]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == listed(of)


@pytest.mark.parametrize("cursor", ["zzz", "-1", "999", "1.5", "٣"])
def test_a_cursor_that_was_not_given_out_is_refused(tmp_path: Path, cursor: str) -> None:
    with pytest.raises(RpcError, match=f"invalid cursor: {cursor}"):
        model_page(settings(tmp_path), ModelListParams(cursor=cursor))


def test_an_unknown_provider_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RpcError, match="`nobody` not found"):
        model_page(settings(tmp_path), ModelListParams(model_provider="nobody"))


def test_a_model_has_every_member_that_clients_require(tmp_path: Path) -> None:
    answer = orjson.loads(model_page(settings(tmp_path, MINE), ModelListParams()).model_dump_json())
    (model,) = answer["data"]
    assert [option["reasoningEffort"] for option in model["supportedReasoningEfforts"]] == ["low", "medium", "high"]
    assert model["defaultReasoningEffort"] == "medium"
    assert model["displayName"] == model["model"] == "my-model"
    assert model["hidden"] is False
    assert model["isDefault"] is True
