"""Showing a patch to clients while the model still writes it."""

import os
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from app_server.tools.apply_patch import NAME
from app_server.tools.patch import AddFile, DeleteFile, Hunk, PatchStream, Section
from app_server.tools.turn_diff import shown
from protocol.v2.item import AddPatchChangeKind, DeletePatchChangeKind, FileUpdateChange, UpdatePatchChangeKind
from protocol.v2.turn import ITEM_FILE_CHANGE_PATCH_UPDATED, FileChangePatchUpdatedNotification

INTERVAL = 0.5
"""Seconds between two updates of a patch; the last one always comes."""

LARGEST = 256 * 1024
"""Characters of a patch that is still shown while it is written; a larger one is shown once it starts."""

Publish = Callable[[Any, FileChangePatchUpdatedNotification], None]


class PatchPreviews:
    """The patches of one answer of the model, by the id of the model's item. Freeform calls only."""

    def __init__(self, publish: Publish, thread_id: str, turn_id: str, cwd: str) -> None:
        self._publish, self._thread_id, self._turn_id, self._cwd = publish, thread_id, turn_id, cwd
        self._open: dict[str | None, _Preview] = {}

    def begin(self, item: Mapping[str, Any]) -> None:
        """The model has begun an item; only patches count."""
        call_id = item.get("call_id")
        if item.get("type") == "custom_tool_call" and item.get("name") == NAME and isinstance(call_id, str):
            self._open[item.get("id")] = _Preview(call_id)

    def delta(self, item_id: str | None, text: str) -> None:
        """The model went on with an item."""
        preview = self._open.get(item_id)
        if preview is None:
            return
        preview.size += len(text)
        if preview.size > LARGEST:
            del self._open[item_id]
        elif preview.stream.feed(text) and monotonic() - preview.told_at >= INTERVAL:
            self._tell(preview)

    def end(self, item: Mapping[str, Any]) -> None:
        """An item is complete."""
        preview = self._open.pop(item.get("id"), None)
        if preview is not None:
            # The last line has no newline of its own.
            preview.stream.feed("\n")
            self._tell(preview)

    def _tell(self, preview: "_Preview") -> None:
        changes = changes_of(preview.stream.sections, self._cwd)
        if changes == preview.told:
            return
        preview.told, preview.told_at = changes, monotonic()
        params = FileChangePatchUpdatedNotification(
            thread_id=self._thread_id, turn_id=self._turn_id, item_id=preview.call_id, changes=changes
        )
        self._publish(ITEM_FILE_CHANGE_PATCH_UPDATED, params)


class _Preview:
    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.stream = PatchStream()
        self.size = 0
        self.told: list[FileUpdateChange] = []
        self.told_at = -INTERVAL


def changes_of(sections: Sequence[Section], cwd: str) -> list[FileUpdateChange]:
    """Sections as clients see changes, without a look at the files: hunks have no line numbers yet."""
    return [_change(section, cwd) for section in sections]


def _change(section: Section, cwd: str) -> FileUpdateChange:
    path = _absolute(section.path, cwd)
    if isinstance(section, AddFile):
        return FileUpdateChange(path=path, kind=AddPatchChangeKind(), diff=section.text)
    if isinstance(section, DeleteFile):
        return FileUpdateChange(path=path, kind=DeletePatchChangeKind(), diff="")
    target = None if section.move_to is None else _absolute(section.move_to, cwd)
    moved = "" if target is None else f"\n\nMoved to: {target}"
    diff = "".join(map(_shown_hunk, section.hunks)) + moved
    return FileUpdateChange(path=path, kind=UpdatePatchChangeKind(move_path=target), diff=diff)


def _absolute(path: str, cwd: str) -> str:
    return shown(os.path.normpath(os.path.join(cwd, path)))


def _shown_hunk(hunk: Hunk) -> str:
    heads = [f"@@ {context}" for context in hunk.contexts] or ["@@"]
    return "".join(f"{line}\n" for line in [*heads, *(tag + text for tag, text, _ in hunk.lines)])
