"""The rules files of one daemon: read again when they change, and added to when the user allows a prefix for good."""

import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio.to_thread
from msgspec import Struct

from app_server.execpolicy.bash import load_parser
from app_server.execpolicy.loading import (
    MAX_BYTES,
    LoadedRules,
    RuleProblem,
    RulesFileError,
    evaluate_rules,
    problem_of,
    read_rules,
    rules_files,
)
from app_server.execpolicy.rules import RuleSet

LOCK_SECONDS = 10.0
"""How long another program may hold the file that amendments go to."""

_SETTLED_NS = 100_000_000
# What Starlark reads otherwise than it looks.
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


class RulesError(Exception):
    """A rule could not be written; the message says why and what to do."""


class _Evaluated(Struct, frozen=True, eq=False):
    """What a text came to; the same object as long as the text does not change."""

    text: bytes
    rules: RuleSet
    problem: RuleProblem | None = None


class _File(Struct, frozen=True):
    """One file as it was last read. `settled`: any change since then shows in the stamp."""

    stamp: tuple[int, ...]
    settled: bool
    evaluated: _Evaluated


class RulesStore:
    """Knows the rules files of all folders it was asked about. Safe to use from several tasks and threads."""

    def __init__(self, codex_home: Path) -> None:
        self.file = codex_home / "rules" / "default.rules"
        """Where amendments go."""
        self._lock = threading.Lock()
        self._files: dict[Path, _File] = {}
        self._merged: dict[tuple[Path, ...], tuple[list[_Evaluated], LoadedRules]] = {}

    async def current(self, folders: Sequence[Path]) -> LoadedRules:
        """The rules of the folders, weakest first, as their files are now: the same object while none changes."""
        return await anyio.to_thread.run_sync(self._current, tuple(folders))

    async def append_prefix(self, prefix: Sequence[str]) -> None:
        """Allow commands that begin with `prefix` from now on, here and in every program on this home.

        Raises RulesError when the rule cannot be kept.
        """
        await anyio.to_thread.run_sync(self._append, tuple(prefix))

    async def append_network_rule(self, host: str, protocol: str, action: str, justification: str) -> None:
        """`allow` or `deny` a host from now on, here and in every program on this home.

        `protocol` is that of a `network_rule`. Raises RulesError when the rule cannot be kept.
        """
        await anyio.to_thread.run_sync(self._append_network_rule, host, protocol, action, justification)

    # Reading, in a worker thread

    def _current(self, folders: tuple[Path, ...]) -> LoadedRules:
        # Whoever asks for rules has a command to judge by them.
        load_parser()
        with self._lock:
            found = [evaluated for folder in folders for evaluated in self._read_folder(folder)]
            known = self._merged.get(folders)
            if known is not None and known[0] == found:
                return known[1]
            loaded = _merge(found)
            self._merged[folders] = (found, loaded)
            return loaded

    def _read_folder(self, folder: Path) -> Iterator[_Evaluated]:
        try:
            paths = rules_files(folder)
        except OSError as error:
            yield _broken(folder, RulesFileError(error.strerror or "it cannot be read"))
            return
        for path in paths:
            try:
                yield self._read(path)
            except FileNotFoundError:
                continue

    def _read(self, path: Path) -> _Evaluated:
        known = self._files.get(path)
        stamp, settled = _stamp(path)
        if known is not None and known.settled and known.stamp == stamp:
            return known.evaluated
        text = b""
        try:
            text = read_rules(path)
            if known is not None and known.evaluated.text == text:
                evaluated = known.evaluated
            else:
                evaluated = _Evaluated(text, evaluate_rules(path, text))
        except RulesFileError as error:
            evaluated = _broken(path, error, text)
            if error.passing:
                return evaluated
        self._files[path] = _File(stamp, settled, evaluated)
        return evaluated

    # Adding, in a worker thread

    def _append(self, prefix: tuple[str, ...]) -> None:
        if not prefix or "\0" in "".join(prefix):
            raise RulesError("a rule needs the words that a command begins with, and none of them can hold a NUL")
        self._append_call(f'prefix_rule(pattern=[{", ".join(map(_quoted, prefix))}], decision="allow")')

    def _append_network_rule(self, host: str, protocol: str, action: str, justification: str) -> None:
        self._append_call(
            f"network_rule(host={_quoted(host)}, protocol={_quoted(protocol)}, decision={_quoted(action)}, "
            f"justification={_quoted(justification)})"
        )

    def _append_call(self, call: str) -> None:
        try:
            line = call.encode()
        except UnicodeEncodeError:
            raise RulesError("a rule cannot hold words that are no valid text") from None
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = _open_locked(self.file)
            try:
                self._append_line(fd, line)
            finally:
                os.close(fd)
        except OSError as error:
            raise RulesError(f"{self.file} cannot be written: {error.strerror}") from error

    def _append_line(self, fd: int, line: bytes) -> None:
        text = os.pread(fd, MAX_BYTES + 1, 0)
        if line in text.splitlines():
            return
        addition = (b"\n" if text and not text.endswith(b"\n") else b"") + line + b"\n"
        try:
            if len(text) + len(addition) > MAX_BYTES:
                raise RulesFileError(f"it would be longer than {MAX_BYTES} bytes")
            evaluated = _Evaluated(text + addition, evaluate_rules(self.file, text + addition))
        except RulesFileError as error:
            raise RulesError(f"{self.file} has to be corrected first: {error}") from error
        # One write: whoever reads, or is killed, sees the whole line or nothing of it.
        if os.write(fd, addition) != len(addition):
            os.ftruncate(fd, len(text))
            raise RulesError(f"{self.file} cannot be written: the disk is full")
        os.fsync(fd)
        with self._lock:
            self._files[self.file] = _File(_stamp(self.file)[0], False, evaluated)


def _quoted(word: str) -> str:
    return f'"{word.translate(_ESCAPES)}"'


def _merge(found: Sequence[_Evaluated]) -> LoadedRules:
    rules = RuleSet(
        tuple(rule for evaluated in found for rule in evaluated.rules.prefix_rules),
        tuple(known for evaluated in found for known in evaluated.rules.host_executables),
        tuple(rule for evaluated in found for rule in evaluated.rules.network_rules),
    )
    problems = tuple(evaluated.problem for evaluated in found if evaluated.problem is not None)
    return LoadedRules(rules.without_allowances() if problems else rules, problems)


def _broken(path: Path, error: RulesFileError, text: bytes = b"") -> _Evaluated:
    return _Evaluated(text, RuleSet(), problem_of(path, error))


def _stamp(path: Path) -> tuple[tuple[int, ...], bool]:
    """What changes with the file, and whether the file is old enough for that: clocks of files are coarse."""
    found = path.stat()
    stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return stamp, time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > _SETTLED_NS


def _open_locked(path: Path) -> int:
    """The file, made if need be, open for appending, locked against all who add to it. Raises RulesError, OSError."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise RulesError(f"{path} is no regular file")
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # An editor may have put another file in its place meanwhile.
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        if time.monotonic() > deadline:
            raise RulesError(f"{path} is in use by another program")
        time.sleep(0.02)
