"""`turnloom sandbox`: a command of the user's own, confined as the agent's commands are."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from msgspec import Struct

from app_server.config.layers import ConfigError, load_settings
from app_server.config.permission_profiles import ProfileError
from app_server.config.settings import Settings
from app_server.exec import proctree
from app_server.exec.spawn import SpawnError, check_program
from app_server.sandbox.permissions import PermissionProfile, Secrets
from app_server.sandbox.profiles import default_profile, profile_named, with_managed_network
from app_server.sandbox.sandbox import (
    ENDED_BY_SIGNAL,
    TRIES,
    SandboxedCommand,
    SandboxUnavailable,
    choose_sandbox,
    has_begun,
)
from app_server.transport.listen import StartError, UsageError

if TYPE_CHECKING:
    from app_server.network.egress import Egress
    from app_server.network.policy import Attempt, Judgement

EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127

PLATFORMS = {"linux": "linux", "macos": "darwin", "windows": "win32"}
"""The words that may name a platform, and what Python calls it."""

CLOSE_S = 5.0
"""How long ending the connections of the command may take."""

STARTED_AGAIN = "it is started again"

LEARNED = "learn mode let this command reach hosts that no rule allows; rules that would allow them:"

OPTIONS_WITH_VALUE = ("-c", "--config", "--enable", "--disable", "-P", "--permission-profile", "-C", "--cd")


class ConfineOptions(Struct, frozen=True):
    """What `turnloom sandbox` was asked for. `profile` is a name, None for what the configuration says."""

    command: Sequence[str]
    profile: str | None = None
    directory: str | None = None
    overrides: Sequence[str] = ()
    enable: Sequence[str] = ()
    disable: Sequence[str] = ()
    log_denials: bool = False


def run(options: ConfineOptions) -> int:
    """Run the command to its end; its exit code, or 128 and the number of the signal that ended it.

    Raises StartError where it cannot be started or confined.
    """
    if options.log_denials and sys.platform != "darwin":
        raise UsageError("--log-denials works on macOS only; elsewhere the system keeps no such log")
    if not options.command or not options.command[0]:
        raise StartError("sandbox command must not be empty")
    cwd = _directory(options.directory)
    home = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
    settings, profile = _profile(options, home, cwd)
    began = time.time()
    try:
        return anyio.run(partial(_confine, options, cwd, home, settings, profile))
    finally:
        if options.log_denials:
            subprocess.run(denial_log(began), check=False)


def split(words: Sequence[str], platform: str = sys.platform) -> tuple[list[str], list[str]]:
    """What follows `sandbox`: its options, and the command, which begins at the first word that is none or after `--`.

    A word that names this platform may come first and is dropped. Raises UsageError for another platform.
    """
    options: list[str] = []
    rest = list(words)
    named = False
    while rest and rest[0] != "--":
        if rest[0] in OPTIONS_WITH_VALUE:
            options += rest[:2]
            del rest[:2]
        elif rest[0].startswith("-"):
            options.append(rest.pop(0))
        elif rest[0] in PLATFORMS and not named:
            _check_platform(rest.pop(0), platform)
            named = True
        else:
            return options, rest
    return options, rest[1:]


def _check_platform(word: str, platform: str) -> None:
    if not platform.startswith(PLATFORMS[word]):
        here = next((name for name, start in PLATFORMS.items() if platform.startswith(start)), platform)
        raise UsageError(
            f"`sandbox {word}` works on {word} only, and this is {here}; leave the word out "
            "(to run a program of that name, put `--` before it)"
        )


def denial_log(began: float) -> list[str]:
    """The command that shows what macOS has denied to sandboxes since `began` (seconds since 1970)."""
    start = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(began))
    predicate = 'process == "kernel" AND eventMessage CONTAINS "Sandbox:" AND eventMessage CONTAINS "deny("'
    return ["/usr/bin/log", "show", "--style", "compact", "--start", start, "--predicate", predicate]


def _directory(given: str | None) -> str:
    path = os.path.abspath(given or os.getcwd())
    if not os.path.isdir(path):
        raise StartError(f"-C {given}: there is no such directory")
    return path


def _profile(options: ConfineOptions, home: Path, cwd: str) -> tuple[Settings, PermissionProfile]:
    try:
        stack = load_settings(home, options.overrides, options.enable, options.disable)
        settings = stack.with_thread_config()
        if options.profile is not None:
            profile = profile_named(options.profile, settings, [cwd])
        else:
            profile = default_profile(settings, [cwd])
        return settings, with_managed_network(profile, settings)
    except (ConfigError, ProfileError) as error:
        raise StartError(str(error)) from error


async def _confine(
    options: ConfineOptions, cwd: str, home: Path, settings: Settings, profile: PermissionProfile
) -> int:
    """Run the command, with a proxy of its own where the profile wants one."""
    if profile.proxy is None:
        return await _run(options, cwd, home, profile, dict(os.environ), None)
    async with _egress(cwd, settings, profile) as egress:
        return await _run(options, cwd, home, profile, await egress.environment(os.environ), egress)


@asynccontextmanager
async def _egress(cwd: str, settings: Settings, profile: PermissionProfile) -> "AsyncGenerator[Egress]":
    """The command's way out, for as long as it runs."""
    from app_server.execpolicy.folders import rules_folders
    from app_server.execpolicy.store import RulesStore
    from app_server.network.decisions import NetworkDecisions
    from app_server.network.egress import Execution
    from app_server.network.policy import NetworkPolicy
    from app_server.network.proxy import NetworkProxy, NetworkUnavailable

    assert profile.proxy is not None
    home = settings.codex_home
    loaded = await RulesStore(home).current(rules_folders(settings, cwd, profile.writable_roots))
    for problem in loaded.problems:
        _tell(f"warning: {problem.summary}")
    policy = NetworkPolicy(profile.proxy, loaded.rules.host_actions())
    execution = Execution(f"sandbox-{os.getpid()}")
    decisions = NetworkDecisions()
    try:
        async with NetworkProxy(decisions, home / "proxy") as proxy:
            egress = await proxy.open(execution, lambda: policy, _Nobody())
            try:
                yield egress
            finally:
                with anyio.move_on_after(CLOSE_S, shield=True):
                    await egress.close()
    except NetworkUnavailable as error:
        raise StartError(str(error)) from error
    if learned := decisions.suggested_rules(execution.id):
        _tell("\n".join((LEARNED, *learned)))


class _Nobody:
    """The gate of a command whose user is not asked: what the rules are silent about is refused, and told once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    async def decide(self, attempt: "Attempt") -> "Judgement":
        from app_server.network.decisions import rule_line
        from app_server.network.policy import Judgement

        judgement = Judgement("deny", "decider", "not_allowed")
        self._tell(attempt, judgement, f" To allow it, put this into a rules file: {rule_line(attempt)}")
        return judgement

    def denied(self, attempt: "Attempt", judgement: "Judgement") -> None:
        self._tell(attempt, judgement, "")

    def abandoned(self, attempt: "Attempt", waited_ms: int) -> None:
        pass

    async def before_refusal(self) -> None:
        pass

    def _tell(self, attempt: "Attempt", judgement: "Judgement", remedy: str) -> None:
        from app_server.network.policy import blocked

        text = blocked(attempt.host, judgement.reason) + remedy
        if text not in self._told:
            self._told.add(text)
            _tell(text)


async def _run(
    options: ConfineOptions,
    cwd: str,
    home: Path,
    profile: PermissionProfile,
    env: Mapping[str, str],
    egress: "Egress | None",
) -> int:
    folder = home / "turnloom"
    sandbox = choose_sandbox(folder / "sandbox-roots" if folder.is_dir() else None, Secrets(home))
    port = None if egress is None else egress.port
    tries = 0
    try:
        while True:
            try:
                wrapped = await sandbox.wrap(options.command, cwd=cwd, env=env, profile=profile, proxy_port=port)
            except SandboxUnavailable as error:
                raise StartError(str(error)) from error
            code, began = await _run_to_end(wrapped, cwd, egress)
            tries += 1
            if began or tries == TRIES or code > ENDED_BY_SIGNAL:
                return code
            # What has failed said so itself: folders were made, moved or deleted while the sandbox was built.
            _tell(STARTED_AGAIN)
    except FileNotFoundError:
        return _not_started(options.command[0], "no such program was found", EXIT_NOT_FOUND)
    except OSError as error:
        return _not_started(options.command[0], f"it cannot be executed: {error.strerror}", EXIT_NOT_EXECUTABLE)
    except SpawnError as error:
        not_found = "(os error 2)" in str(error)
        return _not_started(options.command[0], str(error), EXIT_NOT_FOUND if not_found else EXIT_NOT_EXECUTABLE)


async def _run_to_end(command: SandboxedCommand, cwd: str, egress: "Egress | None") -> tuple[int, bool]:
    """The exit code, and whether the command itself began. Closes what it was given. Raises OSError, and SpawnError."""
    with ExitStack() as stack:
        stack.callback(command.cleanup or (lambda: None))
        if command.bridge is not None:
            stack.enter_context(command.bridge)
        begun = None if command.begun is None else os.dup(command.begun)
        if begun is not None:
            stack.callback(os.close, begun)
        # What is typed in the terminal has reached the command by itself; a request to end is passed on to it.
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP) as signals:
            process = _start(command, cwd)
            if egress is not None and command.bridge is not None:
                egress.serve(command.bridge.dup())
            async with anyio.create_task_group() as group:
                group.start_soon(_pass_on, signals, process, command.supervised)
                await anyio.to_thread.run_sync(process.wait)
                group.cancel_scope.cancel()
        code = process.returncode
        return code if code >= 0 else ENDED_BY_SIGNAL - code, begun is None or has_begun(begun)


def _start(command: SandboxedCommand, cwd: str) -> "subprocess.Popen[bytes]":
    """Start it from this thread, with whose end the sandbox would end. Raises OSError, and SpawnError."""
    try:
        if command.program is not None:
            check_program(command.program, command.env, cwd)
        return subprocess.Popen(list(command.argv), env=dict(command.env), cwd=cwd, pass_fds=command.pass_fds)
    finally:
        for fd in command.pass_fds:
            os.close(fd)


async def _pass_on(
    signals: AsyncIterator[signal.Signals], process: "subprocess.Popen[bytes]", supervised: bool
) -> None:
    async for number in signals:
        if number not in (signal.SIGTERM, signal.SIGHUP):
            continue
        children = await anyio.to_thread.run_sync(proctree.children, process.pid) if supervised else []
        if not children:
            process.send_signal(number)
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _tell(text: str) -> None:
    print(f"turnloom: {text}", file=sys.stderr)  # noqa: T201  # the terminal is ours here


def _not_started(program: str, reason: str, code: int) -> int:
    print(f"turnloom: error: {program}: {reason}", file=sys.stderr)  # noqa: T201  # the terminal is ours here
    return code
