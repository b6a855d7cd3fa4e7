"""Files through the whole daemon: what clients ask for, what they are told, and what ends with their connection."""

import base64
import os
from typing import Any

import pytest

from protocol.jsonrpc import INTERNAL_ERROR, INVALID_REQUEST
from tests.support.rpc_client import CallFailed, Message, Predicate, RpcClient
from tests.support.stage import Stage

every_transport = pytest.mark.parametrize("transport", ["stdio", "unix", "ws"])


@every_transport
async def test_a_client_makes_reads_copies_and_removes_files(stage: Stage) -> None:
    client, top = await stage.client(), stage.cwd
    content = os.urandom(1_500_000)
    encoded = base64.b64encode(content).decode()
    assert await client.call("fs/createDirectory", {"path": f"{top}/a/b"}) == {}
    assert await client.call("fs/writeFile", {"path": f"{top}/a/b/file", "dataBase64": encoded}) == {}
    copying = {"sourcePath": f"{top}/a", "destinationPath": f"{top}/c"}
    with pytest.raises(CallFailed, match="recursive: true"):
        await client.call("fs/copy", copying)
    assert await client.call("fs/copy", {**copying, "recursive": True}) == {}
    assert await client.call("fs/readDirectory", {"path": f"{top}/c"}) == {
        "entries": [{"fileName": "b", "isDirectory": True, "isFile": False}]
    }
    assert await client.call("fs/readFile", {"path": f"{top}/c/b/file"}) == {"dataBase64": encoded}
    assert (top / "c" / "b" / "file").read_bytes() == content
    for name, force in (("a", None), ("missing", True), ("c/b", False)):
        assert await client.call("fs/remove", {"path": f"{top}/{name}", "force": force}) == {}
    with pytest.raises(CallFailed) as failed:
        await client.call("fs/remove", {"path": f"{top}/missing", "force": False})
    assert (failed.value.code, failed.value.data) == (INTERNAL_ERROR, {"kind": "notFound"})
    assert [path.name for path in top.iterdir()] == ["c"]
    assert os.listdir(top / "c") == []


async def _paths(client: RpcClient, query: str, stage: Stage, **more: Any) -> list[str]:
    answer = await client.call("fuzzyFileSearch", {"query": query, "roots": [str(stage.cwd)], **more})
    return [file["path"] for file in answer["files"]]


@every_transport
async def test_a_client_finds_files_without_being_told_what_git_ignores(stage: Stage) -> None:
    client, top = await stage.client(experimental=False), stage.cwd
    for name in ("src/main.rs", "target/main.o", ".git/main", "main.log"):
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).touch()
    (top / ".gitignore").write_text("target/\n*.log\n")
    assert await _paths(client, "main", stage) == ["src/main.rs"]
    (top / ".gitignore").unlink()
    assert await _paths(client, "main", stage, cancellationToken="t") == ["main.log", "src/main.rs", "target/main.o"]
    with pytest.raises(CallFailed, match="requires experimentalApi"):
        await client.call("fuzzyFileSearch/sessionStart", {"roots": [str(top)], "sessionId": "s"})


async def test_a_session_tells_only_its_client_and_ends_with_it(stage: Stage) -> None:
    (stage.cwd / "main.rs").touch()
    client, other, roots = await stage.client(), await stage.client(), [str(stage.cwd)]
    assert await client.call("fuzzyFileSearch/sessionStart", {"roots": roots, "sessionId": "s"}) == {}
    assert await client.call("fuzzyFileSearch/sessionUpdate", {"query": "main", "sessionId": "s"}) == {}

    def finds(*paths: str) -> Predicate:
        def those(params: Message) -> bool:
            return params["query"] == "main" and [file["path"] for file in params["files"]] == list(paths)

        return those

    updated = await client.until("fuzzyFileSearch/sessionUpdated", finds("main.rs"))
    assert updated["params"]["files"][0] == {
        "root": str(stage.cwd),
        "path": "main.rs",
        "match_type": "file",
        "file_name": "main.rs",
        "score": 65645,
        "indices": [0, 1, 2, 3],
    }
    assert await client.until("fuzzyFileSearch/sessionCompleted") == {
        "method": "fuzzyFileSearch/sessionCompleted",
        "params": {"sessionId": "s"},
        "emittedAtMs": client.received[-1]["emittedAtMs"],
    }
    (stage.cwd / "main.py").touch()
    await client.until("fuzzyFileSearch/sessionUpdated", finds("main.py", "main.rs"))
    with pytest.raises(CallFailed, match="session not found: s") as failed:
        await other.call("fuzzyFileSearch/sessionUpdate", {"query": "main", "sessionId": "s"})
    assert failed.value.code == INVALID_REQUEST
    assert await other.call("fuzzyFileSearch/sessionStop", {"sessionId": "s"}) == {}
    assert await client.call("fuzzyFileSearch/sessionUpdate", {"query": "x", "sessionId": "s"}) == {}
    assert await client.call("fuzzyFileSearch/sessionStop", {"sessionId": "s"}) == {}
    assert not other.notifications("fuzzyFileSearch/sessionUpdated", "fuzzyFileSearch/sessionCompleted")


@pytest.mark.parametrize(
    ("method", "field"),
    [
        ("fs/writeFile", "path"),
        ("fs/createDirectory", "path"),
        ("fs/readDirectory", "path"),
        ("fs/remove", "path"),
        ("fs/copy", "sourcePath"),
        ("fs/copy", "destinationPath"),
    ],
)
async def test_a_path_that_is_not_absolute_is_refused_by_the_name_of_its_field(
    stage: Stage, method: str, field: str
) -> None:
    client = await stage.client()
    good = {"path": "/x", "sourcePath": "/x", "destinationPath": "/y", "dataBase64": ""}
    for path in ("relative", "~/x", ""):
        with pytest.raises(CallFailed, match=f"`{field}`") as failed:
            await client.call(method, {**good, field: path})
        assert failed.value.code == INVALID_REQUEST
