"""Files that the daemon changes itself: where a profile lets it, whole or not at all, and past every trick."""

import os
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from app_server.sandbox.guarded_files import FileProblem, FilesLost, FileState, FileWrite, GuardedFiles, Place
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile, external, read_only


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A writable root."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


def profile(*roots: Path) -> PermissionProfile:
    return PermissionProfile("restricted", network=False, writable_roots=tuple(map(str, roots)))


def change(files: GuardedFiles, path: Path | str, content: bytes | None) -> FileWrite:
    place = files.locate(str(path), follow=content is not None)
    return FileWrite(place, files.read(place), content)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# Where


def access(profile: PermissionProfile, path: Path | str, hidden: Sequence[str] = ()) -> str:
    return GuardedFiles(profile, hidden).locate(str(path)).access


def test_writable_is_what_lies_in_a_root(root: Path, outside: Path) -> None:
    within = profile(root)
    assert access(within, root / "a") == "write"
    assert access(within, root / "new" / "deep" / "a") == "write"
    assert access(within, outside / "a") == "ask"
    assert access(within, root.parent / "rootlet") == "ask"
    assert access(within, f"{root}/x/../../outside/a") == "ask"
    assert access(within, root.parent) == "ask"


def test_nothing_is_writable_under_a_read_only_profile(root: Path) -> None:
    place = GuardedFiles(read_only()).locate(str(root / "a"))
    assert (place.access, place.reason) == ("ask", "writing is blocked by the read-only sandbox")


@pytest.mark.parametrize("profile", [FULL_ACCESS, external()])
def test_everything_is_writable_without_a_sandbox_of_ours(profile: PermissionProfile, outside: Path) -> None:
    assert access(profile, outside / ".git" / "config") == "write"


@pytest.mark.parametrize(
    "path",
    [
        *(".git/config", ".git", ".codex/x", ".agents/a", ".aws/b", ".GIT/config", "deep/er/.git/hooks/pre-commit"),
        # Without it, config, objects and refs are no bare repository.
        *("HEAD", "deep/HEAD"),
    ],
)
def test_protected_names_are_asked_about(root: Path, path: str) -> None:
    assert access(profile(root), root / path) == "ask"


@pytest.mark.parametrize(
    "path", [".gitignore", "a.git/x", "deep/.codex/x", ".github/workflows/x", "HEADER", "head", "HEAD/x"]
)
def test_names_that_only_look_alike_are_not(root: Path, path: str) -> None:
    assert access(profile(root), root / path) == "write"


def test_protected_names_of_an_inner_root_count_too(root: Path) -> None:
    inner = root / "inner"
    inner.mkdir()
    assert access(profile(root, inner), inner / ".codex" / "x") == "ask"


@pytest.mark.parametrize("marker", ["objects", "commondir"])
def test_a_repository_by_another_name_is_protected(root: Path, marker: str) -> None:
    bare = root / "store" / "bare"
    bare.mkdir(parents=True)
    (bare / "HEAD").write_text("ref: refs/heads/main\n")
    if marker == "objects":
        (bare / marker).mkdir()
    else:
        (bare / marker).write_text("..")
    assert access(profile(root), bare / "hooks" / "post-checkout") == "ask"
    assert access(profile(root), root / "store" / "a") == "write"


def test_the_innermost_of_denied_read_only_and_writable_paths_decides(root: Path) -> None:
    rules = replace(
        profile(root, root / "kept" / "open"),
        read_only=(str(root / "kept"),),
        denied=(str(root / "secret"),),
        denied_patterns=(f"{root}/**/*.pem",),
    )
    (root / "kept" / "open").mkdir(parents=True)
    assert access(rules, root / "kept" / "a") == "ask"
    assert access(rules, root / "kept" / "open" / "a") == "write"
    assert access(rules, root / "secret" / "a") == "never"
    assert access(rules, root / "deep" / "key.pem") == "never"
    assert access(replace(FULL_ACCESS, denied=(str(root),)), root / "a") == "never"


def test_what_may_not_be_read_may_not_be_patched(root: Path, outside: Path) -> None:
    rules = replace(profile(root), readable_roots=(str(root), str(outside / "seen")))
    assert access(rules, root / "a") == "write"
    assert access(rules, outside / "seen" / "a") == "ask"
    assert access(rules, outside / "a") == "never"


def test_secrets_are_hidden_from_restricted_profiles_only(root: Path) -> None:
    hidden = [str(root / "auth.json")]
    assert access(profile(root), root / "auth.json", hidden) == "never"
    assert access(profile(root), root / "auth.json.bak", hidden) == "write"
    assert access(FULL_ACCESS, root / "auth.json", hidden) == "write"


def test_a_link_counts_as_where_it_leads(root: Path, outside: Path) -> None:
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to(root / "deep")
    (outside / "back").symlink_to(root)
    (root / "dangling").symlink_to(outside / "nothing")
    files = GuardedFiles(profile(root))
    place = files.locate(str(root / "out" / "a"))
    assert (place.access, place.path, place.real) == ("ask", str(root / "out" / "a"), str(outside / "a"))
    assert str(outside / "a") in place.reason
    assert files.locate(str(root / "in" / "a")).access == "write"
    assert files.locate(str(outside / "back" / "a")).access == "write"
    assert files.locate(str(root / "dangling")).access == "ask"
    assert files.locate(str(root / "dangling"), follow=False).access == "write"


def test_a_root_that_is_a_link_is_the_folder_behind_it(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert access(profile(tmp_path / "link"), root / "a") == "write"


def test_a_root_that_a_command_made_a_link_is_none(root: Path, outside: Path) -> None:
    inner = root / "inner"
    inner.mkdir()
    both = profile(root, inner)
    assert access(both, inner / "a") == "write"
    inner.rmdir()
    inner.symlink_to(outside)
    assert access(both, inner / "a") == "ask"
    assert access(both, outside / "a") == "ask"
    assert access(both, root / "a") == "write"


def test_what_the_kernel_shows_as_files_is_never_in_a_root() -> None:
    assert access(profile(Path("/proc/self")), "/proc/self/comm") == "ask"


# Reading


def test_a_file_is_read_with_its_mode(root: Path) -> None:
    (root / "a").write_bytes(b"\0\xff")
    (root / "a").chmod(0o750)
    files = GuardedFiles(profile(root))
    state = files.read(files.locate(str(root / "a")))
    assert state is not None
    assert (state.content, stat.S_IMODE(state.mode)) == (b"\0\xff", 0o750)
    assert files.read(files.locate(str(root / "none"))) is None
    assert files.read(files.locate(str(root / "no" / "folder"))) is None


def test_only_regular_files_are_read(root: Path) -> None:
    files = GuardedFiles(profile(root))
    os.mkfifo(root / "pipe")
    with pytest.raises(FileProblem, match="pipe is no regular file"):
        files.read(files.locate(str(root / "pipe")))
    with pytest.raises(FileProblem, match="root is a folder"):
        files.read(files.locate(str(root)))
    with pytest.raises(FileProblem, match="null is no regular file"):
        files.read(files.locate("/dev/null"))
    (root / "a").write_text("")
    with pytest.raises(FileProblem, match="a folder on the way is a symbolic link or a file"):
        files.read(files.locate(str(root / "a" / "b")))


def test_a_file_that_is_too_large_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app_server.sandbox.guarded_files.LARGEST_FILE", 10)
    (root / "a").write_bytes(b"x" * 11)
    files = GuardedFiles(profile(root))
    with pytest.raises(FileProblem, match="has 11 bytes; at most 10"):
        files.read(files.locate(str(root / "a")))


def test_a_link_itself_is_read_as_where_it_leads(root: Path) -> None:
    (root / "link").symlink_to("somewhere")
    files = GuardedFiles(profile(root))
    state = files.read(files.locate(str(root / "link"), follow=False))
    assert state is not None
    assert (state.content, stat.S_ISLNK(state.mode)) == (b"somewhere", True)


def test_what_is_denied_is_not_read(root: Path) -> None:
    (root / "a").write_text("secret")
    files = GuardedFiles(replace(profile(root), denied=(str(root / "a"),)))
    with pytest.raises(FileProblem, match="may not be read or changed: the permission profile denies it"):
        files.read(files.locate(str(root / "a")))


# Writing


def test_files_are_made_changed_and_removed(root: Path) -> None:
    (root / "old").write_text("1")
    (root / "gone").write_text("2")
    files = GuardedFiles(profile(root))
    writes = [change(files, root / name, content) for name, content in (("old", b"3"), ("gone", None))]
    files.write([*writes, change(files, root / "new" / "deep" / "er", b"4")])
    assert names(root) == ["new", "new/deep", "new/deep/er", "old"]
    assert (root / "old").read_bytes() == b"3"
    assert (root / "new" / "deep" / "er").read_bytes() == b"4"


def test_a_file_keeps_its_mode_owner_and_attributes(root: Path) -> None:
    path = root / "a"
    path.write_text("1")
    path.chmod(0o4751)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
        path.chmod(0o4751)
    attributes = hasattr(os, "setxattr")
    if attributes:
        try:
            os.setxattr(path, "user.note", b"kept")
        except OSError:
            attributes = False
    files = GuardedFiles(profile(root))
    files.write([change(files, path, b"2")])
    status = path.stat()
    # As after any write, it is no longer setuid.
    assert stat.S_IMODE(status.st_mode) == 0o751
    if os.geteuid() == 0:
        assert (status.st_uid, status.st_gid) == (1234, 4321)
    if attributes:
        assert os.getxattr(path, "user.note") == b"kept"


def test_a_new_file_has_the_usual_mode_or_the_one_that_is_given(root: Path) -> None:
    before = os.umask(0o027)
    try:
        files = GuardedFiles(profile(root))
        plain, runs = (files.locate(str(root / name)) for name in ("plain", "runs"))
        files.write([FileWrite(plain, None, b""), FileWrite(runs, None, b"", 0o100755)])
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "plain").stat().st_mode) == 0o640
    assert stat.S_IMODE((root / "runs").stat().st_mode) == 0o755


def test_another_name_of_the_file_keeps_the_old_content(root: Path, outside: Path) -> None:
    (outside / "precious").write_text("1")
    os.link(outside / "precious", root / "a")
    files = GuardedFiles(profile(root))
    files.write([change(files, root / "a", b"2")])
    assert ((root / "a").read_text(), (outside / "precious").read_text()) == ("2", "1")


def test_a_link_within_the_root_stays_and_its_target_changes(root: Path) -> None:
    (root / "target").write_text("1")
    (root / "link").symlink_to("target")
    files = GuardedFiles(profile(root))
    files.write([change(files, root / "link", b"2")])
    assert (root / "link").is_symlink()
    assert (root / "target").read_text() == "2"


def test_removing_a_link_leaves_its_target(root: Path, outside: Path) -> None:
    (outside / "target").write_text("1")
    (root / "link").symlink_to(outside / "target")
    files = GuardedFiles(profile(root))
    files.write([change(files, root / "link", None)])
    assert names(root) == []
    assert (outside / "target").read_text() == "1"


def test_what_was_not_allowed_is_not_written(root: Path, outside: Path) -> None:
    files = GuardedFiles(profile(root))
    inside, other = change(files, root / "a", b"1"), change(files, outside / "a", b"1")
    with pytest.raises(FileProblem, match="outside of the writable folders"):
        files.write([inside, other])
    with pytest.raises(FileProblem, match="outside of the writable folders"):
        files.write([inside, other], {str(outside / "b"), str(outside)})
    assert (names(root), names(outside)) == ([], [])
    files.write([inside, other], {str(outside / "a")})
    assert (names(root), names(outside)) == (["a"], ["a"])


def test_what_is_denied_is_never_written(root: Path) -> None:
    files = GuardedFiles(replace(profile(root), denied=(str(root / "a"),)))
    place = files.locate(str(root / "a"))
    with pytest.raises(FileProblem, match="denies it"):
        files.write([FileWrite(place, None, b"1")], {place.real})
    assert names(root) == []


def test_a_file_that_has_changed_in_between_is_not_touched(root: Path) -> None:
    files = GuardedFiles(profile(root))
    (root / "a").write_text("1")
    (root / "b").write_text("1")
    writes = [change(files, root / name, b"2") for name in ("b", "a", "new")]
    (root / "a").write_text("other")
    with pytest.raises(FileProblem, match="a has changed since the patch was checked; read it again"):
        files.write(writes)
    (root / "a").unlink()
    with pytest.raises(FileProblem, match="a has changed"):
        files.write(writes)
    (root / "new").write_text("theirs")
    with pytest.raises(FileProblem, match="new has changed"):
        files.write([writes[0], writes[2]])
    assert (root / "b").read_text() == "1"
    assert (root / "new").read_text() == "theirs"
    assert names(root) == ["b", "new"]


def test_a_folder_that_became_a_link_in_between_leads_nowhere(root: Path, outside: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "a").write_text("1")
    (outside / "a").write_text("1")
    files = GuardedFiles(profile(root))
    writes = [change(files, root / "sub" / "a", b"2")]
    new = [change(files, root / "sub" / "new", b"2")]
    (root / "sub").rename(root / "moved")
    (root / "sub").symlink_to(outside)
    for attempt in (writes, new):
        with pytest.raises(FileProblem, match="a folder on the way is a symbolic link"):
            files.write(attempt)
    with pytest.raises(FileProblem, match="a folder on the way is a symbolic link"):
        files.read(writes[0].place)
    assert (outside / "a").read_text() == "1"
    assert names(outside) == ["a"]


def test_a_file_that_became_a_link_in_between_is_not_followed(root: Path, outside: Path) -> None:
    (outside / "a").write_text("1")
    (root / "a").write_text("1")
    files = GuardedFiles(profile(root))
    writes = [change(files, root / "a", b"2")]
    (root / "a").unlink()
    (root / "a").symlink_to(outside / "a")
    with pytest.raises(FileProblem, match="has changed"):
        files.write(writes)
    state = files.read(writes[0].place)
    assert state is not None
    assert state.content == os.fsencode(outside / "a")
    assert (outside / "a").read_text() == "1"


def test_a_race_for_links_never_reaches_the_outside(root: Path, outside: Path) -> None:
    (outside / "a").write_text("untouched")
    (root / "real").mkdir()
    (root / "link").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        # A folder and a link to the outside take turns under one name.
        while not stop.is_set():
            for name in ("real", "link"):
                with suppress(OSError):
                    (root / name).rename(root / "sub")
                    (root / "sub").rename(root / name)

    swapper = threading.Thread(target=swap)
    swapper.start()
    written = 0
    try:
        for number in range(1500):
            files = GuardedFiles(profile(root))
            try:
                place = files.locate(str(root / "sub" / "a"))
                before = files.read(place)
                assert before is None or before.content != b"untouched" or place.access != "write"
                files.write([FileWrite(place, before, b"%d" % number)])
                written += 1
            except FileProblem:
                pass
    finally:
        stop.set()
        swapper.join()
    assert written
    assert (outside / "a").read_text() == "untouched"
    assert names(outside) == ["a"]


def test_a_failure_undoes_what_was_done(root: Path) -> None:
    (root / "kept").write_text("1")
    (root / "kept").chmod(0o640)
    (root / "gone").write_text("2")
    (root / "link").symlink_to("kept")
    files = GuardedFiles(profile(root))
    writes = [
        change(files, root / "kept", b"new"),
        change(files, root / "gone", None),
        change(files, root / "link", None),
        change(files, root / "deep" / "er" / "new", b"3"),
        # A file and a folder of one name cannot both be.
        FileWrite(files.locate(str(root / "both")), None, b"4"),
        FileWrite(Place(str(root / "both" / "x"), str(root / "both" / "x"), "write"), None, b"5"),
    ]
    with pytest.raises(FileProblem, match="both cannot be changed"):
        files.write(writes)
    assert names(root) == ["gone", "kept", "link"]
    assert ((root / "kept").read_text(), (root / "gone").read_text()) == ("1", "2")
    assert stat.S_IMODE((root / "kept").stat().st_mode) == 0o640
    assert os.readlink(root / "link") == "kept"


def test_no_space_means_no_change(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "a").write_text("1")
    files = GuardedFiles(profile(root))
    writes = [change(files, root / "a", b"2"), change(files, root / "deep" / "b", b"2")]
    seen: list[int] = []

    def full(fd: int, mode: str) -> object:
        if seen:
            os.close(fd)
            raise OSError(28, "No space left on device")
        seen.append(fd)
        return open(fd, mode)

    monkeypatch.setattr("app_server.sandbox.guarded_files.os.fdopen", full)
    with pytest.raises(FileProblem, match="b cannot be changed: No space left on device"):
        files.write(writes)
    monkeypatch.undo()
    assert names(root) == ["a"]
    assert (root / "a").read_text() == "1"


def test_what_cannot_be_put_back_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (root / name).write_text("1")
    files = GuardedFiles(profile(root))
    writes = [change(files, root / name, b"2") for name in ("a", "b")]
    rename = os.rename
    done: list[str] = []

    def only_once(source: str, target: str, **folders: int) -> None:
        if done:
            raise PermissionError(1, "Operation not permitted")
        done.append(target)
        rename(source, target, **folders)

    monkeypatch.setattr("app_server.sandbox.guarded_files.os.rename", only_once)
    with pytest.raises(FilesLost, match=r"could not be put back: .*/a$"):
        files.write(writes)
    monkeypatch.undo()
    assert names(root) == ["a", "b"]


def test_nothing_stays_open(root: Path) -> None:
    files = GuardedFiles(profile(root))
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    for number in range(20):
        files.write([change(files, root / f"deep{number}" / "er" / "a", b"1")])
        with suppress(FileProblem):
            files.write([FileWrite(files.locate(str(root / f"deep{number}")), FileState(b"", 0, ()), b"1")])
    after = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    assert len(after) == len(before)
