"""Finding repositories: all of them, each time, also where the search remembers what it saw."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app_server.sandbox import repositories
from app_server.sandbox.repositories import RepositorySearch
from app_server.sandbox.sandbox import SandboxUnavailable


@pytest.fixture
def remembers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a directory is remembered only when its last change is old."""
    monkeypatch.setattr(repositories, "SETTLED_NS", -1)


def change(directory: Path, how: Callable[[], object]) -> None:
    """Change a directory's entries in a later tick of the file system's clock."""
    before = directory.lstat().st_ctime_ns
    probe = directory / "tick"
    while directory.lstat().st_ctime_ns == before:
        probe.touch()
        probe.unlink()
    how()


def found(search: RepositorySearch, top: Path) -> list[str]:
    return sorted(os.path.relpath(path, top) for path in search.find([str(top)]))


def test_directories_and_pointer_files_are_found_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "a" / "b" / "c" / ".git").mkdir(parents=True)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / ".git").write_text("gitdir: /elsewhere")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / ".git").symlink_to("/elsewhere")
    (tmp_path / "f.git").mkdir()
    assert found(RepositorySearch(), tmp_path) == [".git", "a/b/c/.git", "d/.git", "e/.git"]


def test_what_lies_in_a_repository_or_behind_a_link_is_not_searched(tmp_path: Path) -> None:
    (tmp_path / "work" / ".git" / "modules" / "sub" / ".git").mkdir(parents=True)
    (tmp_path / "outside" / ".git").mkdir(parents=True)
    (tmp_path / "work" / "link").symlink_to(tmp_path / "outside")
    assert found(RepositorySearch(), tmp_path / "work") == [".git"]


def test_roots_that_lie_in_each_other_are_searched_once(tmp_path: Path) -> None:
    (tmp_path / "a" / ".git").mkdir(parents=True)
    roots = [str(tmp_path / "a"), str(tmp_path), str(tmp_path / "missing")]
    assert RepositorySearch().find(roots) == [str(tmp_path / "a" / ".git")]


@pytest.mark.usefixtures("remembers_at_once")
def test_a_repository_that_appears_or_goes_between_searches_is_noticed(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    search = RepositorySearch()
    assert found(search, tmp_path) == []
    assert found(search, tmp_path) == []
    change(inner, (inner / ".git").mkdir)
    assert found(search, tmp_path) == ["a/b/.git"]
    change(inner, (inner / ".git").rmdir)
    assert found(search, tmp_path) == []
    change(inner, lambda: (inner / "new" / ".git").mkdir(parents=True))
    assert found(search, tmp_path) == ["a/b/new/.git"]


@pytest.mark.usefixtures("remembers_at_once")
def test_setting_back_the_modification_time_hides_nothing(tmp_path: Path) -> None:
    inner = tmp_path / "a"
    inner.mkdir()
    search = RepositorySearch()
    assert found(search, tmp_path) == []
    before = inner.stat()
    change(inner, (inner / ".git").mkdir)
    os.utime(inner, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert found(search, tmp_path) == ["a/.git"]


@pytest.mark.usefixtures("remembers_at_once")
def test_another_directory_in_the_place_of_a_remembered_one_is_searched(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "other" / ".git").mkdir(parents=True)
    search = RepositorySearch()
    assert found(search, tmp_path) == ["other/.git"]
    (tmp_path / "a").rename(tmp_path / "was")
    change(tmp_path, lambda: (tmp_path / "other").rename(tmp_path / "a"))
    assert found(search, tmp_path) == ["a/.git"]


@pytest.mark.usefixtures("remembers_at_once")
def test_what_is_remembered_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / ".git").mkdir(parents=True)
    search = RepositorySearch()
    first = found(search, tmp_path)
    with monkeypatch.context() as patch:
        patch.delattr(os, "scandir")
        assert found(search, tmp_path) == first == ["a/.git"]


def test_a_directory_that_has_just_changed_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = RepositorySearch()
    assert found(search, tmp_path) == []
    with monkeypatch.context() as patch:
        patch.delattr(os, "scandir")
        with pytest.raises(AttributeError):
            found(search, tmp_path)


def test_more_than_can_be_searched_is_refused(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).mkdir()
    assert RepositorySearch(limit=6).find([str(tmp_path)]) == []
    with pytest.raises(SandboxUnavailable, match=r"more than 5 directories.*narrower writable roots"):
        RepositorySearch(limit=5).find([str(tmp_path)])
