"""posix_spawn with a working directory and a session of its own, which `os.posix_spawn` cannot do together.

The C function is called through ctypes: it neither copies the daemon's memory nor runs Python in the child, and it
reports the child's failure to open, change directory or execute as an error number.
"""

import errno
import functools
import os
import signal
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

SETSIGDEF = 0x04
SETSIGMASK = 0x08
SETSID = 0x0400 if sys.platform == "darwin" else 0x80

# Larger than the C library's opaque structures on every platform (glibc: 80, 336 and 128 bytes).
OPAQUE_BYTES = 1024

PR_SET_CHILD_SUBREAPER = 36

RLIMIT_LOCKS = 10
"""A limit that Linux keeps, hands down and shows, and has not enforced since 2003."""

FALLBACK_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for when the child's environment has no PATH."""


class SpawnError(Exception):
    """The command could not be started. The message names the cause as the system does."""

    @classmethod
    def of(cls, error: OSError) -> "SpawnError":
        """The form that clients of the protocol know, for example "Permission denied (os error 13)"."""
        number = error.errno or 0
        return cls(f"{os.strerror(number)} (os error {number})")


Redirect = tuple[int, int | tuple[str, int]]
"""A descriptor of the child, and where it comes from: a descriptor of ours, or a path and its open flags."""


def spawn(
    argv: Sequence[str],
    *,
    program: str | None = None,
    env: Mapping[str, str],
    cwd: str,
    redirects: Sequence[Redirect],
    pass_fds: Sequence[int] = (),
    brand: int | None = None,
) -> int:
    """Start `argv` in a new session and return its process id.

    The child has the descriptors of `redirects` and `pass_fds` (which keep their numbers) and no other: ours are all
    closed on exec. Signals are as by default. `program` overrides the search of `argv[0]` on the child's PATH.
    `brand` is a number that the child and all its descendants carry, see `proctree.brand`. Raises SpawnError.
    """
    if "\0" in cwd or any("\0" in word for word in argv) or any("\0" in k or "\0" in v for k, v in env.items()):
        raise SpawnError("nul byte found in provided data")
    if not argv or not argv[0]:
        raise SpawnError("missing program")
    failure = errno.ENOENT
    for candidate in [program] if program else candidates(argv[0], env, cwd):
        with _branding(brand):
            result = _posix_spawn(candidate, argv, env, cwd, redirects, pass_fds)
        if result > 0:
            return result
        if -result not in (errno.ENOENT, errno.ENOTDIR):
            failure = -result
        if -result not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            break
    else:
        failure = _directory_failure(cwd) or failure
    raise SpawnError.of(OSError(failure, ""))


@contextmanager
def _branding(brand: int | None) -> Generator[None]:
    """What is started meanwhile carries `brand`: a limit of ours for a moment, and of the child for good."""
    if brand is None or not sys.platform.startswith("linux"):
        yield
        return
    import resource

    soft, hard = resource.getrlimit(RLIMIT_LOCKS)
    try:
        # Fails where the user's hard limit is lower than any brand.
        with suppress(OSError, ValueError):
            resource.setrlimit(RLIMIT_LOCKS, (brand, hard))
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(RLIMIT_LOCKS, (soft, hard))


def candidates(name: str, env: Mapping[str, str], cwd: str) -> Iterator[str]:
    """The files that `name` may mean in `cwd` with the child's PATH, existing ones only unless `name` is a path."""
    if "/" in name:
        yield name
        return
    for directory in env.get("PATH", FALLBACK_PATH).split(":"):
        path = os.path.join(directory or ".", name)
        if os.path.exists(os.path.join(cwd, path)):
            yield path


def check_program(name: str, env: Mapping[str, str], cwd: str) -> None:
    """Raise the SpawnError that starting `name` in `cwd` would meet, as far as can be told without starting it.

    For commands behind a wrapper, whose own failure to start the program would read as the command's output.
    """
    if failure := _directory_failure(cwd):
        raise SpawnError.of(OSError(failure, ""))
    if "\0" in name:
        raise SpawnError("nul byte found in provided data")
    failure = errno.ENOENT
    for candidate in candidates(name, env, cwd):
        path = os.path.join(cwd, candidate)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return
        if os.path.lexists(path):
            failure = errno.EACCES if os.path.exists(path) else errno.ENOENT
    raise SpawnError.of(OSError(failure, ""))


def _directory_failure(cwd: str) -> int | None:
    if not os.path.isdir(cwd):
        return errno.ENOTDIR if os.path.exists(cwd) else errno.ENOENT
    return None if os.access(cwd, os.X_OK) else errno.EACCES


def _posix_spawn(
    program: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    redirects: Sequence[Redirect],
    pass_fds: Sequence[int],
) -> int:
    """The child's process id, or a negative error number."""
    import ctypes

    libc = _libc()
    actions = ctypes.create_string_buffer(OPAQUE_BYTES)
    attributes = ctypes.create_string_buffer(OPAQUE_BYTES)
    libc.posix_spawn_file_actions_init(actions)
    libc.posix_spawnattr_init(attributes)
    try:
        libc.posix_spawnattr_setflags(attributes, ctypes.c_short(SETSID | SETSIGDEF | SETSIGMASK))
        libc.posix_spawnattr_setsigdefault(attributes, _signal_set(full=True))
        libc.posix_spawnattr_setsigmask(attributes, _signal_set(full=False))
        # The working directory comes first: its failure must not leave a terminal or a file half set up.
        libc.posix_spawn_file_actions_addchdir_np(actions, os.fsencode(cwd))
        for target, source in redirects:
            if isinstance(source, int):
                libc.posix_spawn_file_actions_adddup2(actions, source, target)
            else:
                path, flags = source
                libc.posix_spawn_file_actions_addopen(actions, target, os.fsencode(path), flags, 0)
        for fd in pass_fds:
            # Onto itself: this only clears close-on-exec, in the child alone.
            libc.posix_spawn_file_actions_adddup2(actions, fd, fd)
        _close_others(actions, pass_fds)
        words = (ctypes.c_char_p * (len(argv) + 1))(*map(os.fsencode, argv), None)
        variables = (ctypes.c_char_p * (len(env) + 1))(*(os.fsencode(f"{k}={v}") for k, v in env.items()), None)
        pid = ctypes.c_int()
        error = libc.posix_spawn(ctypes.byref(pid), os.fsencode(program), actions, attributes, words, variables)
        return -error if error else pid.value
    finally:
        libc.posix_spawn_file_actions_destroy(actions)
        libc.posix_spawnattr_destroy(attributes)


def _close_others(actions: "ctypes.Array[ctypes.c_char]", kept: Sequence[int]) -> None:
    """Have the child close every descriptor above 2 but `kept`.

    Ours close on exec by themselves; a library's may not.
    """
    libc = _libc()
    above = max((2, *kept)) + 1
    try:
        close_from = libc.posix_spawn_file_actions_addclosefrom_np
    except AttributeError:  # a C library older than that, or another
        seal_descriptors()
        return
    for fd in sorted({*range(3, above)} - {*kept}):
        libc.posix_spawn_file_actions_addclose(actions, fd)
    close_from(actions, above)


@functools.cache
def _libc() -> "ctypes.CDLL":
    import ctypes

    return ctypes.CDLL(None)


@functools.cache
def _signal_set(*, full: bool) -> "ctypes.Array[ctypes.c_char]":
    """A sigset_t. In the full one the two signals that cannot be caught are left out, since setting them fails."""
    import ctypes

    signals = ctypes.create_string_buffer(OPAQUE_BYTES)
    (_libc().sigfillset if full else _libc().sigemptyset)(signals)
    if full:
        for unblockable in (signal.SIGKILL, signal.SIGSTOP):
            _libc().sigdelset(signals, int(unblockable))
    return signals


def become_subreaper() -> bool:
    """Make orphaned descendants children of this process, so that none can slip away. False where unsupported."""
    if not sys.platform.startswith("linux"):
        return False
    return _libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def seal_descriptors() -> None:
    """Mark every open descriptor above 2 close-on-exec, those inherited from our own parent included."""
    for entry in os.listdir("/dev/fd"):
        try:
            if int(entry) > 2:
                os.set_inheritable(int(entry), False)
        except OSError:
            continue  # the descriptor of the listing itself
