import os
import stat
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest

from app_server.files import tree
from app_server.files.tree import copy, create_folder, list_folder, remove
from protocol.jsonrpc import INTERNAL_ERROR, INVALID_REQUEST, RpcError


def _kind(refused: "pytest.ExceptionInfo[RpcError]") -> tuple[int, str]:
    return refused.value.code, refused.value.data["kind"]


async def _entries(path: Path) -> dict[str, str]:
    listed: list[dict[str, Any]] = orjson.loads(await list_folder(str(path)))
    kinds = {(True, False): "folder", (False, True): "file", (False, False): "other"}
    return {entry["fileName"]: kinds[entry["isDirectory"], entry["isFile"]] for entry in listed}


async def test_a_folder_is_listed_by_name_with_what_each_entry_is_behind_links(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    (tmp_path / ".a").mkdir()
    (tmp_path / "to-file").symlink_to("b")
    (tmp_path / "to-folder").symlink_to(".a")
    (tmp_path / "broken").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / os.fsdecode(b"not-\xff-utf8")).touch()
    assert list((await _entries(tmp_path)).items()) == [
        (".a", "folder"),
        ("b", "file"),
        ("broken", "other"),
        ("fifo", "other"),
        ("loop", "other"),
        ("not-\N{REPLACEMENT CHARACTER}-utf8", "file"),
        ("to-file", "file"),
        ("to-folder", "folder"),
    ]
    assert await list_folder(str(tmp_path / ".a")) == b"[]"


async def test_a_folder_of_more_entries_than_are_encoded_at_a_time_is_listed_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_ENTRIES", 3)
    for number in range(10):
        (tmp_path / f"{number}").touch()
    assert list(await _entries(tmp_path)) == [f"{number}" for number in range(10)]


@pytest.mark.parametrize(("name", "kind"), [("file", "notADirectory"), ("missing", "notFound"), ("loop", "linkLoop")])
async def test_what_is_no_folder_is_not_listed_and_says_why(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RpcError) as refused:
        await list_folder(str(tmp_path / name))
    assert _kind(refused) == (INTERNAL_ERROR, kind)
    assert refused.value.message.endswith(f": {tmp_path / name}")


async def test_folders_are_made_with_those_above_them_and_may_exist(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    await create_folder(str(deep), recursive=True)
    await create_folder(str(deep), recursive=True)
    (tmp_path / "link").symlink_to("a")
    await create_folder(str(tmp_path / "link" / "b" / "d"), recursive=True)
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == {"c", "d"}


@pytest.mark.parametrize(
    ("name", "recursive", "kind"),
    [
        ("missing/new", False, "notFound"),
        ("folder", False, "alreadyExists"),
        ("file", False, "alreadyExists"),
        ("file", True, "alreadyExists"),
        ("broken", True, "alreadyExists"),
        ("file/new", True, "notADirectory"),
        ("file/new/newer", True, "notADirectory"),
        ("broken/new", True, "notADirectory"),
        ("x" * 300, True, "nameTooLong"),
    ],
)
async def test_a_folder_that_cannot_be_made_says_why(tmp_path: Path, name: str, recursive: bool, kind: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to("nothing")
    with pytest.raises(RpcError) as refused:
        await create_folder(str(tmp_path / name), recursive=recursive)
    assert _kind(refused) == (INTERNAL_ERROR, kind)


async def test_what_is_removed_is_gone_and_what_links_lead_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    gone = tmp_path / "gone"
    (gone / "deep").mkdir(parents=True)
    (gone / "deep" / "link").symlink_to(kept)
    (tmp_path / "link").symlink_to(kept)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name in ("gone", "link/", "file"):
        await remove(f"{tmp_path}/{name}", recursive=True, force=False)
    await remove(str(tmp_path / "empty"), recursive=False, force=False)
    assert os.listdir(tmp_path) == ["kept"]
    assert (kept / "file").exists()


async def test_removing_what_is_not_there_is_an_error_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    await remove(str(tmp_path / "missing"), recursive=True, force=True)
    await remove(str(tmp_path / "missing" / "below"), recursive=True, force=True)
    for name, force, kind in (("missing", False, "notFound"), ("file/below", True, "notADirectory")):
        with pytest.raises(RpcError) as refused:
            await remove(str(tmp_path / name), recursive=True, force=force)
        assert _kind(refused) == (INTERNAL_ERROR, kind)


async def test_a_full_folder_stays_unless_recursive_and_the_root_always(tmp_path: Path) -> None:
    (tmp_path / "full" / "in").mkdir(parents=True)
    with pytest.raises(RpcError) as refused:
        await remove(str(tmp_path / "full"), recursive=False, force=True)
    assert _kind(refused) == (INTERNAL_ERROR, "directoryNotEmpty")
    for root in ("/", "//", "/..", "/usr/.."):
        with pytest.raises(RpcError, match="`path` is `/`") as refused:
            await remove(root, recursive=False, force=True)
        assert refused.value.code == INVALID_REQUEST


async def test_a_tree_goes_although_somebody_else_removes_in_it_too(tmp_path: Path) -> None:
    for round_number in range(5):
        top = tmp_path / f"{round_number}"
        files = [top / f"{folder}" / f"{file}" for folder in range(20) for file in range(20)]
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()

        def race(files: list[Path] = files) -> None:
            for file in reversed(files):
                file.unlink(missing_ok=True)

        other = threading.Thread(target=race)
        other.start()
        await remove(str(top), recursive=True, force=True)
        other.join()
        assert not top.exists()


async def test_a_file_is_copied_with_its_mode_over_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh")
    (tmp_path / "tool").chmod(0o755)
    (tmp_path / "old").write_text("much longer than the new content")
    (tmp_path / "old").chmod(0o600)
    for name in ("new", "old"):
        await copy(str(tmp_path / "tool"), str(tmp_path / name), recursive=False)
        assert (tmp_path / name).read_text() == "#!/bin/sh"
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o755
    await copy("/proc/self/status", str(tmp_path / "status"), recursive=False)
    assert (tmp_path / "status").read_text().startswith("Name:")


async def test_a_file_copied_onto_itself_under_any_name_keeps_its_content(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    (tmp_path / "link").symlink_to(file)
    os.link(file, tmp_path / "hard")
    for name in ("file", "link", "hard", "./x/../file"):
        await copy(str(file), f"{tmp_path}/{name}", recursive=False)
    await copy(str(tmp_path / "link"), str(tmp_path / "link"), recursive=False)
    assert file.read_text() == "content"
    assert (tmp_path / "link").is_symlink()


async def test_links_are_copied_as_links_and_never_replace_anything(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to("nothing")
    (tmp_path / "other").symlink_to("elsewhere")
    (tmp_path / "file").write_text("content")
    await copy(str(tmp_path / "broken"), str(tmp_path / "new"), recursive=False)
    assert os.readlink(tmp_path / "new") == "nothing"
    for name in ("other", "file"):
        with pytest.raises(RpcError) as refused:
            await copy(str(tmp_path / "broken"), str(tmp_path / name), recursive=False)
        assert _kind(refused) == (INTERNAL_ERROR, "alreadyExists")
    assert (tmp_path / "file").read_text() == "content"


async def test_a_folder_is_copied_whole_and_merged_with_what_is_there(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "private").mkdir(parents=True)
    (source / "private" / "file").write_text("new")
    (source / "private").chmod(0o500)
    (source / "link").symlink_to("private/file")
    (source / "folder-link").symlink_to("private")
    os.mkfifo(source / "fifo")
    for name in ("there", "missing/deep"):
        to = tmp_path / name
        if name == "there":
            (to / "private").mkdir(parents=True)
            (to / "private" / "file").write_text("old and longer")
            (to / "private" / "more").write_text("kept")
        for _ in range(2):
            await copy(str(source), str(to), recursive=True)
            (to / "private").chmod(0o700)  # a plain user could not do it once more
        assert (to / "private" / "file").read_text() == "new"
        assert (to / "private" / "more").exists() == (name == "there")
        assert os.readlink(to / "link") == "private/file"
        assert os.readlink(to / "folder-link") == "private"
        assert not (to / "fifo").exists()
        await copy(str(source), str(to), recursive=True)
        assert stat.S_IMODE((to / "private").stat().st_mode) == 0o500


async def test_a_folder_needs_recursive_and_cannot_go_into_itself(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "in").mkdir(parents=True)
    (tmp_path / "link").symlink_to("source")
    with pytest.raises(RpcError, match="fs/copy requires recursive: true") as refused:
        await copy(str(source), str(tmp_path / "to"), recursive=False)
    assert refused.value.code == INVALID_REQUEST
    for name in ("source", "source/in", "source/new/newer", "link/new", "source/in/../new"):
        with pytest.raises(RpcError, match="cannot copy a directory to itself") as refused:
            await copy(str(source), f"{tmp_path}/{name}", recursive=True)
        assert refused.value.code == INVALID_REQUEST
    assert [path.name for path in source.iterdir()] == ["in"]
    await copy(str(source), str(tmp_path / "source-2"), recursive=True)
    assert (tmp_path / "source-2" / "in").is_dir()


@pytest.mark.parametrize(
    ("source", "destination", "kind"),
    [
        ("missing", "new", "notFound"),
        ("file", "missing/new", "notFound"),
        ("file", "folder", "isADirectory"),
        ("file", "fifo", "alreadyExists"),
        ("folder", "file", "alreadyExists"),
        ("file", "file/new", "notADirectory"),
    ],
)
async def test_what_cannot_be_copied_says_why_and_where(
    tmp_path: Path, source: str, destination: str, kind: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("content")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(RpcError) as refused:
        await copy(str(tmp_path / source), str(tmp_path / destination), recursive=True)
    assert _kind(refused) == (INTERNAL_ERROR, kind)
    wrong = source if source == "missing" else destination
    assert refused.value.message.endswith(f": {tmp_path / wrong}")
    assert (tmp_path / "file").read_text() == "content"


async def test_what_is_neither_file_folder_nor_link_is_not_copied(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for source in (str(tmp_path / "fifo"), "/dev/null"):
        with pytest.raises(RpcError, match="only supports regular files, directories, and symlinks") as refused:
            await copy(source, str(tmp_path / "new"), recursive=True)
        assert refused.value.code == INVALID_REQUEST


async def test_paths_that_are_not_absolute_are_refused_by_the_name_of_their_field(tmp_path: Path) -> None:
    with pytest.raises(RpcError, match="`sourcePath`"):
        await copy("relative", str(tmp_path / "x"), recursive=False)
    with pytest.raises(RpcError, match="`destinationPath`"):
        await copy(str(tmp_path), "relative", recursive=False)
    with pytest.raises(RpcError, match="`path`"):
        await list_folder("relative")
    with pytest.raises(RpcError, match="`path`"):
        await create_folder("a\0b", recursive=True)
    with pytest.raises(RpcError, match="`path`"):
        await remove("", recursive=True, force=True)
