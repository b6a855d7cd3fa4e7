"""What `generate-json-schema` and `generate-ts` write."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from jsonschema import Draft7Validator

import protocol
from protocol.export import ALL_MODULES, import_all, write_json_schema, write_typescript
from protocol.methods import ClientNotification, ClientRequest, ServerNotification, ServerRequest, registered
from protocol.v2.thread import ThreadStartParams
from protocol.wire import Empty, Experimental


@pytest.fixture(params=[True, False], ids=["experimental", "stable"])
def experimental(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both commands write: `json` and `ts` in the folders `experimental` and `stable`. Not to be changed."""
    folder = tmp_path_factory.mktemp("exports")
    for name in ("experimental", "stable"):
        write_json_schema(folder / name / "json", experimental=name == "experimental")
        write_typescript(folder / name / "ts", experimental=name == "experimental")
    return folder


@pytest.fixture
def exported(exports: Path, experimental: bool) -> Path:
    return exports / ("experimental" if experimental else "stable")


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _members(schema: Any) -> Iterator[str]:
    """The names of all properties that a schema declares, at any depth, with the title of their object."""
    if isinstance(schema, dict):
        node = cast("dict[str, Any]", schema)
        yield from (f"{node.get('title')}.{name}" for name in node.get("properties", {}))
        for value in node.values():
            yield from _members(value)
    elif isinstance(schema, list):
        for value in cast("list[Any]", schema):
            yield from _members(value)


def test_every_module_of_the_protocol_is_exported() -> None:
    root = Path(protocol.__path__[0])
    modules = {f"protocol.v2.{path.stem}" for path in (root / "v2").glob("*.py")} | {"protocol.v1"}
    assert modules - {"protocol.v2.__init__"} == set(ALL_MODULES)
    assert [module.__name__ for module in import_all()] == list(ALL_MODULES)


def test_writing_again_gives_the_same_bytes(exported: Path, tmp_path: Path, experimental: bool) -> None:
    write_json_schema(tmp_path / "json", experimental=experimental)
    write_typescript(tmp_path / "ts", experimental=experimental)
    assert _files(tmp_path) == _files(exported)


def test_files_are_where_clients_of_the_reference_look_for_them(exports: Path) -> None:
    written = set(_files(exports / "stable"))
    assert {
        "json/codex_app_server_protocol.schemas.json",
        "json/codex_app_server_protocol.v2.schemas.json",
        "json/ClientRequest.json",
        "json/ServerNotification.json",
        "json/CommandExecutionRequestApprovalParams.json",
        "json/v1/InitializeParams.json",
        "json/v2/ThreadStartParams.json",
        "json/v2/TurnCompletedNotification.json",
        "ts/index.ts",
        "ts/ClientRequest.ts",
        "ts/ServerNotificationEnvelope.ts",
        "ts/InitializeParams.ts",
        "ts/ReasoningEffort.ts",
        "ts/serde_json/JsonValue.ts",
        "ts/v2/index.ts",
        "ts/v2/ThreadItem.ts",
        "ts/v2/CommandExecutionStatus.ts",
    } <= written


def test_every_schema_is_valid_and_refers_only_to_what_it_defines(exported: Path) -> None:
    for path in (exported / "json").rglob("*.json"):
        schema = json.loads(path.read_text("utf-8"))
        if "schemas" in path.name:
            # The bundles have everything that is in the other files.
            Draft7Validator.check_schema(schema)
        for reference in _references(schema):
            target = schema
            for step in reference.removeprefix("#/").split("/"):
                target = target[step]


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        node = cast("dict[str, Any]", schema)
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in cast("list[Any]", schema):
            yield from _references(value)


def test_a_request_validates_against_the_exported_schema(exports: Path) -> None:
    path = exports / "stable" / "json" / "ClientRequest.json"
    validator = Draft7Validator(json.loads(path.read_text("utf-8")))
    request = {"id": 1, "method": "thread/start", "params": {"cwd": "/srv", "sandbox": "read-only"}}
    assert _is_valid(validator, request)
    assert _is_valid(validator, {"id": "a", "method": "configRequirements/read"})
    assert not _is_valid(validator, {**request, "params": {"sandbox": "readOnly"}})
    assert not _is_valid(validator, {**request, "method": "thread/settings/update", "params": {"threadId": "t"}})


def _is_valid(validator: Draft7Validator, value: Any) -> bool:
    return not list(cast("Iterator[Any]", validator.iter_errors(value)))  # pyright: ignore[reportUnknownMemberType]


def test_the_export_has_every_method_with_its_params_and_result(exports: Path) -> None:
    json_folder, ts_folder = exports / "experimental" / "json", exports / "experimental" / "ts"
    files = {Path(name).stem for name in _files(json_folder)}
    types = {Path(name).stem for name in _files(ts_folder)}
    kinds = {
        "ClientRequest": list(registered(ClientRequest)),
        "ClientNotification": list(registered(ClientNotification)),
        "ServerRequest": list(registered(ServerRequest)),
        "ServerNotification": list(registered(ServerNotification)),
    }
    assert sum(map(len, kinds.values())) >= 282
    for kind, descriptors in kinds.items():
        schema = json.loads((json_folder / f"{kind}.json").read_text("utf-8"))
        exported = [part["properties"]["method"]["enum"] for part in schema["oneOf"]]
        assert sorted(exported) == sorted([descriptor.method] for descriptor in descriptors)
        text = (ts_folder / f"{kind}.ts").read_text("utf-8")
        for descriptor in descriptors:
            assert f'"{descriptor.method}"' in text
            models = [descriptor.params, getattr(descriptor, "response", Empty)]
            names = {model.__name__ for model in models if model is not Empty}
            assert names <= files & types


def test_the_stable_export_has_no_experimental_member(exports: Path) -> None:
    bundle = "json/codex_app_server_protocol.v2.schemas.json"
    stable, everything = (
        set(_members(json.loads((exports / folder / bundle).read_text("utf-8"))))
        for folder in ("stable", "experimental")
    )
    marked = {
        f"ThreadStartParams.{field.alias}"
        for field in ThreadStartParams.model_fields.values()
        if any(isinstance(mark, Experimental) for mark in field.metadata)
    }
    assert len(marked) == 12
    assert marked <= everything
    assert not marked & stable

    methods = {request.method for request in registered(ClientRequest) if request.experimental is not None}
    text = (exports / "stable" / bundle).read_text("utf-8")
    assert "thread/settings/update" in methods
    assert not [method for method in methods if f'"{method}"' in text]
    assert "ThreadSettingsUpdateParams" not in text


def test_the_stable_typescript_has_no_experimental_member(exports: Path) -> None:
    written = _files(exports / "stable" / "ts")
    assert "v2/ThreadSettingsUpdateParams.ts" not in written
    assert b"dynamicTools" not in written["v2/ThreadStartParams.ts"]
    assert b"thread/settings/update" not in written["ClientRequest.ts"]


def test_descriptions_name_members_as_the_wire_does(exports: Path) -> None:
    schema = json.loads((exports / "stable" / "json" / "v2" / "CommandExecParams.json").read_text("utf-8"))
    assert "`timeoutMs`" in schema["description"]
    assert "timeout_ms" not in schema["description"]


def test_typescript_compiles_in_strict_mode(tmp_path: Path, experimental: bool) -> None:
    compiler = shutil.which("tsc")
    if compiler is None:
        pytest.skip("no tsc: whether the TypeScript compiles is NOT checked here")
    write_typescript(tmp_path, experimental=experimental)
    (tmp_path / "use.ts").write_text(
        """\
import type { ClientRequest, ServerNotification } from ".";
import type { ThreadItem, TurnStartParams } from "./v2";
const params: TurnStartParams = { threadId: "t", input: [{ type: "text", text: "hi", text_elements: [] }] };
export const request: ClientRequest = { method: "turn/start", id: 1, params };
export function text(item: ThreadItem): string | null {
  return item.type === "agentMessage" ? item.text : item.type === "commandExecution" ? item.aggregatedOutput : null;
}
export function threadOf(n: ServerNotification): string | null {
  return n.method === "turn/started" ? n.params.threadId : null;
}
""",
        "utf-8",
    )
    result = subprocess.run(
        [compiler, "--noEmit", "--strict", "--target", "es2022", "--moduleResolution", "bundler", "--module", "esnext"]
        + [str(tmp_path / name) for name in ("index.ts", "use.ts")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
