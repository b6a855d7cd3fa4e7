"""What the command line means."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from app_server import cli, confine
from app_server.confine import ConfineOptions
from app_server.transport.listen import (
    AuthOptions,
    Off,
    ServerOptions,
    StartError,
    Stdio,
    UnixSocket,
    UsageError,
    WebSocket,
)


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave this process's log alone."""
    monkeypatch.setattr("app_server.telemetry.log.configure", lambda: None)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[ServerOptions]:
    """The options of each server that would have been run."""
    options: list[ServerOptions] = []
    app = ModuleType("app_server.app")

    def run(given: ServerOptions) -> int:
        options.append(given)
        return 0

    app.run = run  # type: ignore[attr-defined]  # a stand-in for the module
    monkeypatch.setitem(sys.modules, "app_server.app", app)
    return options


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("app-server", ServerOptions()),
        ("app-server --listen stdio://", ServerOptions()),
        ("app-server --stdio", ServerOptions()),
        ("app-server --analytics-default-enabled", ServerOptions()),
        ("app-server --listen off", ServerOptions(Off())),
        ("app-server --listen=unix://", ServerOptions(UnixSocket())),
        ("app-server --listen ws://127.0.0.1:0", ServerOptions(WebSocket("127.0.0.1", 0))),
        # As the Python SDKs call it.
        ("--config a=1 --config b=2 app-server --listen stdio://", ServerOptions(overrides=("a=1", "b=2"))),
        (
            "app-server --enable guardian_approval -c web_search=live",
            ServerOptions(overrides=("web_search=live",), enable=("guardian_approval",)),
        ),
        (
            "-c a=1 --enable x --disable y app-server -c a=2 --enable z --disable w",
            ServerOptions(Stdio(), ("a=1", "a=2"), ("x", "z"), ("y", "w")),
        ),
        ('app-server -c a.b="x=y"', ServerOptions(overrides=('a.b="x=y"',))),
        ("app-server -ca=1", ServerOptions(overrides=("a=1",))),
        (
            "app-server --listen ws://0.0.0.0:1 --ws-auth capability-token --ws-token-file /t",
            ServerOptions(WebSocket("0.0.0.0", 1), auth=AuthOptions("capability-token", Path("/t"))),
        ),
        (
            "app-server --listen ws://127.0.0.1:1 --ws-auth signed-bearer-token --ws-shared-secret-file /s "
            "--ws-issuer i --ws-audience a --ws-max-clock-skew-seconds 5",
            ServerOptions(
                WebSocket("127.0.0.1", 1), auth=AuthOptions("signed-bearer-token", None, None, Path("/s"), "i", "a", 5)
            ),
        ),
    ],
)
def test_a_server_is_started_as_asked(arguments: str, meant: ServerOptions, started: list[ServerOptions]) -> None:
    assert cli.main(arguments.split()) == 0
    assert started == [meant]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("", "a command is needed"),
        ("serve", "invalid choice"),
        ("app-server --listen http://x", "unsupported --listen URL `http://x`; expected `stdio://`"),
        ("app-server --listen ws://0.0.0.0:1", "--ws-auth capability-token --ws-token-file"),
        ("app-server --listen off --stdio", "mutually exclusive"),
        ("app-server --ws-token-file x", "require `--ws-auth"),
        ("app-server --ws-auth password", "invalid choice"),
        ("app-server -c nonsense", "expected key=value"),
        ("app-server -c =1", "expected key=value"),
        ("app-server --lis=off", "unrecognized arguments"),
        ("generate-ts", "--out"),
    ],
)
def test_wrong_usage_is_told_on_stderr_with_status_2(
    arguments: str, complaint: str, started: list[ServerOptions], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _status(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert (out, started) == ("", [])
    assert complaint in err


def _status(arguments: Sequence[str]) -> int:
    try:
        return cli.main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


def test_a_server_that_cannot_start_says_why_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = ModuleType("app_server.app")

    def run(given: ServerOptions) -> int:
        raise StartError("the address is taken")

    app.run = run  # type: ignore[attr-defined]  # a stand-in for the module
    monkeypatch.setitem(sys.modules, "app_server.app", app)
    assert cli.main(["app-server"]) == 1
    assert capsys.readouterr().err == "turnloom: error: the address is taken\n"


@pytest.mark.parametrize(
    ("words", "options", "command"),
    [
        ("ls -la", [], ["ls", "-la"]),
        ("-P :workspace ls -P x", ["-P", ":workspace"], ["ls", "-P", "x"]),
        ("linux -C dir -- -odd", ["-C", "dir"], ["-odd"]),
        ("-C dir linux make", ["-C", "dir"], ["make"]),
        ("linux linux", [], ["linux"]),
        ("-- macos", [], ["macos"]),
        ("-c a=1 --config=b=2 --log-denials x", ["-c", "a=1", "--config=b=2", "--log-denials"], ["x"]),
        ("-P", ["-P"], []),
        ("", [], []),
    ],
)
def test_the_command_to_confine_begins_at_the_first_word_that_is_no_option(
    words: str, options: list[str], command: list[str]
) -> None:
    assert confine.split(words.split(), "linux") == (options, command)


@pytest.mark.parametrize(
    ("word", "platform", "here"),
    [
        ("macos", "linux", "linux"),
        ("linux", "darwin", "macos"),
        ("windows", "linux", "linux"),
        ("linux", "win32", "windows"),
    ],
)
def test_the_word_for_another_platform_is_refused(word: str, platform: str, here: str) -> None:
    with pytest.raises(UsageError, match=rf"`sandbox {word}` works on {word} only, and this is {here}"):
        confine.split([word, "ls"], platform)
    assert confine.split([here, "ls"], platform) == ([], ["ls"])


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["sandbox", "ls", "-l"], ConfineOptions(["ls", "-l"])),
        (
            [
                "-c",
                "a=1",
                "--enable",
                "x",
                "sandbox",
                "-c",
                "b=2",
                "-P",
                "mine",
                "-C",
                "d",
                "--log-denials",
                "--",
                "-x",
            ],
            ConfineOptions(["-x"], "mine", "d", ("a=1", "b=2"), ("x",), (), log_denials=True),
        ),
        (["sandbox", "--include-managed-config", "sandbox", "doctor"], ConfineOptions(["sandbox", "doctor"])),
    ],
)
def test_sandbox_passes_on_what_it_was_asked_for(
    arguments: list[str], meant: ConfineOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[ConfineOptions] = []

    def run(options: ConfineOptions) -> int:
        given.append(options)
        return 42

    monkeypatch.setattr(confine, "run", run)
    assert cli.main(arguments) == 42
    assert given == [meant]


def test_a_log_of_denials_is_refused_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert _status(["sandbox", "--log-denials", "ls"]) == 2
    assert "works on macOS only" in capsys.readouterr().err


def test_the_log_of_denials_is_asked_of_the_system_from_the_start_of_the_command() -> None:
    words = confine.denial_log(0)
    assert words[:5] == ["/usr/bin/log", "show", "--style", "compact", "--start"]
    assert words[5][:3] in ("197", "196")
    assert 'eventMessage CONTAINS "deny("' in words[-1]


@pytest.mark.parametrize(
    "arguments", ["--help", "app-server --help", "app-server generate-ts --help", "sandbox --help"]
)
def test_help_teaches(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(arguments.split()) == 0
    out = capsys.readouterr().out
    assert "usage: turnloom" in out
    assert "examples:" in out or "--out" in out


def test_the_version_names_what_it_is_compatible_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("turnloom 0.")


@pytest.mark.parametrize("before", [[], ["app-server"]])
@pytest.mark.parametrize("experimental", [False, True])
@pytest.mark.parametrize(
    ("command", "writer"), [("generate-json-schema", "write_json_schema"), ("generate-ts", "write_typescript")]
)
def test_the_generators_write_where_they_are_told(
    before: list[str], experimental: bool, command: str, writer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrote: list[tuple[Path, bool]] = []

    def write(directory: Path, *, experimental: bool) -> None:
        wrote.append((directory, experimental))

    monkeypatch.setattr(f"protocol.export.{writer}", write)
    arguments = [*before, command, *(["--experimental"] if experimental else []), "--out", "some/where"]
    assert cli.main(arguments) == 0
    assert wrote == [(Path("some/where"), experimental)]
