"""A review that a client asks for: of the call that a thread ends with, before anybody runs it."""

import os
from typing import TYPE_CHECKING, Any

import orjson

from app_server.approvals import actions
from app_server.approvals.actions import Action
from app_server.approvals.assessment import Assessment
from app_server.tools.arguments import Arguments
from app_server.tools.context import ToolError
from app_server.tools.request_permissions import wanted_permissions
from protocol.jsonrpc import invalid_request

if TYPE_CHECKING:
    from app_server.threads.thread import Thread

_CALLS = ("function_call", "custom_tool_call")


async def review_last_call(thread: "Thread") -> tuple[str, Assessment | None]:
    """The id of the call that the history ends with, and what the reviewer thinks of it.

    None where a user and no model decides in this thread, and where the reviewer came to no verdict. Raises -32600
    while a turn runs and unless the last thing in the history is a call that a review can be about.
    """
    if not await thread.settled():
        raise invalid_request("thread has an active turn")
    last: Any = orjson.loads(thread.history[-1]) if thread.history else {}
    call_id = last.get("call_id")
    if last.get("type") not in _CALLS or not isinstance(call_id, str) or not call_id:
        raise invalid_request(
            "expected a completed plaintext exec_command, apply_patch, request_permissions, or MCP call with a "
            "nonempty call ID"
        )
    try:
        action = _action(last, thread.settings.cwd)
    except ToolError as error:
        raise invalid_request(str(error)) from error
    return call_id, None if thread.asks_the_user else await thread.approvals.guardian.assess(action)


def _action(call: dict[str, Any], cwd: str) -> Action:
    """What the call would do. Raises ToolError for arguments that cannot be read and tools that need no review."""
    name, text = call.get("name"), str(call.get("arguments") or call.get("input") or "")
    if name == "apply_patch":
        return actions.patch([], text if "input" in call else Arguments.parse(text).text("input"), cwd)
    if name == "request_permissions":
        arguments = Arguments.parse(text)
        wanted = wanted_permissions(arguments.table("permissions"), cwd)
        return actions.permissions(wanted, cwd, arguments.optional_text("reason"))
    if name != "exec_command":
        raise ToolError("unsupported tool for direct review")
    arguments = Arguments.parse(text)
    script = arguments.text("cmd")
    return actions.command(
        script,
        [script],
        os.path.normpath(os.path.join(cwd, arguments.optional_text("workdir") or ".")),
        escalated=arguments.optional_text("sandbox_permissions") == "require_escalated",
        tty=arguments.flag("tty") or False,
        justification=arguments.optional_text("justification"),
    )
