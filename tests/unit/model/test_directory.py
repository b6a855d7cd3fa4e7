"""Which models there are, by our list, by what providers say and by a file."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from msgspec.structs import replace

from app_server.config.layers import load_settings
from app_server.config.settings import Settings
from app_server.model import directory
from app_server.model.catalog import MODELS, ModelInfo
from app_server.model.directory import ModelDirectory
from app_server.model.http import HttpPool
from app_server.model.provider import ModelProvider, build_provider
from tests.support.scripted_model import ScriptedModel

MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(tmp_path: Path, model: ScriptedModel) -> MakeSettings:
    """Settings for a provider `own` at the scripted server, and OpenAI there too; `more` is TOML for the top."""

    def make(more: str = "", provider: str = "own") -> Settings:
        own = f'[model_providers.own]\nname = "Own"\nbase_url = "{model.url}"\n'
        text = f'model_provider = "{provider}"\nopenai_base_url = "{model.url}"\n{more}\n{own}'
        (tmp_path / "config.toml").write_text(text)
        environ = {"OPENAI_API_KEY": "k"}
        settings = load_settings(tmp_path, system_config=tmp_path / "none", environ=environ).settings()
        # Keys are read from the environment of the process.
        keyless = {name: replace(one, env_key=None) for name, one in settings.model_providers.items()}
        return replace(settings, model_providers=keyless)

    return make


class Room:
    """A directory with an owner for what it starts."""

    def __init__(self, pool: HttpPool, tasks: Any) -> None:
        self.asked: list[str] = []

        def provider(name: str, settings: Settings) -> ModelProvider:
            self.asked.append(name)
            return build_provider(name, settings, pool)

        self.models = ModelDirectory(provider, tasks.start_soon)


@pytest.fixture
async def room(pool: HttpPool) -> AsyncIterator[Room]:
    async with anyio.create_task_group() as tasks:
        yield Room(pool, tasks)
        tasks.cancel_scope.cancel()


def names(models: list[ModelInfo]) -> list[str]:
    return [model.id for model in models]


async def test_a_provider_of_ones_own_has_the_configured_model_and_what_it_says(
    room: Room, model: ScriptedModel, make_settings: MakeSettings
) -> None:
    model.models = {"data": [{"id": "a"}, {"id": "mine", "max_model_len": 5000}, {"id": "nomic-embed-text"}]}
    of = make_settings('model = "mine"')
    listed = await room.models.listed("own", of)
    assert names(listed) == ["mine", "a"]
    assert listed[0].full_window == 5000
    assert room.models.info("mine", "own", of).full_window == 5000
    assert (
        room.models.info("mine", "own", make_settings('model = "mine"\nmodel_context_window = 7000')).full_window
        == 7000
    )
    assert room.models.info("mine", "openai", of).known is False


async def test_openai_shows_the_list_and_hides_what_nobody_knows(
    room: Room, model: ScriptedModel, make_settings: MakeSettings
) -> None:
    model.models = {"data": [{"id": "gpt-5.5"}, {"id": "gpt-9"}, {"id": "text-embedding-3"}]}
    of = make_settings('model = "gpt-6-luna"', "openai")
    shown = await room.models.listed("openai", of)
    assert names(shown)[0] == "gpt-6-luna"
    assert (
        len(shown)
        == len(set(names(shown)))
        == len([m for m in MODELS.values() if m.provider == "openai" and not m.hidden])
    )
    every = names(await room.models.listed("openai", of, hidden=True))
    assert set(every) - set(names(shown)) == {m.id for m in MODELS.values() if m.hidden} | {"gpt-9"}


async def test_a_hidden_model_that_is_chosen_is_shown(room: Room, make_settings: MakeSettings) -> None:
    listed = await room.models.listed("openai", make_settings('model = "codex-auto-review"', "openai"))
    assert (listed[0].id, listed[0].hidden) == ("codex-auto-review", False)


@pytest.mark.parametrize("models", [None, {"error": "no"}, "<html>", {"data": "x"}])
async def test_a_provider_that_says_nothing_sensible_has_our_list(
    room: Room, model: ScriptedModel, make_settings: MakeSettings, models: Any
) -> None:
    model.models = models
    assert names(await room.models.listed("own", make_settings('model = "mine"'))) == ["mine"]


async def test_a_provider_that_is_away_has_our_list(room: Room, pool: HttpPool, make_settings: MakeSettings) -> None:
    of = make_settings('model = "mine"')
    gone = replace(of.model_providers["own"], base_url="http://127.0.0.1:9/v1")
    of = replace(of, model_providers={**of.model_providers, "own": gone})
    assert names(await room.models.listed("own", of)) == ["mine"]
    assert names(await room.models.listed("demo", of)) == ["demo"]
    assert names(await room.models.listed("ollama", of)) == ["gpt-oss:20b"]


async def test_an_answer_is_kept_and_asked_for_again_when_it_is_old(
    room: Room, model: ScriptedModel, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.models = {"data": [{"id": "a"}]}
    of = make_settings('model = "mine"')
    for _ in range(3):
        assert names(await room.models.listed("own", of)) == ["mine", "a"]
    assert room.asked == ["own"]
    model.models = {"data": [{"id": "b"}]}
    monkeypatch.setattr(directory, "FRESH_S", 0.0)
    # The old answer serves while the new one is fetched.
    while names(await room.models.listed("own", of)) == ["mine", "a"]:
        await anyio.lowlevel.checkpoint()
    assert names(await room.models.listed("own", of)) == ["mine", "b"]
    model.models = None
    before = model.models_asked
    while model.models_asked < before + 2:
        assert names(await room.models.listed("own", of)) == ["mine", "b"]
        await anyio.lowlevel.checkpoint()


async def test_a_slow_provider_keeps_nobody_waiting(
    room: Room, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "PATIENCE_S", 0.05)
    silent = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = silent.extra(anyio.abc.SocketAttribute.local_port)
    of = make_settings('model = "mine"')
    slow = replace(of.model_providers["own"], base_url=f"http://127.0.0.1:{port}/v1")
    of = replace(of, model_providers={**of.model_providers, "own": slow})
    assert names(await room.models.listed("own", of)) == ["mine"]
    await silent.aclose()


async def test_a_model_that_a_thread_uses_is_asked_about_once(
    room: Room, model: ScriptedModel, make_settings: MakeSettings
) -> None:
    model.models = {"data": [{"id": "mine", "max_model_len": 5000}]}
    of = make_settings('model = "mine"')
    assert room.models.info("mine", "own", of).known is False
    while room.models.info("mine", "own", of).full_window != 5000:
        await anyio.lowlevel.checkpoint()
    room.models.info("other", "own", of)
    assert room.models.info("gpt-5.5", "openai", of) == MODELS["gpt-5.5"]
    assert room.asked == ["own"]
    room.models.forget()
    assert room.models.info("mine", "own", of).full_window != 5000


async def test_a_catalogue_file_takes_the_place_of_the_list_and_outweighs_the_provider(
    room: Room, model: ScriptedModel, make_settings: MakeSettings, tmp_path: Path
) -> None:
    model.models = {"data": [{"id": "a", "context_length": 1000}, {"id": "b"}]}
    file = tmp_path / "models.json"
    entry = {"slug": "a", "display_name": "My A", "context_window": 2000, "apply_patch_tool_type": "freeform"}
    file.write_bytes(orjson.dumps({"models": [entry, {"slug": "c", "visibility": "hide"}]}))
    of = make_settings('model = "mine"\nmodel_catalog_json = "models.json"')
    listed = await room.models.listed("own", of)
    assert names(listed) == ["mine", "a", "b"]
    assert (listed[1].display_name, listed[1].full_window, listed[1].takes_freeform_tools) == ("My A", 2000, True)
    assert room.models.info("a", "own", of) == listed[1]
    assert names(await room.models.listed("own", of, hidden=True)) == ["mine", "a", "c", "b"]
    file.write_bytes(orjson.dumps({"models": [entry | {"display_name": "Other"}]}))
    os.utime(file, (1, 1))
    assert (await room.models.listed("own", of))[1].display_name == "Other"
    file.write_text("no JSON")
    assert (await room.models.listed("own", of))[1].display_name == "Other"
    assert "it is no JSON" in (await room.models.read_file(of) or "")
