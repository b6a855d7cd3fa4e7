"""What a patch comes to on the files that are there: computed in full before anything is written."""

import os
from collections.abc import Callable, Sequence
from stat import S_ISLNK

from msgspec import Struct, field

from app_server.sandbox.guarded_files import FileProblem, FileState, FileWrite, GuardedFiles, Place
from app_server.tools.diffs import unified_diff
from app_server.tools.hunks import HunkError, apply_hunks
from app_server.tools.patch import AddFile, DeleteFile, Patch, Section, UpdateFile
from app_server.tools.turn_diff import FileChange, FileVersion, shown
from protocol.v2.item import (
    AddPatchChangeKind,
    DeletePatchChangeKind,
    FileUpdateChange,
    PatchChangeKind,
    UpdatePatchChangeKind,
)

CONTEXT = 1
"""Lines around each change in what clients are shown."""

BINARY_PROBE = 8000
"""A zero byte among the first so many makes a file binary."""


class PlanError(Exception):
    """The patch does not fit the files; the message is for the model, and nothing was changed."""


class PatchPlan(Struct):
    """What is to be written, and how it is shown to clients, to the turn's diff and to the model."""

    writes: list[FileWrite] = field(default_factory=list[FileWrite])
    changes: list[FileUpdateChange] = field(default_factory=list[FileUpdateChange])
    versions: list[FileChange] = field(default_factory=list[FileChange])
    added: list[str] = field(default_factory=list[str])
    modified: list[str] = field(default_factory=list[str])
    deleted: list[str] = field(default_factory=list[str])

    @property
    def places(self) -> list[Place]:
        """Every file that is written, removed or made."""
        return [write.place for write in self.writes]

    @property
    def summary(self) -> str:
        """What the model reads of a patch that was applied."""
        groups = (("A", self.added), ("M", self.modified), ("D", self.deleted))
        lines = [f"{letter} {path}" for letter, paths in groups for path in paths]
        return "\n".join(["Success. Updated the following files:", *lines, ""])


def plan(patch: Patch, cwd: str, files: GuardedFiles, *, check: Callable[[Sequence[Place]], None]) -> PatchPlan:
    """Apply a patch to what the files hold now, in memory. Blocks: call it in a worker thread.

    Paths are relative to `cwd`. `check` sees where the patch would write before a file is read, and may raise. Raises
    PlanError where a section does not fit, FileProblem where a file cannot be read.
    """
    if not os.path.isdir(cwd):
        raise PlanError(f"{cwd} is not a folder")
    planner = _Planner(cwd, files)
    located = [planner.locate(section) for section in patch.sections]
    check([place for entry in located for place in entry.written])
    for entry in _merged(located):
        planner.add(entry)
    planner.plan.changes.sort(key=lambda change: change.path)
    return planner.plan


class _Located(Struct):
    """A section and where its file is; `target` is where an update moves it, and `source` what then goes."""

    section: Section
    place: Place
    target: Place | None = None
    source: Place | None = None

    @property
    def named(self) -> str:
        """The file as the patch calls it."""
        return self.section.path

    @property
    def written(self) -> Sequence[Place]:
        """Where something changes."""
        return [self.place] if self.target is None or self.source is None else [self.target, self.source]


def _merged(located: Sequence[_Located]) -> list[_Located]:
    """One entry for each file. Updates of one file count as one, whose hunks come in the order of the patch."""
    merged: dict[str, _Located] = {}
    for entry in located:
        earlier = merged.get(entry.place.real)
        if earlier is not None:
            first, second = earlier.section, entry.section
            if not isinstance(first, UpdateFile) or not isinstance(second, UpdateFile) or earlier.target is not None:
                raise PlanError(
                    f"lines {first.line} and {second.line} are both about {entry.place.path}; "
                    "only updates of the same file can be given twice"
                )
            both = UpdateFile(first.path, first.line, second.move_to, [*first.hunks, *second.hunks])
            merged[entry.place.real] = _Located(both, earlier.place, entry.target, entry.source)
        else:
            merged[entry.place.real] = entry
    for entry in merged.values():
        if entry.target is None:
            continue
        others = [other for other in merged.values() if other is not entry]
        if any(entry.target.real in (other.place.real, other.target and other.target.real) for other in others):
            raise PlanError(f"line {entry.section.line}: another part of the patch is about {entry.target.path} too")
    return list(merged.values())


class _Planner:
    def __init__(self, cwd: str, files: GuardedFiles) -> None:
        self._cwd, self._files = cwd, files
        self.plan = PatchPlan()

    def locate(self, section: Section) -> _Located:
        """Where the file of a section is."""
        place = self._place(section.path, follow=not isinstance(section, DeleteFile))
        if isinstance(section, UpdateFile) and section.move_to is not None:
            target = self._place(section.move_to)
            if target.real != place.real:
                # What goes may be a link, whose target then stays.
                return _Located(section, place, target, self._place(section.path, follow=False))
        return _Located(section, place)

    def _place(self, path: str, *, follow: bool = True) -> Place:
        return self._files.locate(os.path.join(self._cwd, path), follow=follow)

    def add(self, entry: _Located) -> None:
        """Work out one section."""
        match entry.section:
            case AddFile() as section:
                self._add(entry, section)
            case DeleteFile():
                self._delete(entry)
            case UpdateFile() as section:
                self._update(entry, section)

    def _add(self, entry: _Located, section: AddFile) -> None:
        content = section.text.encode()
        before = self._read(entry.place)
        if before is None:
            self.plan.added.append(entry.named)
            self._show(entry.place, AddPatchChangeKind(), section.text)
        else:
            self.plan.modified.append(entry.named)
            self._show(entry.place, UpdatePatchChangeKind(), _diff(before.content, content))
        self._write(entry.place, before, content)

    def _delete(self, entry: _Located) -> None:
        before = self._files.read(entry.place)
        if before is None:
            raise PlanError(f"{entry.place.path} cannot be deleted: it does not exist")
        self.plan.deleted.append(entry.named)
        self._show(entry.place, DeletePatchChangeKind(), "" if _is_binary(before.content) else _text(before.content))
        self._write(entry.place, before, None)

    def _update(self, entry: _Located, section: UpdateFile) -> None:
        before = self._read(entry.place)
        if before is None:
            raise PlanError(f"{entry.place.path} cannot be updated: it does not exist")
        if section.hunks and _is_binary(before.content):
            raise PlanError(f"{entry.place.path} cannot be updated: it is a binary file")
        try:
            text = apply_hunks(before.content.decode("utf-8", "surrogateescape"), section.hunks)
        except HunkError as error:
            raise PlanError(f"{entry.place.path}: {error}") from error
        content = text.encode("utf-8", "surrogateescape")
        diff = _diff(before.content, content)
        if entry.target is None or entry.source is None:
            self.plan.modified.append(entry.named)
            self._show(entry.place, UpdatePatchChangeKind(), diff)
            if content != before.content:
                self._write(entry.place, before, content)
            return
        if self._files.read(entry.target) is not None:
            raise PlanError(f"{entry.place.path} cannot be moved to {entry.target.path}: that exists already")
        self.plan.modified.append(section.move_to or entry.named)
        moved = f"{diff}\n\nMoved to: {entry.target.path}"
        self._show(entry.place, UpdatePatchChangeKind(move_path=entry.target.path), moved)
        self._move(entry.target, entry.source, before, content)

    def _read(self, place: Place) -> FileState | None:
        state = self._files.read(place)
        if state is not None and S_ISLNK(state.mode):
            raise FileProblem(f"{place.path} is a symbolic link that leads nowhere")
        return state

    def _show(self, place: Place, kind: PatchChangeKind, diff: str) -> None:
        self.plan.changes.append(FileUpdateChange(path=shown(place.path), kind=kind, diff=diff))

    def _write(self, place: Place, before: FileState | None, content: bytes | None) -> None:
        self.plan.writes.append(FileWrite(place, before, content))
        old = None if before is None else FileVersion(before.content, before.mode)
        new = None if content is None else FileVersion(content, 0o644 if before is None else before.mode)
        self.plan.versions.append(FileChange(place.path, old, new))

    def _move(self, target: Place, source: Place, before: FileState, content: bytes) -> None:
        self.plan.writes.append(FileWrite(target, None, content, before.mode))
        version = FileVersion(content, before.mode)
        self.plan.versions.append(FileChange(target.path, None, version, moved_from=source.path))
        self._write(source, self._files.read(source), None)


def _is_binary(content: bytes) -> bool:
    return b"\0" in content[:BINARY_PROBE]


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _diff(before: bytes, after: bytes) -> str:
    if before == after:
        return ""
    if _is_binary(before):
        return "The file was binary.\n"
    old, new = before.decode("utf-8", "surrogateescape"), after.decode("utf-8", "surrogateescape")
    return shown(unified_diff(old, new, CONTEXT))
