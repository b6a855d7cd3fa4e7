"""What clients are shown of a command."""

import pytest

from app_server.execpolicy.actions import actions
from protocol.v2.item import (
    CommandAction,
    ListFilesCommandAction,
    ReadCommandAction,
    SearchCommandAction,
    UnknownCommandAction,
)


def shown(script: str) -> list[CommandAction]:
    return actions(["/bin/bash", "-lc", script], "/ws")


def read(command: str, path: str) -> CommandAction:
    return ReadCommandAction(command=command, name=path.rpartition("/")[2], path=path)


def listed(command: str, path: str | None = None) -> CommandAction:
    return ListFilesCommandAction(command=command, path=path)


def search(command: str, query: str | None, path: str | None = None) -> CommandAction:
    return SearchCommandAction(command=command, query=query, path=path)


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ("cat a/b.txt", "/ws/a/b.txt"),
        ("cat -n x", "/ws/x"),
        ("cat -- -x", "/ws/-x"),
        ("cat /abs/x", "/abs/x"),
        ("cat ../x", "/x"),
        ("bat --theme dark x", "/ws/x"),
        ("less -N x", "/ws/x"),
        ("head x", "/ws/x"),
        ("head -n 5 x", "/ws/x"),
        ("head -n5 x y", "/ws/x"),
        ("tail -n +5 x", "/ws/x"),
        ("sed -n 5p x", "/ws/x"),
        ("nl -ba x", "/ws/x"),
        ("nl -b a x", "/ws/x"),
        ("awk -f s x", "/ws/x"),
    ],
)
def test_a_file_is_read(script: str, path: str) -> None:
    assert shown(script) == [read(script, path)]


@pytest.mark.parametrize(
    "script",
    ["cat", "cat -", "cat x y", "head -5 x", "head -c 5 x", "head -n 5", "head -n +5 x", "tail -f x", "tail -n -5 x",
     "sed s/a/b/ x", "sed -n /a/p x", "sed -i s/a/b/ x", "less +G x", "awk 1", "wc -l x", "sort x", "echo x", "true",
     "npm test", "git status", "/bin/cat x", "bash -lc 'cat x'", "sudo cat x", "cat $x", "cat x > y", "cat x | jq .",
     "cat x | less", "pwd && ls", "cat x; npm test", "ls; echo x; cat y", "sort | uniq", "echo a; echo b", "ls *",
     "X=1 cat x", "(cat x)", "cat <<E\nx\nE", "python3 x.py", "cd x && npm test"],
)  # fmt: skip
def test_what_is_not_recognised_is_shown_as_it_is(script: str) -> None:
    assert shown(script) == [UnknownCommandAction(command=script)]


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ("ls", None),
        ("ls -la src/a", "a"),
        ("ls .", "."),
        ("ls /abs/b/", "b"),
        ("ls a/dist", "a"),
        ("ls -w 80 x", "x"),
        ("eza --level 2 x", "x"),
        ("tree -L 2 -I node_modules x", "x"),
        ("du -sh x", "x"),
        ("find", None),
        ("find src -type f", "src"),
        ("find -L x -maxdepth 1", "x"),
        ("fd", None),
        ("fd -t f", None),
        ("rg --files x", "x"),
        ("git ls-files --exclude a x", "x"),
    ],
)
def test_a_folder_is_listed(script: str, path: str | None) -> None:
    assert shown(script) == [listed(script, path)]


@pytest.mark.parametrize(
    ("script", "query", "path"),
    [
        ("rg x", "x", None),
        ("rg -n x src/a", "x", "a"),
        ("rg -e x y", "x", "y"),
        ("rg -A 3 x y z", "x", "y"),
        ("rg x -t py y", "x", "y"),
        ("rg -j 4 x y", "x", "y"),
        ("rg -f patterns y", None, "y"),
        ("rg -- -x y", "-x", "y"),
        ("rg", None, None),
        ("rg ''", "", None),
        ("grep -rn x .", "x", "."),
        ("grep -e x y", "x", "y"),
        ("egrep x y", "x", "y"),
        ("git grep -n x -- y", "x", "y"),
        ("ag x y", "x", "y"),
        ("fd -t f x y", "x", "y"),
        ("find . -name x -o -name y", "x", "."),
        ("find -iname x", "x", None),
    ],
)
def test_something_is_searched(script: str, query: str | None, path: str | None) -> None:
    assert shown(script) == [search(script, query, path)]


@pytest.mark.parametrize(
    ("script", "actions"),
    [
        (
            "cat x && ls | head -n 5; rg 'a b' y",
            [read("cat x", "/ws/x"), listed("ls"), search("rg 'a b' y", "a b", "y")],
        ),
        ("cat x | grep y", [read("cat x", "/ws/x"), search("grep y", "y")]),
        ("cat x | sort | uniq -c | head", [read("cat x", "/ws/x")]),
        ("cat  x | sed -n '1,5p'", [read("cat  x | sed -n '1,5p'", "/ws/x")]),
        ("sed -n '1,5p' x | nl", [read("sed -n '1,5p' x | nl", "/ws/x")]),
        ("rg x | sed -n 1,5p", [search("rg x", "x")]),
        ("echo look && cat x", [read("cat x", "/ws/x")]),
        ("cat x || true", [read("cat x", "/ws/x")]),
        ("true; true", []),
        ("cd a && cat b", [read("cat b", "/ws/a/b")]),
        ("cd a; cd ../c && cat b && ls", [read("cat b", "/ws/c/b"), listed("ls")]),
        ("cd /abs && cat b", [read("cat b", "/abs/b")]),
        ("cd a", []),
        ("ls ; ls", [listed("ls")]),
        ("python3 -c 'import os; os.listdir(1)'", [listed("python3 -c 'import os; os.listdir(1)'")]),
        ('cat "it\'s"', [read('cat "it\'s"', "/ws/it's")]),
        ("sed -n 1,5p x", [read("sed -n '1,5p' x", "/ws/x")]),
    ],
)
def test_the_parts_of_a_line_are_shown_one_by_one(script: str, actions: list[CommandAction]) -> None:
    assert shown(script) == actions


def test_without_a_shell_the_words_are_quoted() -> None:
    assert actions(["npm", "run", "a b"], "/ws") == [UnknownCommandAction(command="npm run 'a b'")]
    assert actions(["cat", "x"], "/ws") == [read("cat x", "/ws/x")]
    assert actions([], "/ws") == [UnknownCommandAction(command="")]
