"""Confinement on macOS: a Seatbelt profile, put in force by the system's own sandbox-exec."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence

import anyio.to_thread

from app_server.config.network_proxy import NetworkProxySettings
from app_server.sandbox.mounts import git_directories
from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.repositories import GIT, HEAD, RepositorySearch, is_within_any
from app_server.sandbox.sandbox import SandboxedCommand, SandboxUnavailable, with_network_flag

PROGRAM = "/usr/bin/sandbox-exec"
"""Fixed: one found on a search path could be anything."""

SANDBOX = "CODEX_SANDBOX"
"""Tells a command what it runs in."""

BASE = """\
(version 1)
(deny default)

; Its own processes.
(allow process-fork)
(allow process-exec)
(allow process-info* (target same-sandbox))
(allow signal (target same-sandbox))
(allow mach-priv-task-port (target same-sandbox))

; What every program asks of the system.
(allow sysctl-read)
(allow system-info)
(allow user-preference-read)
(allow mach-lookup
  (global-name "com.apple.bsd.dirhelper")
  (global-name "com.apple.cfprefsd.agent")
  (global-name "com.apple.cfprefsd.daemon")
  (global-name "com.apple.logd")
  (global-name "com.apple.system.logger")
  (global-name "com.apple.system.notification_center")
  (global-name "com.apple.system.opendirectoryd.libinfo")
  (global-name "com.apple.system.opendirectoryd.membership"))
(allow ipc-posix-sem)
(allow ipc-posix-shm-read* (ipc-posix-name-prefix "apple."))

; Devices without effect, and terminals.
(allow pseudo-tty)
(allow file-read-metadata)
(allow file-read* file-write-data file-ioctl
  (literal "/dev/null")
  (literal "/dev/zero")
  (literal "/dev/random")
  (literal "/dev/urandom")
  (literal "/dev/dtracehelper")
  (literal "/dev/tty")
  (literal "/dev/ptmx")
  (subpath "/dev/fd")
  (regex #"^/dev/ttys[0-9]+$"))
"""

SYSTEM = (
    *("/usr", "/bin", "/sbin", "/System", "/Library", "/opt/homebrew", "/opt/local", "/nix/store", "/private/etc"),
    *("/private/var/db/dyld", "/private/var/db/timezone", "/private/var/select", "/Applications/Xcode.app"),
)
"""What programs need to start, where not everything may be read."""

NETWORK = """\
(allow system-socket)
(allow network*)
(deny network-outbound (remote unix-socket))
(allow network-outbound (literal "/private/var/run/mDNSResponder"))
(allow mach-lookup
  (global-name "com.apple.SystemConfiguration.configd")
  (global-name "com.apple.SystemConfiguration.DNSConfiguration")
  (global-name "com.apple.networkd")
  (global-name "com.apple.ocspd")
  (global-name "com.apple.trustd")
  (global-name "com.apple.trustd.agent"))
"""
"""No local sockets: the services behind them act outside."""


class Seatbelt:
    """The kernel's sandbox of macOS."""

    def __init__(self, program: str = PROGRAM) -> None:
        self._program = program
        self._repositories = RepositorySearch()

    async def available(self) -> None:
        """Return if the system has its sandbox program, else raise SandboxUnavailable."""
        if not os.access(self._program, os.X_OK):
            raise SandboxUnavailable(
                f"{self._program}, which is part of macOS, is missing, and without it commands cannot be confined; "
                "repair the system, or run the command with the dangerFullAccess policy"
            )

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
        await self.available()
        text, parameters = await anyio.to_thread.run_sync(self._describe, profile, proxy_port)
        definitions = [word for name, value in parameters.items() for word in ("-D", f"{name}={value}")]
        return SandboxedCommand(
            argv=[self._program, "-p", text, *definitions, "--", *argv],
            env={**with_network_flag(env, profile, proxy_port), SANDBOX: "seatbelt"},
            program=argv[0] if argv else "",
        )

    def _describe(self, profile: PermissionProfile, proxy_port: int | None) -> tuple[str, dict[str, str]]:
        roots = sorted({os.path.realpath(root) for root in profile.writable_roots if os.path.exists(root)})
        found = self._repositories.find([root for root in roots if os.path.isdir(root)])
        pointed = [path for entry in found if os.path.basename(entry) == GIT for path in git_directories(entry)]
        protected = [*found, *map(os.path.realpath, pointed)]
        return describe(profile, roots=roots, protected=protected, proxy_port=proxy_port)


def describe(
    profile: PermissionProfile,
    *,
    roots: Sequence[str],
    protected: Sequence[str] = (),
    proxy_port: int | None = None,
) -> tuple[str, dict[str, str]]:
    """A profile as Seatbelt's text, and the values of the paths that it names by parameter.

    `roots` are the writable ones, without symbolic links; `protected` is what else stays as it is in them. With
    `proxy_port` that port of this machine is all that can be reached, and what the profile's rules for the proxy say
    of this machine. A profile with such rules and no port has no network. Of the rules about a path the last one
    decides, so those about inner paths come after those about outer ones.
    """
    names = _Names()
    text = [BASE, "\n; Files."]
    if profile.readable_roots is None:
        text.append("(allow file-read*)")
    else:
        text.append('(allow file-read* (literal "/"))')
        text += [f"(allow file-read* {names.below(path)})" for path in SYSTEM]
    rules: dict[str, str] = {}
    for path in profile.readable_roots or ():
        rules[os.path.realpath(path)] = "(allow file-read* {})"
    for path in profile.read_only:
        rules[os.path.realpath(path)] = "(allow file-read* {0})(deny file-write* {0})"
    rules |= dict.fromkeys(roots, "(allow file-read* file-write* {})")
    for path in profile.denied:
        rules[os.path.realpath(path)] = "(deny file-read* file-write* {})"
    text += [rules[path].format(names.below(path)) for path in sorted(rules)]
    text += _protection(profile, roots, protected, rules, names)
    text.append("\n; The network.")
    if proxy_port is not None:
        text.append("(allow system-socket)")
        text.append(f'(allow network-outbound (remote ip "localhost:{proxy_port}"))')
        text += _of_this_machine(profile.proxy, names)
    elif profile.network and profile.proxy is None:
        text.append(NETWORK)
    return "\n".join(text) + "\n", names.values


def _of_this_machine(rules: NetworkProxySettings | None, names: "_Names") -> Iterable[str]:
    """What can be reached beside the proxy: servers of this machine and local sockets, where the rules name them.

    The command has no network of its own here, so its own servers are this machine's too.
    """
    if rules is None:
        return
    if rules.allow_local_binding:
        yield '(allow network-bind (local ip "localhost:*"))'
        yield '(allow network-inbound (local ip "localhost:*"))'
        yield '(allow network-outbound (remote ip "localhost:*"))'
    if rules.dangerously_allow_all_unix_sockets:
        yield "(allow network-outbound (remote unix-socket))"
    sockets = sorted(rules.unix_sockets.items())
    for action in ("allow", "deny"):
        for path in (path for path, given in sockets if given == action):
            yield f"({action} network-outbound (literal {names.parameter(os.path.realpath(path))}))"


def _protection(
    profile: PermissionProfile,
    roots: Sequence[str],
    protected: Sequence[str],
    rules: Iterable[str],
    names: "_Names",
) -> Iterable[str]:
    """What stays as it is wherever it lies, and the folders on the way to it, which must not be moved."""
    for root in roots:
        closed = list(profile.protected_names)
        if GIT in closed and not any(os.path.lexists(os.path.join(root, name)) for name in (GIT, HEAD)):
            closed.append(HEAD)  # without it the root itself is no repository
        # By pattern: the file system takes .GIT for .git.
        yield from (f'(deny file-write* (regex #"^{_either_case(root, name)}(/.*)?$"))' for name in closed)
    for path in sorted(set(protected)):
        if is_within_any(path, tuple(roots)):
            yield f"(deny file-write* {names.below(path)})"
    fixed = {*protected, *rules}
    steps = {step for path in fixed for step in _folders_above(path) if is_within_any(step, tuple(roots))}
    for step in sorted(steps.union(roots)):
        yield f"(deny file-write-unlink (literal {names.parameter(step)}))"


def _folders_above(path: str) -> Iterable[str]:
    while path != "/":
        path = os.path.dirname(path)
        yield path


def _either_case(root: str, name: str) -> str:
    """A pattern for an entry of a folder, in whatever case."""
    letters = "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else re.escape(c) for c in name)
    return re.escape(root.rstrip("/")).replace('"', r"\"") + "/" + letters


class _Names:
    """Parameters for paths, which can then hold any character."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self._known: dict[str, str] = {}

    def parameter(self, path: str) -> str:
        name = self._known.setdefault(path, f"PATH_{len(self._known)}")
        self.values[name] = path
        return f'(param "{name}")'

    def below(self, path: str) -> str:
        """The path itself and everything in it."""
        parameter = self.parameter(path)
        return f"(literal {parameter}) (subpath {parameter})"
