"""Files that are read and changed for the model within the daemon itself, as far as a permission profile goes.

A command that runs at the same time may swap a folder for a symbolic link at any moment. So a path is resolved once,
judged as resolved, and then walked folder by folder without following links: what was judged is what is opened.
"""

import errno
import os
import stat
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from secrets import token_hex
from typing import Literal

from msgspec import Struct, field

from app_server.sandbox.mounts import follow
from app_server.sandbox.patterns import matches_any
from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.repositories import HEAD, NEVER_WRITABLE

LARGEST_FILE = 64 * 1024 * 1024
"""Bytes of a file that is still read."""

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Access = Literal["write", "ask", "never"]
"""What a profile says of changing a file: yes; only if somebody allows it; and not to be read either."""


class FileProblem(Exception):
    """A file could not be read or changed; the message is a sentence for the model that names it."""


class FilesLost(FileProblem):
    """A change failed halfway, and not all that was done before could be put back; the message names those files."""


class Place(Struct, frozen=True):
    """Where a file is: `path` as it was named, absolute and plain, and `real`, where symbolic links lead.

    `reason` says why `access` is not `write`.
    """

    path: str
    real: str
    access: Access
    reason: str = ""


class FileState(Struct, frozen=True):
    """What a file was when it was read: for a symbolic link, `content` is where it leads. `mode` is as of stat."""

    content: bytes
    mode: int
    stamp: tuple[int, ...]


class FileWrite(Struct, frozen=True):
    """What becomes of one file: `content`, or None to remove it. `before` is what it must be now, None for no file.

    `mode` are the permission bits of a new file, None for the usual ones; a file that exists keeps its own.
    """

    place: Place
    before: FileState | None
    content: bytes | None
    mode: int | None = None


class GuardedFiles:
    """Reads and changes files under a profile. Everything here blocks: call it in a worker thread."""

    def __init__(self, profile: PermissionProfile, hidden: Sequence[str] = ()) -> None:
        """`hidden` are real paths, such as those of secrets, that a restricted profile denies whatever it says."""
        self._profile, self._hidden = profile, hidden
        self._roots = _roots(profile)

    def locate(self, path: str, *, follow: bool = True) -> Place:
        """Resolve an absolute path. Without `follow` a symbolic link is the file, not what it leads to.

        Raises FileProblem where somebody exchanges a link and a folder meanwhile.
        """
        path = os.path.normpath(path)
        try:
            if follow:
                real = os.path.realpath(path)
            else:
                real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        except OSError as error:
            raise FileProblem(f"{path} changes while it is looked at: {error.strerror}") from error
        access, reason = self._judge(real)
        if reason and real != path:
            reason = f"it leads to {real}: {reason}"
        return Place(path, real, access, reason)

    def _judge(self, real: str) -> tuple[Access, str]:
        profile = self._profile
        denied = _innermost(real, profile.denied)
        allowed = max(_innermost(real, profile.writable_roots), _innermost(real, profile.readable_roots or ()))
        if (denied and denied >= allowed) or matches_any(real, profile.denied_patterns):
            return "never", "the permission profile denies it"
        if profile.kind != "restricted":
            return "write", ""
        if any(_is_within(real, path) for path in self._hidden):
            return "never", "it is a secret of the server"
        if profile.readable_roots is not None and not allowed:
            return "never", "the permission profile does not let it be read"
        if not self._roots:
            return "ask", "writing is blocked by the read-only sandbox"
        around = [root for root in self._roots if _is_within(real, root)]
        if not around:
            return "ask", "it is outside of the writable folders"
        if _innermost(real, profile.read_only) > max(len(root) for root in around):
            return "ask", "the permission profile keeps it read-only"
        for root in around:
            parts = _parts(os.path.relpath(real, root).lower())
            if parts and parts[0] in profile.protected_names:
                return "ask", f"{parts[0]} at the top of a writable folder is protected"
            if ".git" in parts:
                return "ask", "what is in .git is protected"
        if os.path.basename(real) == HEAD:
            return "ask", "a file of this name can make a folder a git repository"
        if (repository := _git_directory_around(real, around)) is not None:
            return "ask", f"{repository} is the inside of a git repository, which is protected"
        return "write", ""

    def read(self, place: Place) -> FileState | None:
        """The file as it is now, None if there is none. Raises FileProblem."""
        if place.access == "never":
            raise FileProblem(f"{place.path} may not be read or changed: {place.reason}")
        name = os.path.basename(place.real)
        with ExitStack() as stack:
            try:
                folder = _open_folder(os.path.dirname(place.real), stack)
                if stat.S_ISLNK((status := os.stat(name, dir_fd=folder, follow_symlinks=False)).st_mode):
                    link = os.readlink(os.fsencode(name), dir_fd=folder)
                    return FileState(link, status.st_mode, _stamp(status))
                if not stat.S_ISREG(status.st_mode):
                    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
                    raise FileProblem(f"{place.path} is {kind}")
                fd = os.open(name, _READ, dir_fd=folder)
            except FileNotFoundError:
                return None
            except OSError as error:
                raise _problem("read", place, error) from error
            with os.fdopen(fd, "rb") as file:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    raise FileProblem(f"{place.path} is no regular file")
                if status.st_size > LARGEST_FILE:
                    raise FileProblem(f"{place.path} has {status.st_size} bytes; at most {LARGEST_FILE} can be patched")
                try:
                    return FileState(file.read(LARGEST_FILE), status.st_mode, _stamp(status))
                except OSError as error:
                    raise _problem("read", place, error) from error

    def write(self, writes: Sequence[FileWrite], allowed: Collection[str] = ()) -> None:
        """Make all the changes, or none: what was done before one that fails is put back. Raises FileProblem.

        Each file is replaced in one step, so nobody ever sees half of one. `allowed` are the real paths of files
        whose change was asked about and allowed. A file that is no longer as `before` says is not touched.
        """
        for write in writes:
            if write.place.access == "never" or (write.place.access == "ask" and write.place.real not in allowed):
                raise FileProblem(f"{write.place.path} may not be changed: {write.place.reason}")
        with ExitStack() as stack:
            folders = _Folders(stack)
            staged: list[_Staged] = []
            done: list[_Staged] = []
            current = None
            try:
                for write in writes:
                    current = write.place
                    staged.append(_Staged.checked(write, folders))
                    staged[-1].stage()
                for change in staged:
                    current = change.write.place
                    change.commit()
                    done.append(change)
            except OSError as error:
                assert current is not None
                raise _problem("changed", current, error) from error
            finally:
                for change in staged:
                    change.discard()
                if len(done) < len(writes):
                    _undo(done, folders)


def _roots(profile: PermissionProfile) -> tuple[str, ...]:
    """The writable roots, without symbolic links, but for those that lead through a link which a command could make."""
    followed = [follow(root) for root in profile.writable_roots if os.path.exists(root)]
    every = {real for real, _ in followed}
    return tuple(
        dict.fromkeys(
            real
            for real, links in followed
            if not any(_is_within(real, path) for path in NEVER_WRITABLE)
            and not any(_is_within(link, root) for link in links for root in every)
        )
    )


class _Folders(Struct):
    """Opened folders, each once, and those of them that had to be made."""

    stack: ExitStack
    opened: dict[str, int] = field(default_factory=dict[str, int])
    made: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def open(self, path: str, *, make: bool) -> int:
        """Raises OSError."""
        if path not in self.opened:
            self.opened[path] = _open_folder(path, self.stack, self.made if make else None)
        return self.opened[path]


class _Staged(Struct):
    """A change that is ready to be made: the new content is on the disk under another name."""

    write: FileWrite
    folder: int
    name: str
    temporary: str | None = None

    @classmethod
    def checked(cls, write: FileWrite, folders: _Folders) -> "_Staged":
        """A change of a file that is still as it was. Raises OSError, FileProblem."""
        folder, name = os.path.split(write.place.real)
        staged = cls(write, folders.open(folder, make=write.content is not None), name)
        try:
            now = _stamp(os.stat(name, dir_fd=staged.folder, follow_symlinks=False))
        except FileNotFoundError:
            now = None
        if now != (None if write.before is None else write.before.stamp):
            raise FileProblem(f"{write.place.path} has changed since the patch was checked; read it again")
        return staged

    def stage(self) -> None:
        """Put the new content beside the file. Raises OSError."""
        if self.write.content is not None:
            self._store(self.write.content, self.write.before)

    def _store(self, content: bytes, like: FileState | None) -> None:
        """Write `content` under a new name, with owner, mode and attributes of the file that it is to replace."""
        temporary = f".{token_hex(8)}.tmp"
        fd = os.open(temporary, _CREATE, 0o666 if like is None else 0o600, dir_fd=self.folder)
        self.temporary = temporary
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            if like is None:
                if self.write.mode is not None:
                    os.fchmod(fd, self.write.mode & 0o777)
            else:
                self._copy_attributes(fd, like)

    def _copy_attributes(self, fd: int, like: FileState) -> None:
        try:
            old = os.open(self.name, _READ, dir_fd=self.folder)
        except FileNotFoundError:  # a removed file is put back
            os.fchmod(fd, like.mode & 0o777)
            return
        except OSError:
            old = None
        if old is not None:
            status = os.fstat(old)
            with suppress(OSError):
                os.fchown(fd, status.st_uid, status.st_gid)
            if hasattr(os, "listxattr"):
                with suppress(OSError):
                    for name in os.listxattr(old):
                        with suppress(OSError):
                            os.setxattr(fd, name, os.getxattr(old, name))
            os.close(old)
        os.fchmod(fd, like.mode & 0o777)

    def commit(self) -> None:
        """Make the change, in one step. Raises OSError."""
        if self.write.content is None:
            os.unlink(self.name, dir_fd=self.folder)
        else:
            self._put()

    def _put(self) -> None:
        assert self.temporary is not None
        os.rename(self.temporary, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        self.temporary = None

    def undo(self) -> None:
        """Put the file back as it was. Raises OSError."""
        before = self.write.before
        if before is None:
            os.unlink(self.name, dir_fd=self.folder)
        elif stat.S_ISLNK(before.mode):
            os.symlink(before.content, os.fsencode(self.name), dir_fd=self.folder)
        else:
            try:
                self._store(before.content, before)
                self._put()
            finally:
                self.discard()

    def discard(self) -> None:
        """Remove what was staged and is not needed."""
        if self.temporary is not None:
            with suppress(OSError):
                os.unlink(self.temporary, dir_fd=self.folder)
            self.temporary = None


def _undo(done: Sequence[_Staged], folders: _Folders) -> None:
    lost: list[str] = []
    for change in reversed(done):
        try:
            change.undo()
        except OSError:
            lost.append(change.write.place.path)
    for folder, name in reversed(folders.made):
        with suppress(OSError):
            os.rmdir(name, dir_fd=folder)
    if lost:
        raise FilesLost(f"the patch failed halfway, and these files could not be put back: {', '.join(lost)}")


def _open_folder(path: str, stack: ExitStack, made: list[tuple[int, str]] | None = None) -> int:
    """Open a folder whose path holds no symbolic links; with `made`, make what is missing. Raises OSError."""
    fd = os.open("/", _FOLDER)
    stack.callback(os.close, fd)
    for part in _parts(path):
        try:
            below = os.open(part, _FOLDER, dir_fd=fd)
        except FileNotFoundError:
            if made is None:
                raise
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=fd)
                made.append((fd, part))
            below = os.open(part, _FOLDER, dir_fd=fd)
        stack.callback(os.close, below)
        fd = below
    return fd


def _problem(what: str, place: Place, error: OSError) -> FileProblem:
    reason = error.strerror
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        reason = "a folder on the way is a symbolic link or a file"
    return FileProblem(f"{place.path} cannot be {what}: {reason}")


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    """What differs once a file is another one or has been written to."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _innermost(path: str, folders: Sequence[str]) -> int:
    """The length of the longest of the folders around `path`, wherever symbolic links in them lead; 0 for none."""
    candidates = {form for folder in folders for form in (os.path.normpath(folder), os.path.realpath(folder))}
    return max((len(folder) for folder in candidates if _is_within(path, folder)), default=0)


def _git_directory_around(real: str, roots: Sequence[str]) -> str | None:
    """A folder between the writable root and the file that git would take for a repository, whatever its name."""
    folder = os.path.dirname(real)
    while any(_is_within(folder, root) for root in roots):
        if os.path.isfile(os.path.join(folder, HEAD)) and (
            os.path.isdir(os.path.join(folder, "objects")) or os.path.isfile(os.path.join(folder, "commondir"))
        ):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return None
