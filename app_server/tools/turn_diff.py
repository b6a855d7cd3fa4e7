"""What the patches of a turn have changed so far, as one diff that git reads."""

import os
import re
from collections.abc import Mapping, Sequence
from hashlib import sha1
from stat import S_ISLNK

from msgspec import Struct, field

from app_server.tools.diffs import unified_diff

CONTEXT = 3
"""Lines around each change."""

BINARY_PROBE = 8000
"""A zero byte among the first so many makes a file binary, as git has it."""

_NO_BLOB = "0" * 40
_QUOTED = re.compile(r'["\\\x00-\x1f\x7f]')


class FileVersion(Struct, frozen=True):
    """A file at one time; `mode` is as of stat."""

    content: bytes
    mode: int

    @property
    def text(self) -> str | None:
        """The content as text; None for a binary file."""
        return None if b"\0" in self.content[:BINARY_PROBE] else self.content.decode("utf-8", "surrogateescape")

    @property
    def git_mode(self) -> str:
        """The mode as git writes it."""
        if S_ISLNK(self.mode):
            return "120000"
        return "100755" if self.mode & 0o100 else "100644"

    @property
    def blob(self) -> str:
        """The name that git has for the content."""
        return sha1(b"blob %d\0" % len(self.content) + self.content, usedforsecurity=False).hexdigest()


class FileChange(Struct, frozen=True):
    """A file as a patch found it and as it left it, None for no file. `moved_from` is where its content was before."""

    path: str
    before: FileVersion | None
    after: FileVersion | None
    moved_from: str | None = None


class TurnDiff(Struct):
    """Remembers each file as it was before the first patch of the turn touched it. Blocks: use it in a worker thread.

    What others do to the files in between shows only where a patch touches them again.
    """

    _first: dict[str, FileVersion | None] = field(default_factory=dict[str, FileVersion | None])
    _latest: dict[str, FileVersion | None] = field(default_factory=dict[str, FileVersion | None])
    _origins: dict[str, str] = field(default_factory=dict[str, str])
    _known: dict[tuple[str, str, str], tuple[FileVersion | None, FileVersion | None, str]] = field(
        default_factory=dict[tuple[str, str, str], tuple[FileVersion | None, FileVersion | None, str]]
    )

    def record(self, changes: Sequence[FileChange]) -> None:
        """Take note of what a patch has changed."""
        for change in changes:
            self._first.setdefault(change.path, change.before)
            self._latest[change.path] = change.after
        for change in changes:
            if change.moved_from is not None:
                self._origins[change.path] = self._origins.pop(change.moved_from, change.moved_from)

    def text(self, cwd: str) -> str:
        """The diff since the turn began; empty if everything is as it was.

        Paths are relative to the repository around `cwd`, or to `cwd`; those outside of it are absolute.
        """
        top = _repository_around(cwd) or cwd
        renamed = self._renames()
        sources = set(renamed.values())
        parts: list[tuple[str, str]] = []
        for path in self._latest:
            if path in sources and self._latest[path] is None:
                continue
            source = renamed.get(path, path)
            parts.append((source, self._file(source, path, top)))
        return "".join(text for _, text in sorted(parts))

    def _renames(self) -> Mapping[str, str]:
        """Where files came from that are new, and whose origin is gone."""
        return {
            path: origin
            for path, origin in self._origins.items()
            if origin != path
            and self._latest.get(path) is not None
            and self._first.get(path) is None
            and self._first.get(origin) is not None
            and self._latest.get(origin) is None
        }

    def _file(self, source: str, path: str, top: str) -> str:
        before, after = self._first.get(source), self._latest[path]
        known = self._known.get((source, path, top))
        if known is not None and known[0] is before and known[1] is after:
            return known[2]
        text = "" if before == after and source == path else _file_diff(before, after, source, path, top)
        self._known[source, path, top] = (before, after, text)
        return text


def _file_diff(before: FileVersion | None, after: FileVersion | None, source: str, path: str, top: str) -> str:
    old, new = _name("a/", source, top), _name("b/", path, top)
    lines = [f"diff --git {old} {new}"]
    mode = ""
    if before is None or after is None:
        if before is not None:
            lines.append(f"deleted file mode {before.git_mode}")
        if after is not None:
            lines.append(f"new file mode {after.git_mode}")
    elif before.git_mode != after.git_mode:
        lines += [f"old mode {before.git_mode}", f"new mode {after.git_mode}"]
    else:
        mode = f" {before.git_mode}"
    if source != path:
        lines += [f"rename from {_name('', source, top)}", f"rename to {_name('', path, top)}"]
    old_content = b"" if before is None else before.content
    new_content = b"" if after is None else after.content
    if before is None or after is None or old_content != new_content:
        blobs = (_NO_BLOB if version is None else version.blob for version in (before, after))
        lines.append(f"index {'..'.join(blobs)}{mode}")
    old = old if before is not None else "/dev/null"
    new = new if after is not None else "/dev/null"
    texts = ["" if version is None else version.text for version in (before, after)]
    if old_content == new_content:
        hunks = ""
    elif texts[0] is None or texts[1] is None:
        hunks = f"Binary files {old} and {new} differ\n"
    else:
        # A name with a space is followed by a tab, which is how git knows where it ends.
        heads = [f"--- {old}" + "\t" * (" " in old), f"+++ {new}" + "\t" * (" " in new)]
        hunks = "\n".join([*heads, shown(unified_diff(texts[0], texts[1], CONTEXT))])
    return "\n".join([*lines, hunks])


def shown(text: str) -> str:
    """Text of a file with replacement characters for what is no UTF-8, so that it can be sent."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _name(side: str, path: str, top: str) -> str:
    inside = path.startswith(top.rstrip("/") + "/")
    name = side + shown(os.path.relpath(path, top) if inside else path)
    if not _QUOTED.search(name):
        return name
    return '"' + _QUOTED.sub(lambda found: _ESCAPES.get(found[0]) or f"\\{ord(found[0]):03o}", name) + '"'


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _repository_around(folder: str) -> str | None:
    while not _is_repository(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return folder


def _is_repository(entry: str) -> bool:
    # While a command runs, the sandbox may have an empty folder of this name.
    return os.path.isfile(entry) or os.path.exists(os.path.join(entry, "HEAD"))
