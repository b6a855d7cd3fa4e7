"""Scripts are taken apart only where nothing but words is run."""

import subprocess
import sys

import pytest

from app_server.execpolicy.bash import canonical, script_of, split
from app_server.execpolicy.wrappers import UNKNOWN


def bash(script: str) -> list[str]:
    return ["/bin/bash", "-lc", script]


@pytest.mark.parametrize(
    ("script", "commands"),
    [
        ("ls", [("ls",)]),
        ("ls -l 'a b' \"c d\" 1 2.5", [("ls", "-l", "a b", "c d", "1", "2.5")]),
        ("ls \"a\"'b'c", [("ls", "abc")]),
        ("git log --format='%H %s'", [("git", "log", "--format=%H %s")]),
        ("ls '' \"\"", [("ls", "", "")]),
        ("ls '$x `y` \\' \"a\\b\"", [("ls", "$x `y` \\", "a\\b")]),
        ("a && b || c; d | e", [("a",), ("b",), ("c",), ("d",), ("e",)]),
        ("\n\na x\n\nb\n", [("a", "x"), ("b",)]),
        ("a;", [("a",)]),
        ("ls \\\n  -l", [("ls", "-l")]),
        ("ls FOO=1 x= -a=b ! @x +y %1 a,b", [("ls", "FOO=1", "x=", "-a=b", "!", "@x", "+y", "%1", "a,b")]),
        ('ls "two\nlines"', [("ls", "two\nlines")]),
        ("cat 日本 é", [("cat", "日本", "é")]),
        ("[ -f x ]"[2:6], [("-f", "x")]),
    ],
)
def test_a_script_of_words_alone_is_plain(script: str, commands: list[tuple[str, ...]]) -> None:
    found = split(bash(script))
    assert (found.kind, list(found.commands)) == ("plain", commands)


# fmt: off
OPAQUE = [
    "a > f", "a < f", "a 2>&1", "a >> f", "a &> f", "> f", "a <<< x", "a <<EOF\nx\nEOF", "a <<-'EOF' | b\nx\nEOF",
    "a $x", 'a "$x"', "a ${x}", "a $(b)", "a `b`", 'a "`b`"', "a $((1+1))", "((1))", "a $'x'", 'a $"x"', "a $", "(a)",
    "{ a; }", "! a", "a & b", "a &", "a |& b", "X=1 a", "X=1", "x[1]=2", "export X=1", "unset x", "local x", "a <(b)",
    "a >(b)", "a *.py", "a x?", "a [ab]", "a {x,y}", "a {1..3}", "a ~", "a ~/x", "a x~", "a x#y", "a =x", "a ^x",
    "a x\\ y", "a \\*", "\\a", "'a' b", '"a" b', "a 'x", 'a "x', "a )", "a }", "a {", "a (x)", "a x()",
    "if a; then b; fi", "for i in 1; do a; done", "while a; do b; done", "case a in a) b;; esac", "f() { a; }",
    "function f { a; }", "[ -f x ]", "[[ -f x ]]", "a # comment", "# comment", "a &&", "&& a", "a || ", "| a", ";",
    "a ;; b", "a &&& b", "", " ", "\n", "a\\", 'a "x\\"y"', 'a "\\$x"', 'a "x\\\ny"', "select x in a; do b; done",
    "a\rb", "a\r\nb", "a\x01", "a\x7f", "a\xa0b", "a\u3000b", "a\u200bb", "1", "1 2",
]
# fmt: on


@pytest.mark.parametrize("script", OPAQUE)
def test_anything_else_is_opaque(script: str) -> None:
    found = split(bash(script))
    assert (found.kind, found.commands) == ("opaque", (("/bin/bash", "-lc", script),))


@pytest.mark.parametrize("script", ["x" * 131_072, "a\0b", "a \udcff", "a|" * 60_000])
def test_what_cannot_be_read_or_run_is_unreadable(script: str) -> None:
    assert split(bash(script)).kind == "unreadable"


@pytest.mark.parametrize(
    ("argv", "script"),
    [
        (["bash", "-c", "ls"], "ls"),
        (["/usr/bin/zsh", "-lc", "ls"], "ls"),
        (["sh", "-c", "ls"], "ls"),
        (["/nix/store/x-bash/bin/bash", "-c", "ls"], "ls"),
        (["bash", "-c", "ls", "x"], None),
        (["bash", "-x", "ls"], None),
        (["bash", "-c"], None),
        (["./bash", "-c", "ls"], None),
        (["/project/bash", "-c", "ls"], None),
        (["/usr/bin/../../project/bash", "-c", "ls"], None),
        (["dash", "-c", "ls"], None),
        (["ls", "-c", "ls"], None),
        ([], None),
    ],
)
def test_only_a_shell_of_the_system_is_looked_into(argv: list[str], script: str | None) -> None:
    assert script_of(argv) == script


def test_without_a_shell_the_words_are_known() -> None:
    found = split(["git", "log", "a > b"])
    assert (found.kind, found.commands) == ("plain", (("git", "log", "a > b"),))


@pytest.mark.parametrize(
    ("script", "within"),
    [
        ("echo $(rm x)", [("echo", UNKNOWN), ("rm", "x")]),
        ("(git push)", [("git", "push")]),
        ("git push > log", [("git", "push")]),
        ("git $verb x", [("git", UNKNOWN, "x")]),
        ("\\git 'pu'sh \"a\\\"b\"", [("git", "push", 'a"b')]),
        ("X=1 rm <in -f y", [("rm", "-f", "y")]),
        ("cat <<EOF > x && rm -f y\nhi $(id)\nEOF", [("cat",), ("rm", "-f", "y"), ("id",)]),
        ("sudo -u me env A=b git push &", [
            ("sudo", "-u", "me", "env", "A=b", "git", "push"),
            ("env", "A=b", "git", "push"),
            ("git", "push"),
        ]),
        ("$'git' push; $\"git\" pull > f", [("git", "push"), ("git", "pull")]),
    ],
)  # fmt: skip
def test_an_opaque_script_tells_what_it_runs_as_far_as_can_be_seen(script: str, within: list[tuple[str, ...]]) -> None:
    assert list(split(bash(script)).within[0]) == within


@pytest.mark.parametrize(
    "script",
    ["bash -c 'git push'", "bash -e -c 'git push' x", "eval git push", "eval 'git push'", "trap 'git push' EXIT",
     "sh -lc \"bash -c 'git push'\"", "timeout -k 1 5 git push", "nice -n 5 git push", "sudo -n bash -c 'git push'"],
)  # fmt: skip
def test_what_a_plain_command_is_told_to_run_is_within_it(script: str) -> None:
    found = split(bash(script))
    assert found.kind == "plain"
    assert ("git", "push") in found.within[0]


def test_scripts_within_scripts_are_read_to_a_bound() -> None:
    script = "git push"
    for _ in range(8):
        script = "eval " + script
    assert split(bash(script)).kind == "unreadable"


def test_words_of_a_script_that_the_parser_cannot_read_are_looked_through() -> None:
    found = split(bash("if [ x; ! { 'git' push; } ("))
    assert ("git", "push") in found.within[0]


def test_characters_of_any_script_are_safe_for_the_parser() -> None:
    code = """
import sys
from app_server.execpolicy.bash import split
for point in (0x85, 0xe9, 0x3000, 0xd7ff, 0xfffd, 0x5355e, 0x1f600, 0x10ffff):
    for script in ("x${%s", "${%s}", "%s=1 a", "<<%s", "a %s>b", "{1..%s}", "[[ a =~ %s"):
        assert split(["bash", "-c", script % chr(point)]).kind == "opaque", script
"""
    for _ in range(3):  # where the parser's tables lie in memory is chance
        subprocess.run([sys.executable, "-c", code], check=True)


def test_characters_beyond_ascii_are_parts_of_words() -> None:
    assert split(bash("é ü=1 'ß\U0001f600'")).commands == (("é", "ü=1", "ß\U0001f600"),)
    assert ("git", "push") in split(bash("é=1 git push")).within[0]


def test_a_word_that_is_continued_on_the_next_line_is_one_word() -> None:
    assert split(bash("git pu\\\nsh")).kind == "opaque"
    assert ("git", "push") in split(bash("git pu\\\nsh")).within[0]


def test_spacing_and_quoting_do_not_make_another_command() -> None:
    assert canonical(bash("ls  -l 'x'")) == canonical(bash('ls -l "x"'))
    assert canonical(bash("ls -l")) != canonical(bash("ls -a"))
    assert canonical(bash("ls '-l x'")) != canonical(bash("ls -l x"))
    assert canonical(bash("a && b")) != canonical(bash("a || b"))
    assert canonical(["ls", "-l"]) == ("ls", "-l")
    assert canonical(bash("ls > x")) == tuple(bash("ls > x"))
