"""Confinement without namespaces: Landlock and system call filters, put in force by a helper process of its own.

Landlock gives rights to whole directories and takes none away below them, so it cannot protect `.git` in a directory
where files may be created. What it cannot decide the helper does for the command: see `supervisor.py`.
"""

import importlib.util
import marshal
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.abc import InspectLoader
from types import CodeType
from typing import Any

import anyio
import anyio.to_thread
from msgspec.structs import replace

from app_server.sandbox import landlock_filter, seccomp
from app_server.sandbox.area import DENY, READ, WRITE
from app_server.sandbox.mounts import ETC, SYSTEM, follow, git_directories
from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.repositories import GIT, HEAD, NEVER_WRITABLE, RepositorySearch, is_within_any
from app_server.sandbox.sandbox import SHARED, SandboxedCommand, SandboxUnavailable, with_network_flag
from app_server.sandbox.stage import WAITING_CONNECTIONS
from app_server.sandbox.warden import Orders

PROBE_S = 20

MODULES = ("kernel", "descent", "area", "caller", "connecting", "supervisor", "warden")
"""What the helper is made of, each after those it imports."""

START = """
import marshal, sys, types
with open(int(sys.argv[1]), "rb") as file:
    code, orders = marshal.loads(file.read())
package = sys.modules["app_server.sandbox"] = types.ModuleType("app_server.sandbox")
for name, part in code:
    module = sys.modules["app_server.sandbox." + name] = types.ModuleType("app_server.sandbox." + name)
    setattr(package, name, module)
    exec(part, module.__dict__)
module.main(orders)
"""

ALSO_SYSTEM = ("/proc", "/sys")
"""What programs need to start besides `SYSTEM` and `ETC`, where not everything may be read."""

UPGRADE = (
    "use a kernel of version 5.13 or later with Landlock switched on (lsm=landlock,... on the kernel's command line), "
    "or run the command with the dangerFullAccess or externalSandbox policy"
)

ALLOW_TAKING = (
    "let a process take descriptors of its own children (Linux 5.6, sysctl kernel.yama.ptrace_scope=1 or 0; in a "
    "container, a system call filter that allows pidfd_getfd), install bubblewrap, or switch the managed network off "
    "(features.network_proxy)"
)

NOTHING = PermissionProfile("restricted", network=False)


class Landlock:
    """The kernel's own sandbox for programs that may not make namespaces."""

    def __init__(self, abi: int | None = None) -> None:
        """`abi` is an older version of Landlock to keep to; None for that of the kernel."""
        self._asked_abi = abi
        self._abi = 0
        self._proxies = False
        self._probed = anyio.Lock()
        self._repositories = RepositorySearch()
        self._ever_writable: set[str] = set()

    @property
    def abi(self) -> int:
        """The version of Landlock that is used; 0 before it was looked for."""
        return self._abi

    async def available(self) -> None:
        """Return if commands can be confined by Landlock here, else raise SandboxUnavailable. Probed once."""
        async with self._probed:
            if not self._abi:
                self._abi = await anyio.to_thread.run_sync(self._look)

    async def wrap(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        profile: PermissionProfile,
        terminal: bool = False,
        proxy_port: int | None = None,
    ) -> SandboxedCommand:
        """The command that runs `argv` in `cwd` under a restricted `profile`. Raises SandboxUnavailable."""
        if not self._abi:
            await self.available()
        if proxy_port is not None:
            await self._can_proxy()
        inner = dict(with_network_flag(env, profile, proxy_port))
        proxy = bridge = None
        if proxy_port is not None:
            bridge, port = _listen()
            proxy = proxy_port, port
        try:
            orders = await anyio.to_thread.run_sync(self._orders, list(argv), inner, cwd, profile, proxy)
            command = _command(orders, program=argv[0] if argv else "", path=inner.get("PATH"))
        except BaseException:
            if bridge is not None:
                bridge.close()
            raise
        return replace(command, bridge=bridge)

    def _look(self) -> int:
        from app_server.sandbox import kernel

        abi = kernel.landlock_abi()
        if not abi:
            raise SandboxUnavailable(f"this kernel ({platform.release()}) has no Landlock, or it is off; {UPGRADE}")
        abi = min(abi, self._asked_abi or abi)
        _probe(_pack(["/bin/sh", "-c", ":"], {}, NOTHING, (), (), abi), UPGRADE)
        return abi

    async def _can_proxy(self) -> None:
        """Return if the helper can connect commands to the proxy, else raise SandboxUnavailable. Probed once."""
        async with self._probed:
            if not self._proxies:
                orders = _pack(["/bin/sh", "-c", ":"], {}, NOTHING, (), (), self._abi, proxy=(1, 1))
                await anyio.to_thread.run_sync(_probe, orders, ALLOW_TAKING)
                self._proxies = True

    def _orders(
        self,
        argv: list[str],
        env: Mapping[str, str],
        cwd: str,
        profile: PermissionProfile,
        proxy: tuple[int, int] | None,
    ) -> bytes:
        """What the helper is told. Walks the writable roots: for a worker thread."""
        roots = self._roots(profile)
        _check_interpreter((os.path.realpath(cwd), *roots))
        closed = {*NEVER_WRITABLE}
        for root in roots:
            closed.update(_both(os.path.join(root, name) for name in profile.protected_names))
            if not any(os.path.lexists(os.path.join(root, name)) for name in (GIT, HEAD)):
                closed.add(os.path.join(root, HEAD))  # without it the root itself is no repository
        for repository in self._repositories.find([root for root in roots if os.path.isdir(root)]):
            closed.update(_protected(repository))
        return _pack(argv, env, profile, roots, sorted(closed), self._abi, proxy)

    def _roots(self, profile: PermissionProfile) -> tuple[str, ...]:
        """The writable roots that exist, without symbolic links. A link that a command may have made is not followed.

        Raises SandboxUnavailable.
        """
        followed = [(path, *follow(path)) for path in profile.writable_roots if os.path.exists(path)]
        roots = {real for _, real, _ in followed if not is_within_any(real, NEVER_WRITABLE)}
        self._ever_writable |= roots
        for path, _, links in followed:
            for link in links:
                if link not in roots and is_within_any(link, tuple(self._ever_writable)):
                    raise SandboxUnavailable(
                        f"{path} leads through the symbolic link {link}, which a command could have put there, so it "
                        "is not opened for writing; name the directory itself, or choose other writable roots"
                    )
        return tuple(sorted(roots))


def _rules(profile: PermissionProfile, roots: Sequence[str]) -> dict[bytes, int]:
    """What may be read and changed; among rules for the same path, what denies more, but a root stays writable."""
    rules = {"/": READ if profile.readable_roots is None else DENY}
    if profile.readable_roots is not None:
        etc = (os.path.join("/etc", name) for name in ETC)
        rules |= {os.path.realpath(path): READ for path in (*SYSTEM, *ALSO_SYSTEM, *etc, *profile.readable_roots)}
    rules |= dict.fromkeys(_both(profile.read_only), READ)
    rules |= dict.fromkeys(roots, WRITE)
    rules |= dict.fromkeys(_both(profile.denied), DENY)
    return {os.fsencode(path): access for path, access in rules.items()}


def _protected(repository: str) -> set[str]:
    """A `.git` entry, and what it names if it is the pointer of a worktree or submodule."""
    return _both([repository, *(git_directories(repository) if os.path.basename(repository) == GIT else ())])


def _both(paths: Iterable[str]) -> set[str]:
    """Each path without links on the way to it, and what it leads to."""
    found: set[str] = set()
    for given in paths:
        path = given.rstrip("/") or "/"
        found.add(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)))
        found.add(os.path.realpath(path))
    return found


def _pack(
    argv: Sequence[str],
    env: Mapping[str, str],
    profile: PermissionProfile,
    roots: Sequence[str],
    closed: Sequence[str],
    abi: int,
    proxy: tuple[int, int] | None = None,
) -> bytes:
    rules = _rules(profile, roots)
    denied = tuple(os.fsdecode(path) for path, access in rules.items() if access == DENY and path != b"/")
    # What is new in a directory of which only parts may be read can be read by way of the supervisor alone.
    reads = any(is_within_any(path, tuple(roots)) for path in denied)
    proxied = proxy is not None
    network = profile.network and not proxied
    orders = Orders(
        argv=[os.fsencode(word) for word in argv],
        env={os.fsencode(name): os.fsencode(value) for name, value in env.items()},
        abi=abi,
        rules=rules,
        closed=[os.fsencode(path) for path in closed],
        names=[os.fsencode(name) for name in profile.protected_names],
        network=network,
        filters=[
            seccomp.program(network=network, proxied=proxied),
            landlock_filter.refusals(truncate=abi < 3, signals=abi < 6),
        ],
        questions=landlock_filter.questions(reads=reads, signals=abi < 6, proxied=proxied),
        calls=dict(landlock_filter.names()),
        proxy=proxy,
    )
    everything: Any = (_helper(), orders.packed())
    return marshal.dumps(everything)


_code: list[tuple[str, CodeType]] = []


def _helper() -> list[tuple[str, CodeType]]:
    """The helper's modules, taken once: what a command writes over our files later does not count."""
    if not _code:
        for name in MODULES:
            spec = importlib.util.find_spec(f"app_server.sandbox.{name}")
            loader = None if spec is None else spec.loader
            code = loader.get_code(f"app_server.sandbox.{name}") if isinstance(loader, InspectLoader) else None
            if code is None:
                raise SandboxUnavailable(f"the helper's part {name} was not found; install the program anew")
            _code.append((name, code))
    return _code


def _interpreter() -> str:
    return os.path.realpath(sys.executable)


def _check_interpreter(writable: Sequence[str]) -> None:
    """The helper is not confined itself, so nothing that it loads may come from where commands write."""
    for path in (_interpreter(), os.path.realpath(os.path.dirname(os.__file__))):
        if is_within_any(path, tuple(directory for directory in writable if directory != "/")):
            raise SandboxUnavailable(
                f"{path}, with which the sandbox is built, lies in a directory that the command may write; run the "
                "server by an interpreter outside of the workspace, or choose narrower writable roots"
            )


def _argv(fd: int) -> list[str]:
    return [_interpreter(), "-I", "-S", "-E", "-c", START, str(fd)]


def _command(orders: bytes, *, program: str, path: str | None) -> SandboxedCommand:
    fd = _hand_over(orders)
    # The real environment is in the orders: nothing of it may act on the helper.
    env = {} if path is None else {"PATH": path}
    return SandboxedCommand(argv=_argv(fd), env=env, pass_fds=(fd,), supervised=True, program=program)


def _listen() -> tuple[socket.socket, int]:
    """A socket of one command's own for the proxy: what it is fetched from, and its port of 127.0.0.1.

    Without a network of the command's own, that is how the proxy knows whose connections it gets.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs, socket.create_server(("127.0.0.1", 0), backlog=WAITING_CONNECTIONS) as listener:
            socket.send_fds(theirs, [SHARED], [listener.fileno()])
            return ours, listener.getsockname()[1]
    except OSError as error:
        ours.close()
        raise SandboxUnavailable(f"nothing can listen for the managed network proxy: {error.strerror}") from error


def _hand_over(data: bytes) -> int:
    """A descriptor from which the helper reads `data`."""
    fd = os.memfd_create("turnloom", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _probe(orders: bytes, remedy: str) -> None:
    """Raises SandboxUnavailable with the remedy if the helper cannot confine a command."""
    fd = _hand_over(orders)
    try:
        done = subprocess.run(
            _argv(fd),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=(fd,),
            env={},
            start_new_session=True,  # its orphans are told by their session
            timeout=PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(f"the helper of the Landlock sandbox did not run: {error}") from error
    finally:
        with suppress(OSError):
            os.close(fd)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        raise SandboxUnavailable(f"Landlock cannot confine commands here ({said}); {remedy}")
