"""Rules files on disk: read when they change, never trusted too far, and added to safely."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from app_server.execpolicy import loading, store
from app_server.execpolicy.loading import RulesFileError, evaluate_rules
from app_server.execpolicy.rules import HostExecutable, NetworkRule, PrefixRule, RuleSet
from app_server.execpolicy.store import RulesError, RulesStore


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def rules(home: Path) -> Path:
    folder = home / "rules"
    folder.mkdir(parents=True)
    return folder


def evaluated(text: str) -> RuleSet:
    return evaluate_rules(Path("x.rules"), text.encode())


def told(text: str) -> str:
    with pytest.raises(RulesFileError) as error:
        evaluated(text)
    return str(error.value)


def allow(*words: str) -> PrefixRule:
    return PrefixRule(tuple((word,) for word in words))


# What a file says


def test_a_file_makes_rules() -> None:
    assert evaluated(
        """
def all(verbs):
    for verb in verbs:
        prefix_rule(["git", verb], "prompt", justification = "look: {}".format(verb))

all(["push", "pull"])
[prefix_rule(pattern = [tool, ["a", "b"]]) for tool in ("x", "y")]
prefix_rule(["rm"], decision = "forbidden", match = ["rm -f x", ["rm", "y"], "/any/rm x"], not_match = ["ls"])
name = "ls"
prefix_rule([f"{name}"])
host_executable("ls", ["/opt/bin/ls"])
network_rule("Example.COM:443", "https_connect", "allow", "docs")
network_rule(host = "[::1]:80", protocol = "socks5_tcp", decision = "deny")
"""
    ) == RuleSet(
        (
            PrefixRule((("git",), ("push",)), "prompt", "look: push"),
            PrefixRule((("git",), ("pull",)), "prompt", "look: pull"),
            PrefixRule((("x",), ("a", "b"))),
            PrefixRule((("y",), ("a", "b"))),
            PrefixRule((("rm",),), "forbidden"),
            allow("ls"),
        ),
        (HostExecutable("ls", ("/opt/bin/ls",)),),
        (
            NetworkRule("example.com", "https", "allow", "docs"),
            NetworkRule("::1", "socks5_tcp", "forbidden"),
        ),
    )


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("prefix_rule()", "missing 1 required positional argument: 'pattern'"),
        ("prefix_rule([])", "`pattern` must not be empty"),
        ('prefix_rule("ls")', "`pattern` must be a list"),
        ("prefix_rule([1])", "`pattern` must hold strings"),
        ("prefix_rule([[]])", "`pattern` must not be empty"),
        ('prefix_rule(["ls"], "deny")', "`decision` must be one of allow, prompt, forbidden"),
        ('prefix_rule(["ls"], justification = " ")', "`justification` must be a text that is not blank"),
        ('prefix_rule(["ls"], other = 1)', "unexpected keyword argument 'other'"),
        ('prefix_rule(["ls"], match = "ls")', "`match` must be a list"),
        ('prefix_rule(["ls"], match = [""])', "`match` must not hold an empty command"),
        ('prefix_rule(["ls"], match = ["ls \\""])', "is no shell command"),
        ('prefix_rule(["ls"], match = ["cat x"])', "the rule for `ls` should match its example `cat x`, and does not"),
        (
            'prefix_rule(["ls"], not_match = ["ls x"])',
            "the rule for `ls` should not match its example `ls x`, and does",
        ),
        ('host_executable("ls", ["bin/ls"])', "`paths` must be absolute, unlike bin/ls"),
        ('host_executable("ls", ["/bin/cat"])', "each of `paths` must end in ls"),
        ('host_executable("/bin/ls", ["/bin/ls"])', "`name` must be a program's bare name"),
        ('network_rule("http://h", "http", "allow")', "`host` must be a host's name or address alone"),
        ('network_rule("*.h", "http", "allow")', "`host` must be one host"),
        ('network_rule("a b", "http", "allow")', "`host` must not hold spaces"),
        ('network_rule("h", "ftp", "allow")', "`protocol` must be one of http, https"),
        ('network_rule("h", "http", "yes")', "`decision` must be one of allow, prompt, deny"),
        ('load("other.rules", "x")', "`load` is not allowed"),
        ("x = (", "Parse error"),
        ("nothing()", "Variable `nothing` not found"),
        ('print("x")', "Variable `print` not found"),
    ],
)
def test_a_wrong_file_is_told_with_its_place(text: str, because: str) -> None:
    assert because in told(text)


def test_the_place_of_a_mistake_is_known() -> None:
    with pytest.raises(RulesFileError) as error:
        evaluated('prefix_rule(["ls"])\n\n  prefix_rule([])')
    assert (error.value.line, error.value.column) == (3, 1)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("def f():\n  for i in range(1000000000):\n    pass\nf()", "evaluating it takes too long"),
        ('def f(s):\n  for i in range(60):\n    s += s\nf("x")', "too much memory"),
        ("x = [0] * 2000000000", "too much memory"),
        ("def f(): f()\nf()", "call stack overflow"),
        ("[prefix_rule(['a']) for i in range(30000)]", "at most 20000 rules"),
        ("[prefix_rule(['a' * 10000]) for i in range(10000)]", "more rules than can be held"),
    ],
)
def test_a_hostile_file_is_a_mistake_and_no_harm(text: str, because: str) -> None:
    assert because in told(text)


def test_nesting_without_end_ends_the_child_alone() -> None:
    with pytest.raises(RulesFileError, match="nested too deeply"):
        evaluated("x = " + "[" * 100_000 + "]" * 100_000)


def test_a_mistake_in_a_long_line_is_told_in_short() -> None:
    assert len(told("x = " + "(" * 400_000)) < 1000


def test_a_file_without_rules_needs_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    assert evaluated("# nothing\n\n   # yet") == RuleSet()


# Folders


async def current(rules_store: RulesStore, *folders: Path) -> loading.LoadedRules:
    return await rules_store.current(folders)


async def test_without_files_there_are_no_rules(home: Path) -> None:
    assert await current(RulesStore(home), home / "rules", home / "nowhere") == loading.LoadedRules()


async def test_files_are_merged_by_folder_and_name(home: Path, rules: Path, tmp_path: Path) -> None:
    (rules / "b.rules").write_text('prefix_rule(["b"])')
    (rules / "a.rules").write_text('prefix_rule(["a"])')
    (rules / "c.txt").write_text("not a rule")
    (rules / "d.rules").mkdir()
    project = tmp_path / "project"
    project.mkdir()
    (project / "a.rules").write_text('prefix_rule(["p"])')
    loaded = await current(RulesStore(home), rules, project)
    assert loaded.rules.prefix_rules == (allow("a"), allow("b"), allow("p"))
    assert loaded.problems == ()


async def test_what_changed_is_read_again_and_nothing_else(
    home: Path, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def evaluating(path: Path, text: bytes) -> RuleSet:
        asked.append(path)
        return evaluate_rules(path, text)

    monkeypatch.setattr(store, "evaluate_rules", evaluating)
    one, two = rules / "1.rules", rules / "2.rules"
    one.write_text('prefix_rule(["a"])')
    two.write_text('prefix_rule(["b"])')
    rules_store = RulesStore(home)
    first = await current(rules_store, rules)
    assert await current(rules_store, rules) is first
    two.write_text('prefix_rule(["c"])')
    assert (await current(rules_store, rules)).rules.prefix_rules == (allow("a"), allow("c"))
    one.unlink()
    assert (await current(rules_store, rules)).rules.prefix_rules == (allow("c"),)
    assert asked == [one, two, two]


async def test_while_a_file_is_wrong_nothing_is_allowed_and_the_rest_still_forbids(home: Path, rules: Path) -> None:
    (rules / "good.rules").write_text(
        'prefix_rule(["ls"])\nprefix_rule(["rm"], "forbidden")\nnetwork_rule("h", "http", "allow")'
    )
    bad = rules / "zbad.rules"
    bad.write_text('prefix_rule(["ls"])\nprefix_rule(')
    rules_store = RulesStore(home)
    loaded = await current(rules_store, rules)
    assert loaded.rules == RuleSet((PrefixRule((("rm",),), "forbidden"),))
    [problem] = loaded.problems
    assert problem.path == bad
    assert problem.summary == (
        "Error parsing rules; the file is ignored, and no rule allows anything until it is corrected."
    )
    assert problem.details.startswith(f"failed to parse rules file {bad}: error: Parse error")
    assert problem.line == 2
    assert await current(rules_store, rules) is loaded
    bad.write_text("")
    assert (await current(rules_store, rules)).rules.evaluate(["ls"]).decision == "allow"


@pytest.mark.parametrize("kind", ["fifo", "long", "binary", "dangling"])
async def test_a_file_that_is_no_text_is_a_problem(home: Path, rules: Path, kind: str) -> None:
    path = rules / "x.rules"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "long":
            path.write_bytes(b"#" * (loading.MAX_BYTES + 1))
        case "binary":
            path.write_bytes(b"x = '\xff'")
        case _:
            path.symlink_to(rules / "nowhere")
    loaded = await current(RulesStore(home), rules)
    expected = {"fifo": "no regular file", "long": "longer than", "binary": "not UTF-8"}.get(kind)
    assert [expected in problem.details for problem in loaded.problems if expected] == ([True] if expected else [])


# Amendments


async def test_an_amendment_is_live_at_once_and_kept(home: Path) -> None:
    rules_store = RulesStore(home)
    await rules_store.append_prefix(["npm", "run"])
    folder = home / "rules"
    assert (folder / "default.rules").read_text() == 'prefix_rule(pattern=["npm", "run"], decision="allow")\n'
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "default.rules").stat().st_mode & 0o777 == 0o600
    for knower in (rules_store, RulesStore(home)):
        assert (await current(knower, folder)).rules.evaluate(["npm", "run", "x"]).decision == "allow"


async def test_a_rule_about_a_host_is_kept_once(home: Path) -> None:
    rules_store = RulesStore(home)
    await rules_store.append_network_rule("a.com", "https", "allow", "Allow https_connect access to a.com")
    await rules_store.append_network_rule("::1", "socks5_tcp", "deny", 'Deny "it"')
    await rules_store.append_network_rule("a.com", "https", "allow", "Allow https_connect access to a.com")
    folder = home / "rules"
    assert (folder / "default.rules").read_text() == (
        'network_rule(host="a.com", protocol="https", decision="allow", '
        'justification="Allow https_connect access to a.com")\n'
        'network_rule(host="::1", protocol="socks5_tcp", decision="deny", justification="Deny \\"it\\"")\n'
    )
    for knower in (rules_store, RulesStore(home)):
        assert (await current(knower, folder)).rules.network_rules == (
            NetworkRule("a.com", "https", "allow", "Allow https_connect access to a.com"),
            NetworkRule("::1", "socks5_tcp", "forbidden", 'Deny "it"'),
        )


@pytest.mark.parametrize("host", ["", "a b", "*.a.com", "http://a.com", "a\udcff"])
async def test_a_rule_about_what_is_no_host_is_refused(home: Path, host: str) -> None:
    with pytest.raises(RulesError):
        await RulesStore(home).append_network_rule(host, "http", "allow", "Because.")
    assert (await current(RulesStore(home), home / "rules")).rules == RuleSet()


async def test_two_daemons_see_each_others_amendments(home: Path) -> None:
    one, two = RulesStore(home), RulesStore(home)
    folder = home / "rules"
    for number in range(5):
        await one.append_prefix(["one", str(number)])
        await two.append_prefix(["two", str(number)])
        for knower in (one, two):
            found = (await current(knower, folder)).rules
            assert found.evaluate(["one", str(number)]).decision == "allow"
            assert found.evaluate(["two", str(number)]).decision == "allow"


async def test_the_same_amendment_is_written_once_and_a_missing_line_end_is_added(home: Path, rules: Path) -> None:
    file = rules / "default.rules"
    file.write_text('prefix_rule(["mine"])')
    rules_store = RulesStore(home)
    await rules_store.append_prefix(["a"])
    await rules_store.append_prefix(["a"])
    assert file.read_text() == 'prefix_rule(["mine"])\nprefix_rule(pattern=["a"], decision="allow")\n'


@pytest.mark.parametrize(
    "word", ['a "b"', "it's", "\\n", "\n\t\r", "$x `y`", "é😀", "{x} %s", "\x01\x7f", "\u2028", ""]
)
async def test_any_words_are_kept_as_they_are(home: Path, word: str) -> None:
    await RulesStore(home).append_prefix(["x", word])
    assert (await current(RulesStore(home), home / "rules")).rules.prefix_rules == (allow("x", word),)


@pytest.mark.parametrize("prefix", [[], ["a\0"], ["a\udcff"]])
async def test_words_that_no_rule_can_hold_are_refused(home: Path, prefix: list[str]) -> None:
    with pytest.raises(RulesError):
        await RulesStore(home).append_prefix(prefix)
    assert not (home / "rules" / "default.rules").exists()


async def test_a_wrong_file_is_not_added_to(home: Path, rules: Path) -> None:
    file = rules / "default.rules"
    file.write_text("x = (")
    with pytest.raises(RulesError, match=r"default.rules has to be corrected first: "):
        await RulesStore(home).append_prefix(["a"])
    assert file.read_text() == "x = ("


async def test_a_home_that_cannot_be_written_is_told(home: Path) -> None:
    await anyio.Path(home).touch()
    with pytest.raises(RulesError, match="cannot be written"):
        await RulesStore(home).append_prefix(["a"])


async def test_what_is_no_file_is_not_added_to(home: Path, rules: Path) -> None:
    os.mkfifo(rules / "default.rules")
    with pytest.raises(RulesError, match="is no regular file"):
        await RulesStore(home).append_prefix(["a"])


async def test_an_amendment_waits_for_who_holds_the_file(
    home: Path, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = rules / "default.rules"
    holder = os.open(file, os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        monkeypatch.setattr(store, "LOCK_SECONDS", 0)
        with pytest.raises(RulesError, match="in use by another program"):
            await RulesStore(home).append_prefix(["a"])
        monkeypatch.setattr(store, "LOCK_SECONDS", 60)
        waited = anyio.Event()

        def sleep(_seconds: float) -> None:
            anyio.from_thread.run_sync(waited.set)

        monkeypatch.setattr("app_server.execpolicy.store.time.sleep", sleep)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(RulesStore(home).append_prefix, ["a"])
            await waited.wait()
            os.unlink(file)
            fcntl.flock(holder, fcntl.LOCK_UN)
    finally:
        os.close(holder)
    assert file.read_text() == 'prefix_rule(pattern=["a"], decision="allow")\n'


APPENDER = """
import anyio, sys
from pathlib import Path
from app_server.execpolicy.store import RulesStore

async def main():
    rules = RulesStore(Path(sys.argv[1]))
    for number in range(int(sys.argv[3])):
        await rules.append_prefix([sys.argv[2], str(number)])
        print(number, flush=True)

anyio.run(main)
"""


def _appender(home: Path, name: str, count: int, stdout: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", APPENDER, str(home), name, str(count)], stdout=stdout)


async def test_amendments_of_several_processes_do_not_mix(home: Path) -> None:
    others = [_appender(home, name, 8, subprocess.DEVNULL) for name in ("a", "b", "c")]
    for other in others:
        assert await anyio.to_thread.run_sync(other.wait) == 0
    found = (await current(RulesStore(home), home / "rules")).rules.prefix_rules
    assert set(found) == {allow(name, str(number)) for name in "abc" for number in range(8)}
    assert len(found) == 24


async def test_a_killed_writer_leaves_whole_lines(home: Path) -> None:
    with _appender(home, "a", 1000, subprocess.PIPE) as other:
        assert other.stdout is not None
        for _ in range(5):
            await anyio.to_thread.run_sync(other.stdout.readline)
        other.kill()
    loaded = await current(RulesStore(home), home / "rules")
    assert loaded.problems == ()
    assert len(loaded.rules.prefix_rules) >= 5
    await RulesStore(home).append_prefix(["after"])
    assert (await current(RulesStore(home), home / "rules")).rules.evaluate(["after"]).decision == "allow"
