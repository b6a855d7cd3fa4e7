"""What bubblewrap mounts for a permission profile: what is writable, what stays read-only, what is hidden."""

import functools
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct, field

from app_server.sandbox.paths import follow, open_without_links
from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.protected import Held, StandIns
from app_server.sandbox.repositories import GIT, NEVER_WRITABLE, RepositorySearch, is_within_any
from app_server.sandbox.sandbox import SandboxUnavailable

MOUNTS = 600
"""Mounts per command before the run is refused: their cost grows with the square of their number."""

PLANS = 5
"""How often a plan is begun before the run is refused, because what is protected went away in the middle of it."""

HOME_ENTRIES = 60
"""Entries of $CODEX_HOME that are shown one by one; in a fuller one what is denied is covered where it is."""

NULL = "/dev/null"

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/run/current-system/sw")
"""What programs need to start, where not everything is readable; and of /etc:"""

ETC = (
    *("alternatives", "bash.bashrc", "bashrc", "ca-certificates", "ca-certificates.conf", "crypto-policies"),
    *("debian_version", "fonts", "gai.conf", "group", "host.conf", "hostname", "hosts", "inputrc", "java"),
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "locale.alias", "locale.conf", "localtime", "login.defs"),
    *("lsb-release", "magic", "mime.types", "networks", "nsswitch.conf", "os-release", "passwd", "perl"),
    *(
        "pki/ca-trust",
        "pki/tls/certs",
        "profile",
        "profile.d",
        "protocols",
        "python3",
        "resolv.conf",
        "rpc",
        "services",
        "shells",
    ),
    *("ssl/certs", "ssl/openssl.cnf", "static", "terminfo", "timezone", "xattr.conf", "zoneinfo"),
)

Kind = Literal["write", "step", "read", "nested", "system", "file", "folder", "home"]


class Mount(Struct, frozen=True):
    """One mount over what lies around it; `path` exists and is free of symbolic links.

    "write" opens, "read" closes. A "step" is a writable folder on the way to something closed: as a mount of its own
    it cannot be renamed, and so what is in it stays where it is. "nested" is closed too. Both may be deleted before
    they are mounted, for the folders below a root are everybody's. "system" is what programs need, and is readable. A
    "file" and a "folder" are hidden; "home" is $CODEX_HOME, of which only `shown` and `links` are there. `identity` is
    the device and inode that were found, `witness` a descriptor of them, which tells later whether they were deleted.
    """

    path: str
    kind: Kind
    identity: tuple[int, int] | None = None
    shown: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    witness: int | None = None


class Mounts(Struct, frozen=True, dict=True):
    """What is mounted over a root that is readable, writable or minimal, in this order: the innermost last.

    `links` are symbolic links to make in a minimal root. `opened` are descriptors of the writable roots, `witnesses`
    those of the mounts that have one; whoever gets this closes both.
    """

    root: Literal["read", "write", "minimal"] = "read"
    mounts: tuple[Mount, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    opened: tuple[int, ...] = ()
    witnesses: tuple[int, ...] = ()

    @functools.cached_property
    def _by_path(self) -> Mapping[str, Mount]:
        return {mount.path: mount for mount in self.mounts}

    @property
    def writable(self) -> tuple[str, ...]:
        """The outermost places where a command may write."""
        return ("/",) if self.root == "write" else tuple(m.path for m in self.mounts if m.kind == "write")

    def is_writable(self, path: str) -> bool:
        """Whether commands may write at a path without symbolic links."""
        innermost = _innermost(self._by_path, path)
        return self.root == "write" if innermost is None else innermost.kind in ("write", "step")

    def shows(self, path: str) -> bool:
        """Whether a path without symbolic links can be reached."""
        innermost = _innermost(self._by_path, path)
        if innermost is None:
            return self.root != "minimal"
        if innermost.kind == "home":
            return path == innermost.path or is_within_any(path, innermost.shown)
        return innermost.kind not in ("file", "folder")


class _Planned(Struct):
    """A plan in the making."""

    profile: PermissionProfile
    roots: tuple[str, ...] = ()
    mounts: dict[str, Mount] = field(default_factory=dict[str, Mount])
    links: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    held: list[Held] = field(default_factory=list[Held])
    opened: list[int] = field(default_factory=list[int])
    witnesses: list[int] = field(default_factory=list[int])
    hidden_in_home: set[str] = field(default_factory=set[str])

    @property
    def is_minimal(self) -> bool:
        return self.profile.readable_roots is not None and "/" not in self.roots

    def is_writable(self, path: str) -> bool:
        """Whether the innermost mount around a path opens it."""
        innermost = _innermost(self.mounts, path)
        return innermost is not None and innermost.kind in ("write", "step")

    def is_shown(self, path: str) -> bool:
        """Whether a path is there at all, so that it has to be closed."""
        innermost = _innermost(self.mounts, path)
        return not self.is_minimal if innermost is None else innermost.kind not in ("file", "folder")


class _Vanished(SandboxUnavailable):
    """What was just found is no longer there, or has become a link."""


class Planner:
    """Makes the plan for each command. Safe to use from any thread."""

    def __init__(self, stand_ins: StandIns, repositories: RepositorySearch, home: str | None = None) -> None:
        """`home` is $CODEX_HOME, without symbolic links."""
        self._stand_ins, self._repositories, self._home = stand_ins, repositories, home
        self._ever_writable: set[str] = set()
        self._lock = threading.Lock()

    def plan(self, profile: PermissionProfile) -> tuple[Mounts, tuple[Held, ...]]:
        """What to mount for `profile`, and what to release of the stand-ins when the command has ended.

        Walks the roots: call it in a worker thread. Raises SandboxUnavailable if something cannot be protected.
        """
        for _ in range(PLANS - 1):
            try:
                return self._plan(profile)
            except _Vanished:
                continue
        return self._plan(profile)

    def _plan(self, profile: PermissionProfile) -> tuple[Mounts, tuple[Held, ...]]:
        planned = _Planned(profile)
        try:
            self._open_roots(planned)
            self._show_readable(planned)
            self._close_names(planned)
            self._close_repositories(planned)
            for path in profile.read_only:
                self._close(planned, path, hide=False)
            for path in profile.denied:
                self._close(planned, path, hide=True)
            self._show_home(planned)
            return self._finish(planned), tuple(planned.held)
        except BaseException:
            for fd in (*planned.opened, *planned.witnesses):
                os.close(fd)
            for held in planned.held:
                self._stand_ins.release(held)
            raise

    # Roots

    def _open_roots(self, planned: _Planned) -> None:
        followed = [(path, *follow(path)) for path in planned.profile.writable_roots if os.path.exists(path)]
        real = {path for _, path, _ in followed}
        planned.roots = tuple(sorted(path for path in real if not is_within_any(path, NEVER_WRITABLE)))
        with self._lock:
            writable = (*self._ever_writable, *planned.roots)
        for path, _, links in followed:
            for link in links:
                if _lies_in(link, writable):
                    raise SandboxUnavailable(
                        f"{path} leads through the symbolic link {link}, which a command could have put there, so it "
                        "is not opened for writing; name the directory itself, or choose other writable roots"
                    )
        with self._lock:
            self._ever_writable.update(planned.roots)
        for root in planned.roots:
            try:
                fd, identity = open_without_links(root)
            except OSError as error:
                raise SandboxUnavailable(f"{root} cannot be opened to make it writable: {error.strerror}") from error
            planned.opened.append(fd)
            planned.mounts[root] = Mount(root, "write", identity)

    # What stays read-only

    def _close_names(self, planned: _Planned) -> None:
        for root in planned.roots:
            if os.path.isdir(root) and os.access(root, os.W_OK):
                for path in self._hold(planned, root, planned.profile.protected_names):
                    if os.path.islink(path):
                        raise SandboxUnavailable(
                            f"{path} is a symbolic link in a writable directory, so it cannot be kept from being "
                            "replaced; replace it by a directory, or choose other writable roots"
                        )
                    self._add(planned, path, "read")

    def _close_repositories(self, planned: _Planned) -> None:
        for path in self._repositories.find(planned.roots):
            if path not in planned.mounts:
                # A link cannot be kept from being replaced, so its whole folder stays as it is.
                self._add(planned, os.path.dirname(path) if os.path.islink(path) else path, "nested")
            for named in self._named_by(planned, path):
                self._add(planned, named, "nested")

    def _named_by(self, planned: _Planned, pointer: str) -> Iterator[str]:
        """What the `.git` file of a worktree or submodule names in the roots, also where it does not exist yet."""
        if os.path.basename(pointer) != GIT or os.path.islink(pointer) or not os.path.isfile(pointer):
            return
        for folder in git_directories(pointer):
            real = self._real(planned, folder)
            if _lies_in(real, planned.roots):
                yield from self._existing(planned, real)

    def _close(self, planned: _Planned, path: str, *, hide: bool) -> None:
        """Keep a path of the profile from being written, or from being seen at all."""
        real = self._real(planned, path)
        if is_within_any(real, NEVER_WRITABLE) or real == "/" or not planned.is_shown(real):
            return
        if hide and os.path.dirname(real) == self._home:
            planned.hidden_in_home.add(os.path.basename(real))
        if os.path.lexists(real):
            kind: Kind = "read" if not hide else "folder" if os.path.isdir(real) else "file"
            self._add(planned, real, kind)
        elif planned.is_writable(real) and os.path.dirname(real) != self._home:
            for stand_in in self._existing(planned, real):
                self._add(planned, stand_in, "read")

    def _real(self, planned: _Planned, path: str) -> str:
        """A path to be closed without its symbolic links, each of which is kept from being replaced."""
        real, links = follow(path)
        for link in links:
            if not _lies_in(link, planned.roots):
                continue
            folder = os.path.dirname(link)
            if folder in planned.roots:
                raise SandboxUnavailable(
                    f"{path} leads through the symbolic link {link} in a writable directory, which cannot be kept "
                    "from being replaced; name what it leads to, or choose other writable roots"
                )
            self._add(planned, folder, "nested")
        return real

    def _existing(self, planned: _Planned, path: str) -> list[str]:
        """The path, or a stand-in for the first part of it that does not exist, if it could be made."""
        if os.path.lexists(path):
            return [path]
        folder, name = os.path.split(path)
        while not os.path.lexists(folder):
            folder, name = os.path.split(folder)
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
            return []
        return self._hold(planned, folder, (name,))

    def _hold(self, planned: _Planned, folder: str, names: Sequence[str]) -> list[str]:
        held = self._stand_ins.hold(folder, names)
        planned.held.append(held)
        return [os.path.join(folder, name) for name in held.names]

    # What can be read

    def _show_readable(self, planned: _Planned) -> None:
        """Where not everything is readable: what programs need to start, and the readable roots."""
        if not planned.is_minimal:
            return
        for path in (*SYSTEM, *(os.path.join("/etc", name) for name in ETC)):
            if os.path.islink(path) and os.path.dirname(path) == "/":
                planned.links.append((os.readlink(path), path))
            elif os.path.exists(path):
                planned.mounts[path] = Mount(path, "system")
        readable = planned.profile.readable_roots or ()
        for path in readable:
            real, _ = follow(path)
            if real not in planned.mounts and os.path.exists(real) and not is_within_any(real, NEVER_WRITABLE):
                if real == "/":
                    raise SandboxUnavailable("the root directory cannot be one readable root among others")
                self._add(planned, real, "read")
        for path in (*readable, *planned.profile.writable_roots):
            real, _ = follow(path)
            if real != (named := os.path.normpath(path)) and not planned.is_shown(os.path.dirname(named)):
                planned.links.append((real, named))

    def _show_home(self, planned: _Planned) -> None:
        """Show of $CODEX_HOME what is not denied, and so neither what is made there later nor what replaces it."""
        home = self._home
        if home is None or home in planned.roots or not planned.hidden_in_home or not os.path.isdir(home):
            return
        if not planned.is_shown(home):
            return
        shown: list[str] = []
        links: list[tuple[str, str]] = []
        with os.scandir(home) as entries:
            for entry in entries:
                if entry.name in planned.hidden_in_home:
                    continue
                if entry.is_symlink():
                    links.append((os.readlink(entry.path), entry.path))
                elif entry.is_dir() or entry.is_file():
                    shown.append(entry.path)
        if len(shown) > HOME_ENTRIES:
            return
        for name in planned.hidden_in_home:
            planned.mounts.pop(os.path.join(home, name), None)
        planned.mounts[home] = Mount(home, "home", None, tuple(sorted(shown)), tuple(sorted(links)))

    # The end

    def _add(self, planned: _Planned, path: str, kind: Kind) -> None:
        try:
            fd, identity = open_without_links(path)
        except OSError as error:
            if kind == "nested":
                return
            raise _Vanished(f"{path} cannot be protected: {error.strerror}; run the command again") from error
        if kind in ("nested", "step"):
            planned.witnesses.append(fd)
            planned.mounts[path] = Mount(path, kind, identity, witness=fd)
        else:
            os.close(fd)
            planned.mounts[path] = Mount(path, kind, identity)

    def _finish(self, planned: _Planned) -> Mounts:
        roots, mounts = planned.roots, planned.mounts
        for path, mount in list(mounts.items()):
            if mount.kind not in ("write", "system"):
                for step in _folders_around(path, roots):
                    if step not in mounts and planned.is_writable(step):
                        self._add(planned, step, "step")
        if mounts.pop("/", None) is not None and os.path.isdir("/sys"):
            mounts["/sys"] = Mount("/sys", "system")
        if len(mounts) > MOUNTS:
            raise SandboxUnavailable(
                f"the writable roots hold so many repositories that {len(mounts)} places would have to be protected "
                f"(at most {MOUNTS}); choose narrower writable roots: {', '.join(roots)}"
            )
        return Mounts(
            "minimal" if planned.is_minimal else "write" if "/" in roots else "read",
            tuple(mounts[path] for path in sorted(mounts)),
            tuple(planned.links),
            tuple(planned.opened),
            tuple(planned.witnesses),
        )


def git_directories(pointer: str) -> list[str]:
    """The git directory that a `.git` file names, and the one that it shares with its main worktree."""
    directory = _read_path(pointer, b"gitdir:")
    if directory is None:
        return []
    common = _read_path(os.path.join(directory, "commondir"), b"")
    return [directory] if common is None else [directory, common]


def _read_path(file: str, prefix: bytes) -> str | None:
    try:
        with open(file, "rb") as handle:
            first = handle.read(8192)
    except OSError:
        return None
    if not first.startswith(prefix):
        return None
    named = os.fsdecode(first[len(prefix) :].split(b"\n", 1)[0].strip())
    return os.path.join(os.path.dirname(file), named) if named else None


def _innermost(mounts: Mapping[str, Mount], path: str) -> Mount | None:
    """The mount that decides about a path: its own, or that of the nearest folder around it."""
    while path not in mounts:
        if path == "/":
            return None
        path = os.path.dirname(path)
    return mounts[path]


def _lies_in(path: str, roots: Iterable[str]) -> bool:
    """Whether a path is an entry in or below one of the directories."""
    return is_within_any(os.path.dirname(path), tuple(roots)) and path != "/"


def _folders_around(path: str, roots: Sequence[str]) -> Iterator[str]:
    """The folders between a path and the outermost writable root around it, without that root."""
    outermost = min((root for root in roots if is_within_any(path, (root,))), key=len, default=path)
    folder = os.path.dirname(path)
    while len(folder) > len(outermost):
        yield folder
        folder = os.path.dirname(folder)
