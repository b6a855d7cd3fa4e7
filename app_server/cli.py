"""The command line: `turnloom app-server`, the generators of schema and types, and what helps users around it."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from app_server.transport.listen import ServerOptions

_DESCRIPTION = "A Codex-compatible app-server: threads, turns and sandboxed commands over JSON-RPC."

_EXAMPLES = """\
examples:
  turnloom app-server                                     one client on stdin and stdout, as editors start it
  turnloom app-server --listen ws://127.0.0.1:8765        many clients; then: codex --remote ws://127.0.0.1:8765
  turnloom app-server --listen unix://                    many clients on $CODEX_HOME/turnloom/app-server.sock
  turnloom app-server -c model_provider='"demo"'          the built-in offline model, without an account
  turnloom app-server generate-ts --out types/            TypeScript types of the protocol
  turnloom sandbox -P :workspace make test                a command of your own in the agent's sandbox
  turnloom doctor                                         what works here, and what is missing
"""

_SERVER_EXAMPLES = """\
examples:
  turnloom app-server -c model='"gpt-oss:20b"' -c model_provider='"ollama"'
  turnloom app-server --listen ws://127.0.0.1:0           a free port, told on stderr
  turnloom app-server --listen ws://0.0.0.0:8765 --ws-auth capability-token --ws-token-file ~/.turnloom-token

environment:
  CODEX_HOME    configuration and state (default: ~/.codex)
  LOG_LEVEL     error, warning (default), info or debug
  LOG_FORMAT    json for one JSON object a line on stderr
"""


_SANDBOX_EXAMPLES = """\
Without options the command reads everything, writes nothing and has no network; sandbox_mode and default_permissions
of config.toml apply. Its exit code is passed on: 128 and the number for a signal, 126 and 127 as in a shell.

examples:
  turnloom sandbox ls -la                                 read-only
  turnloom sandbox -P :workspace make test                writes in this folder and in /tmp
  turnloom sandbox -P :workspace -C ~/project -- ./build  the same in another folder
  turnloom sandbox -c sandbox_mode=workspace-write -c sandbox_workspace_write.network_access=true npm install
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and give its exit status: 2 for wrong usage, 1 if it could not start."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    from app_server.telemetry.log import configure
    from app_server.transport.listen import ServerOptions, StartError, UsageError

    _open_standard_descriptors()
    configure()
    try:
        # How editors start it. They wait for it, and argparse takes a tenth of the time.
        if arguments in (["app-server"], ["app-server", "--listen", "stdio://"]):
            return _serve(ServerOptions())
        return _parse(arguments)
    except StartError as error:
        print(f"turnloom: error: {error}", file=sys.stderr)  # noqa: T201  # the terminal is this module's job
        return 2 if isinstance(error, UsageError) else 1


def _open_standard_descriptors() -> None:
    """Where the caller closed descriptor 0, 1 or 2, put /dev/null, or the next file that is opened takes its place."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _serve(options: "ServerOptions") -> int:
    from app_server.app import run

    return run(options)


def _parse(arguments: list[str]) -> int:
    parser = _parser()
    at = _position_of_subcommand(arguments)
    confined: list[str] = []
    if arguments[at : at + 1] == ["sandbox"]:
        # What belongs to the command is not argparse's business.
        from app_server.confine import split

        options, confined = split(arguments[at + 1 :])
        arguments = [*arguments[: at + 1], *options]
    given = parser.parse_args(arguments)
    if given.version:
        _tell_version()
        return 0
    command: str | None = given.command
    if command is None:
        parser.error(
            "a command is needed: app-server, sandbox, doctor, execpolicy, generate-json-schema or generate-ts"
        )
    if command == "sandbox":
        return _confine(given, confined)
    if command == "doctor":
        from app_server.doctor import run as diagnose

        overrides = _overrides((*given.global_config, *given.doctor_config))
        return diagnose(overrides, as_json=given.json, profile=given.doctor_profile or given.global_profile)
    if command == "execpolicy":
        from app_server.execpolicy.check import run as check_rules

        return check_rules(given)
    if command == "app-server" and given.server_command is None:
        return _serve(_options(given))
    return _generate(given, command if command != "app-server" else given.server_command)


def _position_of_subcommand(arguments: list[str]) -> int:
    """Where the first word is that is neither an option nor the value of one."""
    skipped = False
    for position, word in enumerate(arguments):
        if skipped:
            skipped = False
        elif word in ("-c", "--config", "--enable", "--disable", "-p", "--profile"):
            skipped = True
        elif not word.startswith("-"):
            return position
    return len(arguments)


def _confine(given: "Namespace", command: list[str]) -> int:
    from app_server.confine import ConfineOptions, run

    return run(
        ConfineOptions(
            command,
            profile=given.permission_profile,
            directory=given.cd,
            overrides=_overrides((*given.global_config, *given.sandbox_config)),
            enable=(*given.global_enable, *given.sandbox_enable),
            disable=(*given.global_disable, *given.sandbox_disable),
            log_denials=given.log_denials,
        )
    )


def _tell_version() -> None:
    from app_server.version import PROTOCOL_VERSION, TURNLOOM_VERSION

    about = f"turnloom {TURNLOOM_VERSION} (compatible with codex app-server {PROTOCOL_VERSION})"
    print(about)  # noqa: T201  # asked for


def _options(given: "Namespace") -> "ServerOptions":
    from app_server.transport.auth import check_auth_flags
    from app_server.transport.listen import AuthOptions, ServerOptions, Stdio, UsageError, parse_listen

    if given.stdio and given.listen is not None:
        raise UsageError("`--stdio` and `--listen` are mutually exclusive")
    listen = Stdio() if given.listen is None else parse_listen(given.listen)
    auth = AuthOptions(
        mode=given.ws_auth,
        token_file=given.ws_token_file,
        token_sha256=given.ws_token_sha256,
        token_scope=given.ws_token_scope,
        shared_secret_file=given.ws_shared_secret_file,
        issuer=given.ws_issuer,
        audience=given.ws_audience,
        max_clock_skew_seconds=given.ws_max_clock_skew_seconds,
    )
    check_auth_flags(listen, auth)
    return ServerOptions(
        listen,
        _overrides((*given.global_config, *given.server_config)),
        enable=(*given.global_enable, *given.server_enable),
        disable=(*given.global_disable, *given.server_disable),
        auth=auth,
        profile=given.server_profile or given.global_profile,
        strict_config=given.server_strict_config or given.global_strict_config,
    )


def _overrides(given: Sequence[str]) -> tuple[str, ...]:
    """The values of `-c`. Raises UsageError for one that is not key=value."""
    from app_server.transport.listen import UsageError

    for override in given:
        key, equals, _ = override.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"`-c {override}`: expected key=value, for example -c model='\"gpt-oss\"'")
    return tuple(given)


def _generate(given: "Namespace", command: str) -> int:
    from protocol.export import write_json_schema, write_typescript

    write = write_json_schema if command == "generate-json-schema" else write_typescript
    write(given.out, experimental=given.experimental)
    return 0


def _parser() -> "ArgumentParser":
    from argparse import ArgumentParser, RawDescriptionHelpFormatter

    def subparser(parent: Any, name: str, text: str, **more: Any) -> ArgumentParser:
        return parent.add_parser(
            name,
            help=text,
            description=text,
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **more,
        )

    parser = ArgumentParser(
        "turnloom",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", "-V", action="store_true", help="tell the version and exit")
    _add_config_options(parser, "global")
    _add_layer_options(parser, "global")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    server = subparser(commands, "app-server", "serve clients", epilog=_SERVER_EXAMPLES)
    _add_config_options(server, "server")
    _add_layer_options(server, "server")
    _add_server_options(server)
    server_commands = server.add_subparsers(dest="server_command", metavar="COMMAND")
    for parent in (commands, server_commands):
        _add_generate_options(
            subparser(parent, "generate-json-schema", "write the protocol as JSON Schema files"), "JSON Schema"
        )
        _add_generate_options(subparser(parent, "generate-ts", "write the protocol as TypeScript types"), "TypeScript")
    _add_sandbox_options(
        subparser(
            commands,
            "sandbox",
            "run a command of your own, confined as the agent's commands are",
            usage="turnloom sandbox [linux|macos|windows] [OPTIONS] [--] COMMAND...",
            epilog=_SANDBOX_EXAMPLES,
        )
    )
    doctor = subparser(commands, "doctor", "tell what works on this machine, and what is missing")
    _add_config_options(doctor, "doctor")
    _add_layer_options(doctor, "doctor")
    doctor.add_argument("--json", action="store_true", help="for programs, with nothing secret in it")
    rules = subparser(commands, "execpolicy", "work with exec rules").add_subparsers(metavar="COMMAND", required=True)
    _add_check_options(subparser(rules, "check", "tell what rules files say of a command"))
    return parser


def _add_config_options(parser: "ArgumentParser", place: str) -> None:
    """`place` keeps what stands before the subcommand apart from what stands after it: argparse would forget it."""
    for names, metavar, text in (
        (("-c", "--config"), "KEY=VALUE", "override a value of config.toml; VALUE is TOML, or else a plain string"),
        (("--enable",), "FEATURE", "turn a feature on"),
        (("--disable",), "FEATURE", "turn a feature off"),
    ):
        destination = f"{place}_{names[-1].removeprefix('--')}"
        parser.add_argument(
            *names, action="append", default=[], dest=destination, metavar=metavar, help=f"{text} (repeatable)"
        )


def _add_layer_options(parser: "ArgumentParser", place: str) -> None:
    parser.add_argument(
        "-p",
        "--profile",
        dest=f"{place}_profile",
        metavar="NAME",
        help="settings of $CODEX_HOME/NAME.config.toml go before those of config.toml",
    )
    parser.add_argument(
        "--strict-config",
        action="store_true",
        dest=f"{place}_strict_config",
        help="do not start on settings that are not known, or whose values are wrong",
    )


def _add_server_options(parser: "ArgumentParser") -> None:
    from argparse import SUPPRESS
    from pathlib import Path

    parser.add_argument(
        "--listen", metavar="URL", help="stdio:// (default), unix://, unix://PATH, ws://IP:PORT, or off"
    )
    parser.add_argument("--stdio", action="store_true", help="the same as --listen stdio://")
    # Editors of the reference pass it; there is nothing to switch here.
    parser.add_argument("--analytics-default-enabled", action="store_true", help=SUPPRESS)
    auth = parser.add_argument_group("who may connect to a websocket (needed unless it listens on this machine only)")
    auth.add_argument("--ws-auth", choices=("capability-token", "signed-bearer-token"), help="how clients prove it")
    auth.add_argument("--ws-token-file", type=Path, metavar="FILE", help="holds the token")
    auth.add_argument("--ws-token-sha256", metavar="HEX", help="the token's SHA-256 digest")
    auth.add_argument(
        "--ws-token-scope",
        choices=("full", "no-shell", "observe"),
        help="what the token allows: everything (default), no commands, files or loose policies, or only to look on",
    )
    auth.add_argument(
        "--ws-shared-secret-file", type=Path, metavar="FILE", help="holds the key of signed tokens (HS256)"
    )
    auth.add_argument("--ws-issuer", metavar="TEXT", help="`iss` that a signed token must have")
    auth.add_argument("--ws-audience", metavar="TEXT", help="`aud` that a signed token must have")
    auth.add_argument(
        "--ws-max-clock-skew-seconds", type=int, metavar="N", help="how far clocks may differ (default: 30)"
    )


def _add_check_options(parser: "ArgumentParser") -> None:
    from argparse import REMAINDER
    from pathlib import Path

    parser.add_argument(
        "-r", "--rules", action="append", type=Path, required=True, metavar="FILE", help="a rules file (repeatable)"
    )
    parser.add_argument("--pretty", action="store_true", help="print the answer over several lines")
    parser.add_argument(
        "--resolve-host-executables",
        action="store_true",
        help="let rules about a program's bare name hold for its path too, as they do for commands of the agent",
    )
    parser.add_argument("checked", nargs=REMAINDER, metavar="COMMAND", help="the command, word by word")


def _add_sandbox_options(parser: "ArgumentParser") -> None:
    _add_config_options(parser, "sandbox")
    parser.add_argument(
        "-P",
        "--permission-profile",
        metavar="NAME",
        help=":read-only, :workspace, :danger-full-access, or one of [permissions.NAME] in config.toml",
    )
    parser.add_argument("-C", "--cd", metavar="DIR", help="where the command runs, and what :workspace opens")
    parser.add_argument(
        "--log-denials", action="store_true", help="macOS only: tell at the end what the system denied meanwhile"
    )
    parser.add_argument(
        "--include-managed-config",
        action="store_true",
        help="for scripts made for the reference; the system's configuration always applies here",
    )


def _add_generate_options(parser: "ArgumentParser", what: str) -> None:
    from pathlib import Path

    parser.add_argument("--out", "-o", type=Path, required=True, metavar="DIR", help=f"where the {what} goes")
    parser.add_argument("--experimental", action="store_true", help="with the experimental methods and fields")
