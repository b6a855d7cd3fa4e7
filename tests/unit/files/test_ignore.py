import os
import shutil
import subprocess
from pathlib import Path
from threading import Event

import pytest

from app_server.files.ignore import IgnoreFile
from app_server.files.listing import Listing


def _files(root: Path) -> set[str]:
    """What a search below `root` looks at, without the files that say so."""
    chunks = Listing(str(root)).refresh(Event())
    paths = {path for chunk in chunks if not chunk.folders for path in chunk.paths}
    return {path for path in paths if not path.endswith(("ignore", "config", "exclude"))}


def _plant(root: Path, *names: str, **texts: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name, text in texts.items():
        (root / {"gitignore": ".gitignore", "ignore": ".ignore"}[name]).write_text(text)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return home


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / ".git").mkdir(parents=True)
    return root


LINES = [
    *(
        "name",
        "name/",
        "/name",
        "/name/",
        "a/name",
        "a/name/",
        "**/name",
        "a/**",
        "a/**/name",
        "**/a/**",
        "a/**/b/name",
    ),
    *("*.o", "*", "n*", "*me", "n*e", "n?me", "n??me", "[n]ame", "[!n]ame", "[^n]ame", "[m-o]ame", "[]n]ame", "[n"),
    *(
        "na[[:alpha:]]e",
        "na[a-]e",
        r"n\ame",
        r"\name",
        "name\\",
        r"na\*e",
        "na*e*",
        "*a*m*e",
        "**",
        "a**",
        "a/*",
        "*/name",
    ),
    *("!name", "*\n!name", "name\n!name", "!name\nname", "a/\n!a/name", "a/*\n!a/name", "/*\n!/a"),
    *("# name", r"\#name", r"\!name", "name ", "name\\ ", " name", "name\r", "", "/", "//", "a//name", "na/me", "NAME"),
]

NAMES = [
    *("name", "a/name", "b/name", "a/b/name", "name/x", "a/name/x", "nbme", "a/b/c/name", "xname", "namex", "x.o"),
    *("#name", "!name", "name ", "a/x", "na*e", "na-e", "-ame", "]ame", "NAME", " name"),
]


@pytest.mark.skipif(shutil.which("git") is None, reason="git says what is right")
def test_what_is_left_out_is_what_git_leaves_out(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "all")], check=True)
    for number, line in enumerate(LINES):
        root = tmp_path / "all" / f"{number}"
        names = [
            name for name in NAMES if not (name == "name" and number % 2) and not (name == "name/x" and number % 2 == 0)
        ]
        names = [name for name in names if not (name.startswith("a/name/") and number % 3)]
        names = [name for name in names if not (name == "a/name" and number % 3 == 0)]
        _plant(root, *names, gitignore=line)
    command = ["git", "-C", str(tmp_path / "all"), "ls-files", "-coz", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    git = {path for path in listed if path and not path.endswith("ignore")}
    ours = _files(tmp_path / "all")
    wrong = sorted(f"{LINES[int(path.split('/')[0])]!r}: {path}" for path in git ^ ours)
    assert wrong == []
    assert len(ours) > len(LINES)


def test_nearer_files_and_later_lines_decide(repository: Path) -> None:
    _plant(repository, "build/x", "sub/build/y", "sub/z.log", "keep.log", gitignore="build/\n*.log\n!keep.log\n")
    (repository / "sub" / ".gitignore").write_text("!build/\n")
    assert _files(repository) == {"sub/build/y", "keep.log"}


def test_gitignore_counts_in_repositories_and_ignore_everywhere(tmp_path: Path) -> None:
    root = tmp_path / "plain"
    _plant(root, "a", "b", "in/a", "in/b", gitignore="a\n", ignore="b\n")
    assert _files(root) == {"a", "in/a"}
    (root / "in" / ".git").mkdir()
    (root / "in" / ".gitignore").write_text("a\n")
    assert _files(root) == {"a"}


def test_a_folder_within_a_repository_is_searched_by_the_rules_above_it(repository: Path) -> None:
    _plant(repository, "sub/a", "sub/b", "build/c", gitignore="/sub/a\nbuild/\n")
    assert _files(repository / "sub") == {"b"}
    # Somebody who names an ignored folder wants to see what is in it.
    assert _files(repository / "build") == {"c"}


def test_a_repository_within_another_has_rules_of_its_own(repository: Path, tmp_path: Path) -> None:
    _plant(repository, "a", "nested/a", "tree/a", "tree/b", gitignore="a\n")
    (repository / "nested" / ".git").mkdir()
    other = tmp_path / "other" / ".git"
    (other / "worktrees" / "tree").mkdir(parents=True)
    (other / "worktrees" / "tree" / "commondir").write_text("../..\n")
    (other / "info").mkdir()
    (other / "info" / "exclude").write_text("b\n")
    (repository / "tree" / ".git").write_text(f"gitdir: {other}/worktrees/tree\n")
    assert _files(repository) == {"nested/a", "tree/a"}


def test_excludes_of_the_repository_and_of_the_user_count(repository: Path, tmp_path: Path) -> None:
    _plant(repository, "a", "b", "c", "d", "deep/d")
    (repository / ".git" / "info").mkdir()
    (repository / ".git" / "info" / "exclude").write_text("a\n")
    user = tmp_path / "home" / ".config" / "git" / "ignore"
    user.parent.mkdir(parents=True)
    user.write_text("b\n/d\n")
    assert _files(repository) == {"c", "deep/d"}
    (tmp_path / "home" / ".gitconfig").write_text("[user]\n name = x\n[core]\n\texcludesFile = ~/mine\n")
    (tmp_path / "home" / "mine").write_text("c\n")
    assert _files(repository) == {"b", "d", "deep/d"}


def test_git_itself_is_left_out_and_what_only_looks_like_it_is_not(repository: Path) -> None:
    _plant(repository, ".git/HEAD", ".git/hooks/x", ".github/y", ".git2", ".hidden", "sub/.git/z")
    assert _files(repository) == {".github/y", ".git2", ".hidden"}


def test_names_that_are_no_text_and_lines_that_are_none_do_no_harm(repository: Path) -> None:
    (repository / ".gitignore").write_bytes(b"\xff*\n\xef\xbb\xbf\0\n[\n\\\nc\n")
    _plant(repository, "a", "c", os.fsdecode(b"\xffb"), os.fsdecode(b"d\xff"))
    (repository / "in").mkdir()
    (repository / "in" / ".git").write_bytes(b"gitdir: \0\xff\n")
    (repository / "in" / "c").touch()
    assert _files(repository) == {"a", "in/c"}


def test_a_hostile_pattern_takes_no_time() -> None:
    # A regular expression that gives back what it matched would take longer than the universe lasts.
    for line in ("*a*a*a*a*a*a*a*a*a*a*a*a*b", "**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/b", "/" + "a*" * 40 + "b"):
        for path in ("a" * 250, "a/" * 120 + "c"):
            assert IgnoreFile("/", [line]).verdict(path.rstrip("/").rpartition("/")[2], f"/{path}", False) is None
