"""request_permissions: the model asks the user for more than the sandbox policy gives it."""

import os
from collections.abc import Mapping
from typing import Any

import orjson

from app_server.tools.arguments import Arguments
from app_server.tools.context import ToolCall, ToolError, ToolOutput, TurnContext
from protocol.v2.permissions import (
    AdditionalFileSystemPermissions,
    AdditionalNetworkPermissions,
    FileSystemSandboxEntry,
    PathFileSystemPath,
    RequestPermissionProfile,
)

FEATURE = "request_permissions_tool"

SPEC: Mapping[str, Any] = {
    "type": "function",
    "name": "request_permissions",
    "description": (
        "Asks the user for permission to read or write further paths or to use the network. What is granted, which may "
        "be less, holds for the commands and patches of this turn, or of the whole session if the user says so."
    ),
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {
            "permissions": {
                "type": "object",
                "description": "What is needed.",
                "properties": {
                    "file_system": {
                        "type": "object",
                        "properties": {
                            "read": {"type": "array", "items": {"type": "string"}, "description": "Paths to read."},
                            "write": {"type": "array", "items": {"type": "string"}, "description": "Paths to write."},
                        },
                        "additionalProperties": False,
                    },
                    "network": {
                        "type": "object",
                        "properties": {"enabled": {"type": "boolean", "description": "True asks for the network."}},
                        "additionalProperties": False,
                    },
                },
                "additionalProperties": False,
            },
            "reason": {"type": "string", "description": "What they are needed for, in one sentence."},
        },
        "required": ["permissions"],
        "additionalProperties": False,
    },
}


class RequestPermissionsTool:
    """A grant is never wider than what was asked for."""

    name = "request_permissions"
    parallel = False

    def spec(self, turn: TurnContext) -> Mapping[str, Any] | None:
        """Offered where the feature is on and the user may be asked."""
        return SPEC if turn.config.feature(FEATURE) and _may_ask(turn) else None

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """The grant as JSON."""
        if not _may_ask(turn):
            raise ToolError("the approval policy does not allow asking the user for permissions")
        arguments = Arguments.parse(call.arguments)
        wanted = wanted_permissions(arguments.table("permissions"), turn.cwd)
        reason = arguments.optional_text("reason")
        answer = await turn.approvals.ask_permissions(turn.turn_id, call.call_id, turn.cwd, wanted, reason)
        if answer.scope == "turn":
            turn.granted.append(answer.permissions)
        files, network = answer.permissions.file_system, answer.permissions.network
        granted = {
            "network": None if network is None else network.model_dump(exclude_none=True),
            "file_system": None if files is None else files.model_dump(exclude_none=True),
        }
        result: dict[str, Any] = {"permissions": granted, "scope": answer.scope}
        if answer.strict_auto_review:
            result["strict_auto_review"] = True
        return ToolOutput(orjson.dumps(result).decode())


def _may_ask(turn: TurnContext) -> bool:
    if turn.granular is not None:
        return turn.granular.request_permissions
    return turn.approval_kind != "never"


def wanted_permissions(permissions: Arguments, cwd: str) -> RequestPermissionProfile:
    files, network = permissions.table("file_system"), permissions.table("network").flag("enabled")
    read, write = (_absolute(files.texts(name), cwd) for name in ("read", "write"))
    if not read and not write and not network:
        raise ToolError("ask for at least one path to read or write, or for the network")
    entries = [FileSystemSandboxEntry(access="read", path=PathFileSystemPath(path=path)) for path in read or ()]
    entries += [FileSystemSandboxEntry(access="write", path=PathFileSystemPath(path=path)) for path in write or ()]
    return RequestPermissionProfile(
        file_system=AdditionalFileSystemPermissions(read=read, write=write, entries=entries) if entries else None,
        network=AdditionalNetworkPermissions(enabled=True) if network else None,
    )


def _absolute(paths: list[str] | None, cwd: str) -> list[str] | None:
    return None if not paths else [os.path.normpath(os.path.join(cwd, path)) for path in paths]
