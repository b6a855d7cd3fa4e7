"""The rest of what the machine is asked: numbers, memories, the installation's name, and proofs of who is there."""

import base64
import os
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import sleep
from typing import Any

import anyio
import pytest

from app_server.platform import memories
from app_server.platform.gauges import Gauges, LoopLag, resident_bytes
from app_server.platform.remote_control import RemoteControl, read_installation_id
from app_server.platform.user_verification import check
from app_server.rpc.outbound import Frame
from protocol.jsonrpc import INVALID_PARAMS, INVALID_REQUEST, RpcError
from protocol.v2.user_verification import UserVerificationVerifyParams


def watch_nothing(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Nothing goes on after a reading."""


async def test_gauges_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(bytes(1000))
    (tmp_path / "store-wal").write_bytes(bytes(234))
    value = 1
    gauges = Gauges(watch_nothing)
    gauges.add("app.value", lambda: value)
    gauges.add_store(tmp_path / "store")
    first = await gauges.read()
    value = 2
    second = await gauges.read()
    assert (first["app.value"], second["app.value"], first["store.bytes"]) == (1, 2, 1234)
    assert list(first) == sorted(first)
    assert first["app.tasks.alive"] >= 1
    assert first["process.threads"] >= 1
    assert first["process.open_files"] >= 3


async def test_open_files_are_counted(tmp_path: Path) -> None:
    gauges = Gauges(watch_nothing)
    before = (await gauges.read())["process.open_files"]
    with (tmp_path / "a").open("w"), (tmp_path / "b").open("w"):
        assert (await gauges.read())["process.open_files"] == before + 2


async def test_what_holds_the_loop_up_is_seen_by_the_next_reading() -> None:
    async with anyio.create_task_group() as tasks:
        lag = LoopLag(tasks.start_soon)
        await lag.worst_us()
        await anyio.lowlevel.checkpoint()
        sleep(0.25)  # noqa: ASYNC251  # it is what the meter is for
        await anyio.sleep(0.01)
        assert await lag.worst_us() >= 100_000
        tasks.cancel_scope.cancel()


async def test_the_loop_is_watched_only_while_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app_server.platform.gauges.WATCHED_SECONDS", 0.15)
    watching: list[Callable[[], Coroutine[Any, Any, None]]] = []
    lag = LoopLag(watching.append)
    await lag.worst_us()
    await lag.worst_us()
    assert len(watching) == 1
    await watching[0]()
    await lag.worst_us()
    assert len(watching) == 2


def test_the_memory_of_the_process_is_its_own() -> None:
    found = resident_bytes()
    assert found is None or 1 << 20 < found < 1 << 40


def test_memories_are_forgotten_and_nothing_else(tmp_path: Path) -> None:
    inside = tmp_path / "memories" / "deep"
    inside.mkdir(parents=True)
    (inside / "file").write_text("x")
    (tmp_path / "memories" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (tmp_path / "memories_v2").mkdir()
    (tmp_path / "memories_v2" / "file").write_text("x")
    memories.clear(tmp_path)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "kept",
        "kept/file",
        "memories",
        "memories_v2",
    ]
    memories.clear(tmp_path / "no such home")


def test_memories_behind_a_link_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("x")
    (tmp_path / "memories").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RpcError, match="refusing") as refused:
        memories.clear(tmp_path)
    assert refused.value.code == INVALID_REQUEST
    assert (tmp_path / "elsewhere" / "file").exists()


def test_an_installation_keeps_its_name(tmp_path: Path) -> None:
    name = read_installation_id(tmp_path)
    assert str(uuid.UUID(name)) == name == read_installation_id(tmp_path)
    (tmp_path / "installation_id").write_text("garbage\xff")
    mended = read_installation_id(tmp_path)
    assert mended != name
    assert mended == read_installation_id(tmp_path)
    assert os.listdir(tmp_path) == ["installation_id"]
    assert uuid.UUID(read_installation_id(tmp_path / "no such home"))


def test_clients_are_told_of_a_change_once(tmp_path: Path) -> None:
    told: list[Frame] = []
    control = RemoteControl(tmp_path, told.append)
    control.change("disabled")
    control.fail()
    assert [frame.method for frame in told] == ["remoteControl/status/changed"] * 2
    assert control.state()["status"] == "errored"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize(
    ("challenge", "title", "description"),
    [
        (base64url(b"x"), "t", ""),
        (base64url(bytes(4096)), "ä" * 128, "d" * 4096),
        ("__-_", " ", "\n"),
    ],
)
def test_a_challenge_within_its_bounds_is_taken(challenge: str, title: str, description: str) -> None:
    check(UserVerificationVerifyParams(challenge=challenge, title=title, description=description))


@pytest.mark.parametrize(
    ("challenge", "title", "description"),
    [
        ("", "t", ""),
        ("YQ==", "t", ""),
        ("YR", "t", ""),
        ("//+/", "t", ""),
        ("Y W", "t", ""),
        ("ä", "t", ""),
        (base64url(bytes(4097)), "t", ""),
        ("YQ", "", ""),
        ("YQ", "t" * 257, ""),
        ("YQ", "t", "ä" * 2049),
    ],
)
def test_a_challenge_out_of_bounds_is_refused(challenge: str, title: str, description: str) -> None:
    with pytest.raises(RpcError) as refused:
        check(UserVerificationVerifyParams(challenge=challenge, title=title, description=description))
    assert (refused.value.code, refused.value.data) == (
        INVALID_PARAMS,
        {"type": "invalidRequest", "reason": "invalidParams"},
    )
