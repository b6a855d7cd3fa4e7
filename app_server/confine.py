"""`turnloom sandbox`: a command of the user's own, confined as the agent's commands are."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from app_server.config.layers import ConfigError, load_settings
from app_server.config.permission_profiles import ProfileError
from app_server.exec.spawn import SpawnError, check_program
from app_server.sandbox.permissions import PermissionProfile, Secrets
from app_server.sandbox.profiles import default_profile, profile_named
from app_server.sandbox.sandbox import SandboxedCommand, SandboxUnavailable, choose_sandbox
from app_server.transport.listen import StartError, UsageError

EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127

PLATFORMS = {"linux": "linux", "macos": "darwin", "windows": "win32"}
"""The words that may name a platform, and what Python calls it."""


OPTIONS_WITH_VALUE = ("-c", "--config", "--enable", "--disable", "-P", "--permission-profile", "-C", "--cd")


@dataclass(frozen=True, slots=True)
class ConfineOptions:
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
    wrapped = _wrap(options.command, cwd, _profile(options, home, cwd), home)
    began = time.time()
    try:
        if wrapped.program is not None:
            check_program(wrapped.program, wrapped.env, cwd)
        return _run(wrapped, cwd)
    except FileNotFoundError:
        return _not_started(options.command[0], "no such program was found", EXIT_NOT_FOUND)
    except OSError as error:
        return _not_started(options.command[0], f"it cannot be executed: {error.strerror}", EXIT_NOT_EXECUTABLE)
    except SpawnError as error:
        code = EXIT_NOT_FOUND if "(os error 2)" in str(error) else EXIT_NOT_EXECUTABLE
        return _not_started(options.command[0], str(error), code)
    finally:
        for fd in wrapped.pass_fds:
            os.close(fd)
        if wrapped.cleanup is not None:
            wrapped.cleanup()
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


def _profile(options: ConfineOptions, home: Path, cwd: str) -> PermissionProfile:
    try:
        stack = load_settings(home, options.overrides, options.enable, options.disable)
        settings = stack.with_thread_config()
        if options.profile is not None:
            return profile_named(options.profile, settings, [cwd])
        return default_profile(settings, [cwd])
    except (ConfigError, ProfileError) as error:
        raise StartError(str(error)) from error


def _wrap(command: Sequence[str], cwd: str, profile: PermissionProfile, home: Path) -> SandboxedCommand:
    folder = home / "turnloom"
    sandbox = choose_sandbox(folder / "sandbox-roots" if folder.is_dir() else None, Secrets(home))
    try:
        return anyio.run(partial(sandbox.wrap, command, cwd=cwd, env=dict(os.environ), profile=profile))
    except SandboxUnavailable as error:
        raise StartError(str(error)) from error


def _run(command: SandboxedCommand, cwd: str) -> int:
    started: list[subprocess.Popen[bytes]] = []
    with _signals_passed_to(started):
        started.append(subprocess.Popen(list(command.argv), env=dict(command.env), cwd=cwd, pass_fds=command.pass_fds))
        code = started[0].wait()
    return code if code >= 0 else 128 - code


@contextmanager
def _signals_passed_to(started: Sequence[subprocess.Popen[bytes]]) -> Generator[None]:
    """A request to end is for the command. What is typed in the terminal has reached it by itself."""

    def ignore(*_: object) -> None:
        pass

    def end(number: int, _: object) -> None:
        for process in started:
            process.send_signal(number)

    before = {number: signal.signal(number, ignore) for number in (signal.SIGINT, signal.SIGQUIT)}
    before |= {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _not_started(program: str, reason: str, code: int) -> int:
    print(f"turnloom: error: {program}: {reason}", file=sys.stderr)  # noqa: T201  # the terminal is ours here
    return code
