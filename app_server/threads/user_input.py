"""A user's input as the model reads it."""

import base64
import mimetypes
import os
from collections.abc import Sequence
from typing import Any

import anyio.to_thread

from protocol.jsonrpc import invalid_request
from protocol.v2.user_input import (
    ImageUserInput,
    LocalImageUserInput,
    MentionUserInput,
    SkillUserInput,
    TextUserInput,
    UserInput,
)

MAX_IMAGE_BYTES = 20 * 1024 * 1024


def preview_of(inputs: Sequence[UserInput]) -> str:
    """The text that lists show for a thread which began with `inputs`."""
    texts = [part.text for part in inputs if isinstance(part, TextUserInput)]
    return "\n".join(texts).strip() or ("[image]" if inputs else "")


async def model_content(inputs: Sequence[UserInput]) -> list[dict[str, Any]]:
    """The content parts of the model's user message. Raises -32600 naming what cannot be read or sent."""
    parts: list[dict[str, Any]] = []
    for index, part in enumerate(inputs):
        if isinstance(part, TextUserInput):
            parts.append({"type": "input_text", "text": part.text})
        elif isinstance(part, ImageUserInput):
            source = {"image_url": part.url} if part.url is not None else {"file_id": part.file_id}
            parts.append({"type": "input_image", **source} | ({"detail": part.detail} if part.detail else {}))
        elif isinstance(part, LocalImageUserInput):
            url = await anyio.to_thread.run_sync(_data_url, part.path, index)
            parts.append({"type": "input_text", "text": f"<image path={part.path}>"})
            parts.append({"type": "input_image", "image_url": url} | ({"detail": part.detail} if part.detail else {}))
        elif isinstance(part, MentionUserInput):
            parts.append({"type": "input_text", "text": f"[{part.type}: {part.name}]({part.path})"})
        elif isinstance(part, SkillUserInput):
            # Its text follows the message. Alone it must not leave the message empty.
            if len(inputs) == 1:
                parts.append({"type": "input_text", "text": f"${part.name}"})
        else:
            raise invalid_request(f"`input.{index}`: {part.type} input is not supported by this server")
    return parts


def _data_url(path: str, index: int) -> str:
    where = f"`input.{index}.path`"
    if not os.path.isabs(path):
        raise invalid_request(f"{where} must be absolute, got `{path}`")
    try:
        size = os.path.getsize(path)
        if size > MAX_IMAGE_BYTES:
            raise invalid_request(f"{where}: {path} is larger than {MAX_IMAGE_BYTES // (1024 * 1024)} MiB")
        with open(path, "rb") as file:
            data = file.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise invalid_request(f"{where}: cannot read {path}: {error.strerror}") from error
    kind = mimetypes.guess_type(path)[0] or "image/png"
    if not kind.startswith("image/"):
        raise invalid_request(f"{where}: {path} is no image ({kind})")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
