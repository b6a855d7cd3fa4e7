"""Where a sign-in is kept."""

import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app_server.auth.credentials import Credentials, Tokens
from app_server.auth.storage import FileStore, StorageError, choose_store, try_lock
from tests.unit.auth.stored import known

KEY = Credentials("apikey", "sk-1")


def test_the_file_is_for_its_owner_alone_whatever_it_was_before(tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    file.write_text("{}")
    file.chmod(0o644)
    store = FileStore(tmp_path)
    before = store.stamp()
    store.save(KEY)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert known(store.load()) == KEY
    assert store.stamp() != before
    assert sorted(os.listdir(tmp_path)) == ["auth.json", "turnloom"]
    assert os.listdir(tmp_path / "turnloom") == []


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "auth.json").symlink_to("elsewhere/secrets.json")
    FileStore(tmp_path).save(KEY)
    assert (tmp_path / "auth.json").is_symlink()
    assert json.loads((tmp_path / "elsewhere" / "secrets.json").read_text())["OPENAI_API_KEY"] == "sk-1"


def test_a_file_that_cannot_be_replaced_is_left_and_the_reason_told(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    (tmp_path / "auth.json").mkdir()
    (tmp_path / "auth.json" / "inside").touch()
    with pytest.raises(StorageError, match=r"auth\.json cannot be written"):
        store.save(KEY)
    with pytest.raises(StorageError, match=r"auth\.json cannot be read"):
        store.load()
    assert os.listdir(tmp_path / "turnloom") == []


def test_nothing_is_kept_where_nothing_was(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    assert (store.load(), store.stamp()) == (None, None)
    store.delete()


def test_the_ephemeral_store_touches_no_file(tmp_path: Path) -> None:
    store = choose_store("ephemeral", tmp_path)
    store.save(KEY)
    assert known(store.load()) == KEY
    store.delete()
    assert store.load() is None
    assert os.listdir(tmp_path) == []


def test_the_lock_is_had_by_one_at_a_time(tmp_path: Path) -> None:
    held = try_lock(tmp_path)
    assert held is not None
    assert try_lock(tmp_path) is None
    os.close(held)
    again = try_lock(tmp_path)
    assert again is not None
    os.close(again)


@pytest.fixture
def keyring_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A keyring in this file."""
    keyring = pytest.importorskip("keyring", reason="THE PACKAGE keyring IS NOT INSTALLED, ITS TESTS DO NOT RUN")
    from tests.support.file_keyring import FileKeyring

    monkeypatch.setenv("KEYRING_FILE", str(tmp_path / "keyring.json"))
    before = keyring.get_keyring()
    keyring.set_keyring(FileKeyring())
    yield tmp_path / "keyring.json"
    keyring.set_keyring(before)


@pytest.mark.parametrize("kind", ["keyring", "auto"])
def test_the_keyring_takes_the_place_of_the_file(kind: str, tmp_path: Path, keyring_file: Path) -> None:
    home = tmp_path / "home"
    FileStore(home).save(Credentials("apikey", "old"))
    store = choose_store(kind, home)
    assert known(store.load()) == (Credentials("apikey", "old") if kind == "auto" else None)
    tokens = Credentials("chatgpt", tokens=Tokens("access", refresh="refresh"))
    store.save(tokens)
    assert not (home / "auth.json").exists()
    (entry,) = json.loads(keyring_file.read_text())
    assert entry.startswith("Codex Auth/cli|")
    assert known(store.load()) == tokens
    assert choose_store(kind, tmp_path / "other").load() is None
    store.delete()
    assert json.loads(keyring_file.read_text()) == {}
    assert store.load() is None
    store.delete()


def test_without_the_package_the_keyring_says_what_to_do_and_auto_takes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(StorageError, match=r"install turnloom\[keyring\]"):
        choose_store("keyring", tmp_path).save(KEY)
    auto = choose_store("auto", tmp_path)
    auto.save(KEY)
    assert known(FileStore(tmp_path).load()) == known(auto.load()) == KEY
    auto.delete()
    assert not (tmp_path / "auth.json").exists()


def test_a_keyring_that_fails_is_told_without_the_secret(
    tmp_path: Path, keyring_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYRING_FILE", str(tmp_path))
    with pytest.raises(StorageError, match=r'the keyring of the system cannot be written: .*"file"') as told:
        choose_store("keyring", tmp_path).save(Credentials("apikey", "sk-never-shown"))
    assert "sk-never-shown" not in str(told.value)
