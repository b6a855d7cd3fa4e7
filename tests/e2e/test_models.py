"""Models and their providers, through the real program."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.rpc_client import CallFailed, RpcClient
from tests.support.stage import Stage, run_turn, set_stage


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("models")
    entry = {"slug": "catalogued", "context_window": 10_000, "apply_patch_tool_type": "freeform", "priority": 1}
    silent: dict[str, Any] = {
        "slug": "unthinking",
        "supported_reasoning_levels": [],
        "supports_parallel_tool_calls": False,
    }
    (folder / "home").mkdir()
    (folder / "home" / "models.json").write_bytes(orjson.dumps({"models": [silent, entry]}))
    async with set_stage(folder, settings={"model_catalog_json": "models.json"}) as stage:
        yield stage


@pytest.fixture
async def stage(shared: Stage) -> Stage:
    shared.model.reset()
    return shared


async def test_what_the_provider_and_the_file_say_is_listed(stage: Stage) -> None:
    stage.model.models = {"data": [{"id": "advertised", "max_model_len": 5000}]}
    client = await stage.client()
    models = (await client.call("model/list", {}))["data"]
    assert [model["id"] for model in models][:3] == ["mock-model", "unthinking", "catalogued"]
    assert models[0]["isDefault"] is True
    page = await client.call("model/list", {"limit": 1, "cursor": "1"})
    assert ([model["id"] for model in page["data"]], page["nextCursor"]) == (["unthinking"], "2")
    with pytest.raises(CallFailed, match="-32600: model provider `nobody` not found; known providers: demo") as refused:
        await client.call("model/list", {"modelProvider": "nobody"})
    assert refused.value.data == {"type": "modelProviderNotConfigured", "modelProvider": "nobody"}


async def test_a_thread_works_as_its_model_is_described(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, model="catalogued")
    await run_turn(client, thread)
    used = await client.until("thread/tokenUsage/updated")
    assert used["params"]["tokenUsage"]["modelContextWindow"] == 9500
    kinds = {tool.get("name"): tool["type"] for tool in stage.model.requests[0]["tools"]}
    assert kinds["apply_patch"] == "custom"
    assert "reasoning" in stage.model.requests[0]
    await run_turn(client, await stage.thread(client, model="unthinking"))
    assert "reasoning" not in stage.model.requests[1]
    assert stage.model.requests[1]["parallel_tool_calls"] is False


async def test_a_thread_learns_from_its_provider_what_its_model_can(tmp_path: Path) -> None:
    async with set_stage(tmp_path, settings={"model": "advertised"}) as stage:
        stage.model.models = {"data": [{"id": "advertised", "max_model_len": 5000}]}
        client = await stage.client()
        thread = await stage.thread(client)
        await run_turn(client, thread)
        assert [model["id"] for model in (await client.call("model/list", {}))["data"]] == ["advertised"]
        await run_turn(client, thread)
        windows = [
            used["params"]["tokenUsage"]["modelContextWindow"]
            for used in client.notifications("thread/tokenUsage/updated")
        ]
        assert windows[-1] == 4750


async def write(client: RpcClient, **patch: Any) -> dict[str, Any]:
    return (await client.call("modelProvider/config/write", {"settings": {"type": "customGateway", **patch}}))[
        "provider"
    ]


async def providers(client: RpcClient) -> dict[str, Any]:
    answer = await client.call("modelProvider/list", {})
    assert answer["defaultProviderId"] in [one["id"] for one in answer["data"]]
    return {one["id"]: one for one in answer["data"]}


async def test_a_provider_can_be_added_used_and_changed(stage: Stage) -> None:
    client = await stage.client()
    added = await write(client, name=" My Gateway! ", baseUrl=stage.model.url, envKey="GATEWAY_KEY")
    assert added == {
        "id": "my-gateway",
        "name": "My Gateway!",
        "canEdit": True,
        "baseUrl": stage.model.url,
        "settings": {"type": "customGateway", "auth": {"mode": "environmentVariable", "envKey": "GATEWAY_KEY"}},
    }
    thread = await stage.thread(client, modelProvider="my-gateway")
    failed = await run_turn(client, thread)
    assert "Missing environment variable: `GATEWAY_KEY`" in failed["error"]["message"]
    # The thread that is loaded goes on with what the provider has become.
    changed = await write(client, providerId="my-gateway", envKey=None, name="Mine")
    assert (changed["name"], changed["settings"]["auth"]) == ("Mine", {"mode": "none"})
    assert (await run_turn(client, thread))["status"] == "completed"
    assert (await providers(client))["my-gateway"] == changed
    again = await write(client, name="My Gateway", baseUrl=stage.model.url)
    assert again["id"] == "my-gateway-2"
    written = (stage.home / "config.toml").read_text()
    assert '[model_providers.my-gateway]\nwire_api = "responses"\nname = "Mine"\n' in written
    assert "[model_providers.scripted]" in written


async def test_two_that_are_added_at_once_are_two(stage: Stage) -> None:
    client = await stage.client()
    settings = {"type": "customGateway", "name": "Twin", "baseUrl": "http://127.0.0.1:1/v1"}
    asked = [await client.post("modelProvider/config/write", {"settings": settings}) for _ in range(3)]
    ids = [(await client.answer_to(request))["result"]["provider"]["id"] for request in asked]
    assert ids == ["twin", "twin-2", "twin-3"]


@pytest.mark.parametrize(
    ("patch", "kind", "message"),
    [
        ({}, "configValidationError", "Enter a provider name."),
        ({"name": "x"}, "configValidationError", "A base URL is required"),
        ({"name": "OpenAI", "baseUrl": "http://x"}, "configValidationError", "This name is reserved"),
        ({"name": "x", "baseUrl": "ftp://x"}, "configValidationError", r"Enter an HTTP\(S\) base URL"),
        ({"name": "x", "baseUrl": "http://u:p@x"}, "configValidationError", r"Enter an HTTP\(S\) base URL"),
        ({"name": "x", "baseUrl": "http://x?key=1"}, "configValidationError", r"Enter an HTTP\(S\) base URL"),
        ({"name": "x", "baseUrl": "http://[x"}, "configValidationError", r"Enter an HTTP\(S\) base URL"),
        ({"name": "x", "baseUrl": "http://x", "envKey": "1A"}, "configValidationError", "Invalid API key environment"),
        ({"providerId": "openai"}, "configValidationError", "cannot use a built-in provider ID"),
        ({"providerId": "nobody"}, "configPathNotFound", "Unknown provider ID"),
        ({"providerId": "scripted", "name": " "}, "configValidationError", "Enter a provider name."),
        ({"providerId": "scripted", "baseUrl": None}, "configValidationError", "base_url is missing"),
    ],
)
async def test_what_would_break_a_provider_is_refused(
    stage: Stage, patch: dict[str, Any], kind: str, message: str
) -> None:
    client = await stage.client()
    before = (stage.home / "config.toml").read_bytes()
    with pytest.raises(CallFailed, match=message) as refused:
        await write(client, **patch)
    assert (refused.value.code, refused.value.data) == (-32600, {"config_write_error_code": kind})
    assert (stage.home / "config.toml").read_bytes() == before


async def test_what_is_written_about_other_clouds_is_kept_and_changes_nothing_else(stage: Stage) -> None:
    client = await stage.client()
    patch = {"type": "bedrock", "providerId": "amazon-bedrock", "profile": "p", "region": "us-east-1"}
    answer = await client.call("modelProvider/config/write", {"settings": patch})
    assert answer["provider"]["settings"] == {"type": "bedrock", "profile": "p", "region": "us-east-1"}
    patch = {"type": "bedrock", "providerId": "amazon-bedrock", "profile": None}
    answer = await client.call("modelProvider/config/write", {"settings": patch})
    assert answer["provider"]["settings"] == {"type": "bedrock", "profile": None, "region": "us-east-1"}
    patch = {"type": "gcp", "providerId": "gcp", "projectId": "mine"}
    assert (await client.call("modelProvider/config/write", {"settings": patch}))["provider"]["id"] == "gcp"
    known = await providers(client)
    assert known["gcp"]["settings"]["projectId"] == "mine"
    assert known["openai"]["settings"] == {"type": "openai"}
    assert (await run_turn(client, await stage.thread(client)))["status"] == "completed"
    with pytest.raises(CallFailed, match="`amazon-bedrock` not found"):
        await stage.thread(client, modelProvider="amazon-bedrock")
    for empty in ({"profile": ""}, {"region": " "}):
        settings = {"type": "bedrock", "providerId": "amazon-bedrock", **empty}
        with pytest.raises(CallFailed, match="must not be empty"):
            await client.call("modelProvider/config/write", {"settings": settings})
