"""view_image: the model looks at an image file."""

import base64
import fnmatch
import os
import stat
from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio.to_thread

from app_server.rpc.outbound import now_ms
from app_server.sandbox.permissions import PermissionProfile
from app_server.tools.arguments import Arguments
from app_server.tools.context import ToolCall, ToolError, ToolOutput, TurnContext
from protocol.v2.item import ImageViewThreadItem

MAX_BYTES = 20 * 1024 * 1024
"""The largest image that is sent to the model."""

SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
"""How the formats begin that models take; WebP is recognised by its fourth to eleventh byte."""

SPEC: Mapping[str, Any] = {
    "type": "function",
    "name": "view_image",
    "description": "Shows you an image file (PNG, JPEG, GIF or WebP) of this machine.",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"path": {"type": "string", "description": "The file; relative to the workspace."}},
        "required": ["path"],
        "additionalProperties": False,
    },
}


class ViewImageTool:
    """Reads the file under the turn's profile, which may deny it."""

    name = "view_image"
    parallel = True

    def spec(self, turn: TurnContext) -> Mapping[str, Any] | None:
        """Offered to models that see."""
        return SPEC if "image" in turn.model.input_modalities else None

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """The image as content for the model, and an item for the user."""
        named = Arguments.parse(call.arguments).path("path")
        path, url = await anyio.to_thread.run_sync(partial(_read, named, turn.cwd, turn.profile))
        at = now_ms()
        item = ImageViewThreadItem(id=call.call_id, path=path, started_at_ms=at)
        await turn.items.started(item)
        await turn.items.completed(item.model_copy(update={"completed_at_ms": at}))
        return ToolOutput(f"image {path}", content=[{"type": "input_image", "image_url": url, "detail": "high"}])


def _read(named: str, cwd: str, profile: PermissionProfile) -> tuple[str, str]:
    """The file's absolute path and its content as a data URL. For a worker thread."""
    path = os.path.normpath(os.path.join(cwd, named))
    try:
        # Judged and read by one descriptor, so that a link changed in between gains nothing.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ToolError(f"unable to locate image at `{path}`: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ToolError(f"unable to read image at `{path}`: it is no file")
    with open(fd, "rb") as file:
        if not _may_read(profile, _place_of(fd, path)):
            raise ToolError(f"unable to read image at `{path}`: the permission profile denies it")
        try:
            data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ToolError(f"unable to read image at `{path}`: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ToolError(f"unable to process image: {path} is larger than {MAX_BYTES // 1024 // 1024} MB")
    kind = next((kind for start, kind in SIGNATURES if data.startswith(start)), None)
    if kind is None and data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "image/webp"
    if kind is None:
        raise ToolError("unable to process image: it is no PNG, JPEG, GIF or WebP file")
    return path, f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _may_read(profile: PermissionProfile, path: str) -> bool:
    if profile.kind != "restricted":
        return True
    if any(_is_within(path, os.path.realpath(denied)) for denied in profile.denied):
        return False
    if any(fnmatch.fnmatchcase(path, pattern) for pattern in profile.denied_patterns):
        return False
    roots = profile.readable_roots
    allowed = None if roots is None else (*roots, *profile.writable_roots)
    return allowed is None or any(_is_within(path, os.path.realpath(root)) for root in allowed)


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _place_of(fd: int, path: str) -> str:
    """Where an open file really is."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return os.path.realpath(path)
