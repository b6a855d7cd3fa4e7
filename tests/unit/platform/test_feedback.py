"""Bundles for bug reports."""

import os
import zipfile
from pathlib import Path

import orjson
import pytest

from app_server.platform import feedback
from app_server.platform.feedback import Attachment
from app_server.platform.redaction import HIDDEN, Redactor
from protocol.jsonrpc import INVALID_REQUEST, RpcError


def save(path: str) -> None:
    feedback.check_place(path)
    feedback.write(path, {}, [], Redactor())


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_bundle_holds_the_report_the_attachments_and_a_list_of_them(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    attachments = [Attachment("a.log", b"PASSWORD=swordfish\n"), Attachment("b", b"\xff\0", "application/octet-stream")]
    feedback.write(
        str(path), {"reason": "known-secret here", "tags": {"token": "x"}}, attachments, Redactor(["known-secret"])
    )
    found = entries(path)
    assert orjson.loads(found["report.json"]) == {"reason": f"{HIDDEN} here", "tags": {"token": HIDDEN}}
    assert found["attachments/0000/a.log"] == f"PASSWORD={HIDDEN}\n".encode()
    assert found["attachments/0001/b"] == b"\xff\0"
    assert orjson.loads(found["manifest.json"]) == [
        {"entry": "attachments/0000/a.log", "filename": "a.log", "contentType": "text/plain"},
        {"entry": "attachments/0001/b", "filename": "b", "contentType": "application/octet-stream"},
    ]
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["bundle.zip"]


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_text("mine")
    for attempt in (lambda: feedback.check_place(str(path)), lambda: feedback.write(str(path), {}, [], Redactor())):
        with pytest.raises(RpcError, match="already exists") as refused:
            attempt()
        assert refused.value.code == INVALID_REQUEST
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RpcError, match="already exists"):
        feedback.write(str(dangling), {}, [], Redactor())
    assert path.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["bundle.zip", "dangling"]


@pytest.mark.parametrize(
    ("path", "reason"), [("relative", "absolute"), ("/nowhere/at/all", "No such file"), ("/tmp/\0", "null")]
)
def test_a_place_where_nothing_can_be_written_is_refused_with_the_reason(path: str, reason: str) -> None:
    with pytest.raises(RpcError, match=reason) as refused:
        save(path)
    assert refused.value.code == INVALID_REQUEST


def test_chosen_files_are_read_and_what_cannot_be_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, fifo = tmp_path / "notes.txt", tmp_path / "fifo"
    file.write_text("notes")
    os.mkfifo(fifo)
    assert feedback.read_chosen([str(file)]) == [Attachment("notes.txt", b"notes", "application/octet-stream")]
    wrong = {
        "relative": "absolute",
        str(tmp_path / "none"): "No such file",
        str(tmp_path): "no regular file",
        str(fifo): "no regular file",
        "/a\0b": "null",
    }
    for path, reason in wrong.items():
        with pytest.raises(RpcError, match=reason) as refused:
            feedback.read_chosen([str(file), path])
        assert (refused.value.code, path in refused.value.message) == (INVALID_REQUEST, True)
    monkeypatch.setattr(feedback, "MOST_EXTRA_BYTES", 8)
    with pytest.raises(RpcError, match="leave some out"):
        feedback.read_chosen([str(file), str(file)])


def test_secrets_of_configuration_account_and_environment_are_known(tmp_path: Path) -> None:
    (tmp_path / "auth.json").write_text('{"OPENAI_API_KEY": "from-auth", "tokens": {"access_token": "from-token"}}')
    config = {"model_providers": {"x": {"experimental_bearer_token": "from-config"}}}
    redact = feedback.redactor(tmp_path, config, {"MY_SECRET": "from-environment", "HOME": "/home/me"})
    assert (
        redact.text("from-auth from-token from-config from-environment /home/me")
        == f"{HIDDEN} {HIDDEN} {HIDDEN} {HIDDEN} /home/me"
    )
