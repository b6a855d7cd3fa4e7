"""The diff of a turn: what its patches came to, in a form that git applies."""

import shutil
import subprocess
from pathlib import Path

import pytest

from app_server.tools.turn_diff import FileChange, FileVersion, TurnDiff

TOP = "/project"
A, B = (f"{TOP}/{name}" for name in ("a.txt", "b.txt"))


def version(text: str | bytes, mode: int = 0o100644) -> FileVersion:
    return FileVersion(text.encode() if isinstance(text, str) else text, mode)


def diff(*changes: FileChange) -> str:
    told = TurnDiff()
    told.record(changes)
    return told.text(TOP)


def test_a_changed_file_is_shown_with_its_blobs() -> None:
    after = version("one\n2\n")
    assert diff(FileChange(A, version("one\ntwo\n"), after)) == (
        "diff --git a/a.txt b/a.txt\n"
        f"index 814f4a422927b82f5f8a43f8fab6d3839e3983f2..{after.blob} 100644\n"
        "--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
    )


def test_new_and_removed_files_have_their_modes() -> None:
    text = diff(FileChange(A, None, version("x\n", 0o100755)), FileChange(B, version("y"), None))
    assert text == (
        "diff --git a/a.txt b/a.txt\nnew file mode 100755\n"
        "index 0000000000000000000000000000000000000000..587be6b4c3f93f93c489c0111bba5596147a26cb\n"
        "--- /dev/null\n+++ b/a.txt\n@@ -0,0 +1 @@\n+x\n"
        "diff --git a/b.txt b/b.txt\ndeleted file mode 100644\n"
        f"index {version('y').blob}..0000000000000000000000000000000000000000\n"
        "--- a/b.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-y\n\\ No newline at end of file\n"
    )


def test_an_empty_file_has_no_hunks() -> None:
    text = diff(FileChange(A, None, version("")))
    assert text == (
        "diff --git a/a.txt b/a.txt\nnew file mode 100644\n"
        "index 0000000000000000000000000000000000000000..e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\n"
    )


def test_the_beginning_of_the_turn_is_what_counts() -> None:
    told = TurnDiff()
    told.record([FileChange(A, version("1\n"), version("2\n"))])
    told.record([FileChange(A, version("2\n"), version("3\n"))])
    assert "-1\n+3\n" in told.text(TOP)


def test_what_is_as_it_was_is_not_shown() -> None:
    told = TurnDiff()
    told.record([FileChange(A, version("1\n"), version("2\n")), FileChange(B, None, version("x\n"))])
    told.record([FileChange(A, version("2\n"), version("1\n")), FileChange(B, version("x\n"), None)])
    assert told.text(TOP) == ""


def test_a_renamed_file_is_one_entry() -> None:
    text = diff(FileChange(B, None, version("1\n2\n"), moved_from=A), FileChange(A, version("1\n"), None))
    blob = "d00491fd7e5bb6fa28c517a0bb32b8b506539d4d"
    assert text.startswith(f"diff --git a/a.txt b/b.txt\nrename from a.txt\nrename to b.txt\nindex {blob}..")
    assert text.endswith("--- a/a.txt\n+++ b/b.txt\n@@ -1 +1,2 @@\n 1\n+2\n")
    assert text.count("diff --git") == 1


def test_a_rename_without_a_change_has_no_hunks() -> None:
    text = diff(FileChange(B, None, version("1\n"), moved_from=A), FileChange(A, version("1\n"), None))
    assert text == "diff --git a/a.txt b/b.txt\nrename from a.txt\nrename to b.txt\n"


def test_a_file_that_was_renamed_twice_came_from_the_first_name() -> None:
    told = TurnDiff()
    told.record([FileChange(B, None, version("1\n"), moved_from=A), FileChange(A, version("1\n"), None)])
    third = f"{TOP}/c.txt"
    told.record([FileChange(third, None, version("1\n"), moved_from=B), FileChange(B, version("1\n"), None)])
    assert told.text(TOP) == "diff --git a/a.txt b/c.txt\nrename from a.txt\nrename to c.txt\n"
    told.record([FileChange(A, None, version("1\n"), moved_from=third), FileChange(third, version("1\n"), None)])
    assert told.text(TOP) == ""


def test_a_rename_whose_old_name_is_taken_again_is_two_entries() -> None:
    told = TurnDiff()
    told.record([FileChange(B, None, version("1\n"), moved_from=A), FileChange(A, version("1\n"), None)])
    told.record([FileChange(A, None, version("new\n"))])
    assert told.text(TOP).count("diff --git") == 2
    assert "rename" not in told.text(TOP)


def test_a_new_file_that_was_renamed_is_just_new() -> None:
    told = TurnDiff()
    told.record([FileChange(A, None, version("1\n"))])
    told.record([FileChange(B, None, version("1\n"), moved_from=A), FileChange(A, version("1\n"), None)])
    assert told.text(TOP).startswith("diff --git a/b.txt b/b.txt\nnew file mode 100644\n")


def test_binary_files_are_only_said_to_differ() -> None:
    text = diff(FileChange(A, version(b"\0\1"), None))
    assert text.endswith("Binary files a/a.txt and /dev/null differ\n")


def test_a_link_has_the_mode_of_one() -> None:
    assert "deleted file mode 120000\n" in diff(FileChange(A, version("target", 0o120777), None))


def test_what_is_no_utf_8_is_shown_by_replacement_characters() -> None:
    text = diff(FileChange(A, version(b"caf\xe9\n"), version(b"caf\xe9!\n")))
    assert "-caf\ufffd\n+caf\ufffd!\n" in text
    text.encode()


def test_files_outside_are_named_in_full() -> None:
    assert diff(FileChange("/etc/x", None, version(""))).startswith("diff --git a//etc/x b//etc/x\n")


def test_strange_names_are_quoted() -> None:
    text = diff(FileChange(f'{TOP}/a"\\\tb\x01', None, version("x\n")))
    assert text.startswith('diff --git "a/a\\"\\\\\\tb\\001" "b/a\\"\\\\\\tb\\001"\n')


def test_paths_are_relative_to_the_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main")
    cwd = tmp_path / "sub"
    cwd.mkdir()
    told = TurnDiff()
    told.record([FileChange(str(cwd / "a"), None, version("x\n"))])
    assert "+++ b/sub/a\n" in told.text(str(cwd))
    (tmp_path / ".git" / "HEAD").unlink()
    assert "+++ b/a\n" in told.text(str(cwd))


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_applies_it(tmp_path: Path) -> None:
    for name, content in (
        ("a", "1\n2\n3\n4\n5\n6\n7\n8\n"),
        ("b c", "x"),
        ('q"\t', "y\n"),
        ("gone", "z\n"),
        ("from", "m\nn\no\n"),
    ):
        (tmp_path / name).write_text(content)
    told = TurnDiff()

    def at(name: str) -> str:
        return str(tmp_path / name)

    after = {"a": "1\nzwei\n3\n4\n5\n6\n7\n", "b c": "x\n", 'q"\t': "Y\r\n", "to": "m\nN\no\n", "new/deep": "n"}
    told.record(
        [
            FileChange(at("a"), version((tmp_path / "a").read_bytes()), version(after["a"])),
            FileChange(at("b c"), version("x"), version(after["b c"])),
            FileChange(at('q"\t'), version("y\n"), version(after['q"\t'])),
            FileChange(at("gone"), version("z\n"), None),
            FileChange(at("to"), None, version(after["to"]), moved_from=at("from")),
            FileChange(at("from"), version("m\nn\no\n"), None),
            FileChange(at("new/deep"), None, version(after["new/deep"], 0o100755)),
        ]
    )
    text = told.text(str(tmp_path)).encode()
    subprocess.run(["git", "apply", "--whitespace=nowarn", "-"], input=text, cwd=tmp_path, check=True)
    left = {
        str(path.relative_to(tmp_path)): path.read_bytes().decode() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert left == after
    assert (tmp_path / "new" / "deep").stat().st_mode & 0o777 == 0o755
