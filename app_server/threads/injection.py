"""What clients add to the history that the model is shown, without saying anything in the thread."""

import os
from collections.abc import Sequence
from typing import Any, Final, cast

import anyio.to_thread
import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError

from app_server.threads.history import text_message
from protocol.jsonrpc import invalid_params, invalid_request
from protocol.v2.response_item import ResponseItem

PLAN_BYTES: Final = 64 * 1024
"""A longer plan is not shown to the model as a whole."""

PLAN_PROMPT: Final = "Carry out the approved plan."

_ITEM = TypeAdapter[ResponseItem](ResponseItem, config=ConfigDict(defer_build=True))


def checked_items(items: Sequence[Any]) -> list[bytes]:
    """Items of the Responses API as they go into a history. Raises -32600 naming the first that is none.

    Items of types that this version does not know are kept as they are: the provider may know them.
    """
    if not items:
        raise invalid_request("items must not be empty")
    return [_checked(item, index) for index, item in enumerate(items)]


def _checked(item: Any, index: int) -> bytes:
    if not isinstance(item, dict) or not isinstance(cast("dict[str, Any]", item).get("type"), str):
        raise invalid_request(f"items[{index}] is not a valid response item: it is no object with a `type`")
    values = cast("dict[str, Any]", item)
    try:
        _ITEM.validate_json(orjson.dumps(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        if first["type"] != "union_tag_invalid":
            place = ".".join(map(str, first["loc"][1:]))
            raise invalid_request(f"items[{index}] is not a valid response item: `{place}`: {first['msg']}") from None
    # Ids are the provider's, and it does not know those of another conversation.
    return orjson.dumps({name: value for name, value in values.items() if name != "id"})


async def approved_plan(markdown: str, attachment_path: str | None) -> bytes:
    """The entry that shows an approved plan to the model. Raises for an empty plan and one that cannot be shown."""
    if not markdown.strip():
        raise invalid_request("The approved plan is empty.")
    if attachment_path is not None and not os.path.isabs(attachment_path):
        raise invalid_params("`attachmentPath` must be absolute on the app server")
    if len(markdown.encode()) <= PLAN_BYTES:
        return text_message("user", f"<approved_plan>\n{markdown}\n</approved_plan>")
    if attachment_path is None or not await anyio.to_thread.run_sync(os.path.isfile, attachment_path):
        raise invalid_request(
            f"the plan is longer than {PLAN_BYTES // 1024} KiB; put it into a file on the server's machine and give "
            "its path as `attachmentPath`, or carry it out in the thread that made it"
        )
    return text_message("user", f"<approved_plan>\nThe plan is in the file {attachment_path}.\n</approved_plan>")
