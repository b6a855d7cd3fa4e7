import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event

import pytest

from app_server.files import listing as module
from app_server.files.listing import Abandoned, Chunk, Listing


def _paths(chunks: Iterable[Chunk]) -> set[str]:
    """All paths; those of folders end with a slash."""
    return {path + "/" * chunk.folders for chunk in chunks for path in chunk.paths}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were read, in order."""
    read: list[str] = []
    real = os.scandir

    def count(path: str) -> object:
        read.append(path)
        return real(path)

    monkeypatch.setattr(module.os, "scandir", count)
    return read


def _settled(*folders: Path) -> None:
    """Make it long ago that these folders changed, so that another change is told by another time."""
    for folder in folders:
        os.utime(folder, ns=(0, time.time_ns() - 60_000_000_000))


def test_files_and_folders_are_listed_with_what_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "File.txt").touch()
    (tmp_path / "top").touch()
    (tmp_path / "link").symlink_to("top")
    (tmp_path / "folder-link").symlink_to("a")
    (tmp_path / "broken").symlink_to("nothing")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "new\nline").touch()
    chunks = Listing(str(tmp_path)).refresh(Event())
    assert _paths(chunks) == {
        *("a/", "a/b/", "a/b/File.txt", "top", "link", "fifo", "new\nline"),
        *("folder-link/", "folder-link/b/", "folder-link/b/File.txt"),
    }
    for chunk in chunks:
        assert [path.lower() for path in chunk.paths] == chunk.folded


def test_links_that_lead_up_or_to_the_same_folder_again_end_somewhere(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "up").symlink_to("..")
        (tmp_path / name / "self").symlink_to(".")
        (tmp_path / name / f"file-{name}").touch()
        for other in ("a", "b", "c"):
            (tmp_path / name / f"to-{other}").symlink_to(f"../{other}")
    paths = _paths(Listing(str(tmp_path)).refresh(Event()))
    assert {"a/file-a", "b/file-b", "c/file-c"} <= paths
    assert len(paths) < 60


def test_nothing_is_below_what_is_no_folder_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "missing", "file/below"):
        assert Listing(str(tmp_path / name)).refresh(Event()) == ()


def test_names_that_are_no_text_are_left_out_and_others_are_folded(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"bad-\xff")).touch()
    (tmp_path / "\u00c4\u0130.txt").touch()
    (tmp_path / "PLAIN").touch()
    chunks = Listing(str(tmp_path)).refresh(Event())
    assert {(path, folded) for chunk in chunks for path, folded in zip(chunk.paths, chunk.folded, strict=True)} == {
        ("\u00c4\u0130.txt", "ai.txt"),
        ("PLAIN", "plain"),
    }


def test_only_folders_that_changed_are_read_again(tmp_path: Path, reads: list[str]) -> None:
    for name in ("a", "b", "b/c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    folders = [tmp_path / name for name in ("b/c", "a", "b", ".")]
    _settled(*folders)
    listing = Listing(str(tmp_path))
    before = listing.refresh(Event())
    assert len(reads) == 4
    assert listing.refresh(Event()) is before
    assert len(reads) == 4
    (tmp_path / "b" / "c" / "new").touch()
    (tmp_path / "a" / "file").unlink()
    assert _paths(listing.refresh(Event())) == {"a/", "b/", "b/file", "b/c/", "b/c/file", "b/c/new"}
    assert sorted(reads[4:]) == [f"{tmp_path}/a/", f"{tmp_path}/b/c/"]


def test_every_change_is_seen_however_soon_it_comes(tmp_path: Path) -> None:
    listing = Listing(str(tmp_path))
    expected: set[str] = set()
    for number in range(300):
        expected.add(f"{number}")
        (tmp_path / f"{number}").touch()
        if number % 3 == 0:
            expected.discard(f"{number // 2}")
            (tmp_path / f"{number // 2}").unlink(missing_ok=True)
        assert _paths(listing.refresh(Event())) == expected


def test_what_is_ignored_follows_the_files_that_say_so(tmp_path: Path) -> None:
    (tmp_path / ".git" / "info").mkdir(parents=True)
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "in/a", "in/b"):
        (tmp_path / name).touch()
    (tmp_path / ".gitignore").write_text("a\n")
    _settled(tmp_path, tmp_path / "in")
    listing = Listing(str(tmp_path))
    assert _paths(listing.refresh(Event())) == {".gitignore", "b", "in/", "in/b"}
    (tmp_path / ".gitignore").write_text("b\n#\n")
    assert _paths(listing.refresh(Event())) == {".gitignore", "a", "in/", "in/a"}
    (tmp_path / ".git" / "info" / "exclude").write_text("in\n")
    assert _paths(listing.refresh(Event())) == {".gitignore", "a"}
    above = Listing(str(tmp_path / "in"))
    assert _paths(above.refresh(Event())) == {"a"}
    (tmp_path / ".gitignore").write_text("nothing\n")
    assert _paths(above.refresh(Event())) == {"a", "b"}


def test_folders_are_read_again_after_a_while_whatever_their_times_say(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _settled(tmp_path)
    listing = Listing(str(tmp_path))
    listing.refresh(Event())
    listing.refresh(Event())
    assert len(reads) == 1
    monkeypatch.setattr(module, "TRUST_SECONDS", 0.0)
    listing.refresh(Event())
    assert len(reads) == 2


def test_a_listing_that_was_given_up_goes_on_where_it_was(tmp_path: Path, reads: list[str]) -> None:
    folders = [tmp_path / f"{number}" for number in range(20)]
    for folder in folders:
        folder.mkdir()
        (folder / "file").touch()
    _settled(*folders, tmp_path)
    listing, abandoned = Listing(str(tmp_path)), Event()

    def progress(so_far: Callable[[], Iterable[Chunk]]) -> None:
        if len(reads) == 10:
            assert 10 <= len(_paths(so_far())) < 40
            abandoned.set()

    with pytest.raises(Abandoned):
        listing.refresh(abandoned, progress)
    assert len(_paths(listing.refresh(Event()))) == 40
    assert len(reads) == len(set(reads)) == 21


def test_changes_that_a_given_up_look_has_seen_are_not_forgotten(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    _settled(tmp_path / "in", tmp_path)
    listing, abandoned = Listing(str(tmp_path)), Event()
    assert _paths(listing.refresh(Event())) == {"in/"}
    (tmp_path / "new").touch()
    with pytest.raises(Abandoned):
        listing.refresh(abandoned, lambda so_far: abandoned.set())
    assert _paths(listing.refresh(Event())) == {"in/", "new"}


def test_one_thread_at_a_time_reads_and_those_that_wait_can_give_up(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    listing, reading, go_on = Listing(str(tmp_path)), Event(), Event()

    def hold(so_far: object) -> None:
        reading.set()
        assert go_on.wait(30)

    first = threading.Thread(target=lambda: listing.refresh(Event(), hold))
    first.start()
    assert reading.wait(30)
    abandoned = Event()
    abandoned.set()
    with pytest.raises(Abandoned):
        listing.refresh(abandoned)
    go_on.set()
    assert _paths(listing.refresh(Event())) == {"file"}
    first.join()


def test_a_tree_without_end_is_searched_near_its_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PATHS", 10)
    folder = tmp_path
    for number in range(30):
        folder = folder / f"{number}"
        folder.mkdir()
        (folder / "file").touch()
    paths = _paths(Listing(str(tmp_path)).refresh(Event()))
    assert "0/1/2/file" in paths
    assert len(paths) <= 12
