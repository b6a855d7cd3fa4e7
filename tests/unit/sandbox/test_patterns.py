"""Patterns that a profile denies, against real folders."""

import os
from pathlib import Path

import pytest

from app_server.sandbox import patterns
from app_server.sandbox.patterns import SearchTooLong, escaped, matches_any, with_matches
from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.sandbox import Confinement, SandboxUnavailable, Unsupported

FILES = ("a.env", "s/a.env", "s/t/u/a.env", "s/k.key", "[id].tsx", "z", ".hidden.env")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # A name that would itself be a pattern.
    root = tmp_path / "work[1]"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("secret")
    return root


def _found(folder: Path, *wanted: str, depth: int | None = None) -> set[str]:
    found = with_matches(
        PermissionProfile(
            "restricted",
            network=False,
            denied_patterns=tuple(f"{escaped(str(folder))}/{pattern}" for pattern in wanted),
            pattern_depth=depth,
        )
    )
    assert (found.denied_patterns, found.pattern_depth) == ((), None)
    return {os.path.relpath(path, folder) for path in found.denied}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**/*.env", {"a.env", ".hidden.env", "s/a.env", "s/t/u/a.env"}),
        ("*.env", {"a.env", ".hidden.env"}),
        ("*/*.env", {"s/a.env"}),
        ("s/**/a.env", {"s/a.env", "s/t/u/a.env"}),
        ("s/**/**/a.env", {"s/a.env", "s/t/u/a.env"}),
        ("**/t", {"s/t"}),
        ("**/t/**/a.env", {"s/t/u/a.env"}),
        ("s/?.k[ea]y", {"s/k.key"}),
        ("[!s]", {"z"}),
        ("[^s]", {"z"}),
        ("[[]id].tsx", {"[id].tsx"}),
        ("none/**/a.env", set[str]()),
        ("*.ENV", set[str]()),
    ],
)
def test_a_pattern_finds_what_it_means(folder: Path, pattern: str, found: set[str]) -> None:
    assert _found(folder, pattern) == found


@pytest.mark.parametrize("path", FILES)
def test_a_path_is_matched_as_it_is_found(folder: Path, path: str) -> None:
    for pattern in ("**/*.env", "*.env", "*/*.env", "s/**/a.env", "s/?.k[ea]y", "[!s]"):
        wanted = [f"{escaped(str(folder))}/{pattern}"]
        assert matches_any(str(folder / path), wanted) is (path in _found(folder, pattern))


def test_what_lies_in_a_folder_that_matches_matches_too(folder: Path) -> None:
    wanted = [f"{escaped(str(folder))}/**/t"]
    assert matches_any(str(folder / "s/t/u/a.env"), wanted)
    assert not matches_any(str(folder / "s"), wanted)


def test_several_patterns_are_looked_for_at_once(folder: Path) -> None:
    assert _found(folder, "**/*.key", "*.tsx", "s/t") == {"s/k.key", "[id].tsx", "s/t"}


def test_the_search_goes_as_deep_as_it_is_told(folder: Path) -> None:
    assert _found(folder, "**/a.env", depth=1) == {"a.env"}
    assert _found(folder, "**/a.env", depth=2) == {"a.env", "s/a.env"}


def test_of_a_link_that_matches_it_is_the_file_that_is_denied(folder: Path) -> None:
    (folder / "real").write_text("secret")
    (folder / "link.env").symlink_to("real")
    (folder / "gone.env").symlink_to("nowhere")
    assert {"real", "nowhere"} <= _found(folder, "*.env")


def test_a_link_to_a_folder_is_followed_only_where_it_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.env").write_text("secret")
    (folder / "other").symlink_to(tmp_path / "other")
    assert _found(folder, "**/a.env") == {"a.env", "s/a.env", "s/t/u/a.env"}
    assert _found(folder, "other/*.env") == {"../other/a.env"}


def test_a_path_that_was_denied_stays_so(folder: Path) -> None:
    profile = PermissionProfile(
        "restricted", network=False, denied=("/elsewhere",), denied_patterns=(f"{escaped(str(folder))}/z*",)
    )
    assert with_matches(profile).denied == ("/elsewhere", str(folder / "z"))


async def test_too_much_to_look_at_is_a_refusal_with_the_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "ENTRIES", 5)
    with pytest.raises(SearchTooLong, match="glob_scan_max_depth"):
        _found(folder, "**/*.env")
    sandbox = Confinement(Unsupported("never reached"))
    profile = PermissionProfile("restricted", network=False, denied_patterns=(f"{escaped(str(folder))}/**/*.env",))
    with pytest.raises(SandboxUnavailable, match="glob_scan_max_depth"):
        await sandbox.wrap(["true"], cwd="/", env={}, profile=profile)


def test_within_the_bound_the_search_is_complete(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        patterns, "ENTRIES", 1 + sum(len(files) + len(folders) for _, folders, files in os.walk(folder))
    )
    assert _found(folder, "**/a.env") == {"a.env", "s/a.env", "s/t/u/a.env"}
