"""Actions that a model reviews: as clients see them, as the reviewer does, and as an approval of a denied one does."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from msgspec import Struct

from protocol.v2.permissions import AdditionalPermissionProfile, NetworkApprovalProtocol, RequestPermissionProfile
from protocol.v2.review import (
    ApplyPatchGuardianApprovalReviewAction,
    CommandGuardianApprovalReviewAction,
    GuardianApprovalReviewAction,
    McpToolCallGuardianApprovalReviewAction,
    NetworkAccessGuardianApprovalReviewAction,
    RequestPermissionsGuardianApprovalReviewAction,
    WriteStdinGuardianApprovalReviewAction,
)

USER_SHELL = "user_shell"
"""The tool of commands that the user has typed."""


class Action(Struct, frozen=True):
    """Something that is to happen. `planned` is all that is known about it; `note` is why it is asked about."""

    shown: GuardianApprovalReviewAction
    planned: Mapping[str, Any]
    note: str | None = None

    def core(self) -> dict[str, Any]:
        """The action as `thread/approveGuardianDeniedAction` names it: with snake_case members and values."""
        members: dict[str, Any] = _snake_keys(self.shown.model_dump(by_alias=True))
        for name in ("type", "source", "protocol"):
            if name in members:
                members[name] = _snake(members[name])
        return members


def command(
    shown: str,
    argv: Sequence[str],
    cwd: str,
    *,
    escalated: bool,
    tty: bool,
    justification: str | None = None,
    additional: AdditionalPermissionProfile | None = None,
    note: str | None = None,
) -> Action:
    """A command, `shown` as one line. `escalated` is outside the sandbox, `additional` what it wants within it."""
    permissions = "with_additional_permissions" if additional is not None else "use_default"
    planned: dict[str, Any] = {
        "tool": "exec_command",
        "command": list(argv),
        "cwd": cwd,
        "sandbox_permissions": "require_escalated" if escalated else permissions,
        "tty": tty,
        "justification": justification,
    }
    if additional is not None:
        planned["additional_permissions"] = additional.model_dump(exclude_none=True, by_alias=False)
    action = CommandGuardianApprovalReviewAction(source="unifiedExec", command=shown, cwd=cwd)
    return Action(action, planned, note)


def write_stdin(process_id: str, chars: str, cwd: str, approval_id: str, note: str | None = None) -> Action:
    """Input for a command that runs outside the sandbox."""
    planned = {"tool": "write_stdin", "session_id": process_id, "chars": chars, "cwd_at_its_start": cwd}
    action = WriteStdinGuardianApprovalReviewAction(
        approval_id=approval_id, process_id=process_id, stdin=chars, cwd=cwd
    )
    return Action(action, planned, note)


def patch(files: Sequence[str], text: str, cwd: str, note: str | None = None) -> Action:
    """A patch; `files` are those that need an approval."""
    planned = {"tool": "apply_patch", "files": list(files), "cwd": cwd, "patch": text}
    return Action(ApplyPatchGuardianApprovalReviewAction(cwd=cwd, files=list(files)), planned, note)


def permissions(wanted: RequestPermissionProfile, cwd: str, reason: str | None) -> Action:
    """A request for more permissions, for the rest of the turn."""
    profile = wanted.model_dump(exclude_none=True, by_alias=False)
    planned = {"tool": "request_permissions", "cwd": cwd, "permissions": profile, "reason": reason, "scope": "turn"}
    return Action(RequestPermissionsGuardianApprovalReviewAction(reason=reason, permissions=wanted), planned)


def network(target: str, host: str, port: int, protocol: NetworkApprovalProtocol, trigger: Mapping[str, Any]) -> Action:
    """A connection that a command wants to make; `trigger` is that command."""
    planned = {
        "tool": "network_access",
        "target": target,
        "host": host,
        "port": port,
        "protocol": protocol,
        "trigger": dict(trigger),
    }
    action = NetworkAccessGuardianApprovalReviewAction(target=target, host=host, port=port, protocol=protocol)
    return Action(action, planned)


def mcp_call(
    server: str,
    tool: str,
    arguments: Any,
    *,
    title: str | None = None,
    description: str | None = None,
    annotations: Mapping[str, Any] | None = None,
) -> Action:
    """A call of a tool of an MCP server."""
    planned = {
        "tool": "mcp_tool_call",
        "server": server,
        "tool_name": tool,
        "tool_title": title,
        "tool_description": description,
        "annotations": None if annotations is None else dict(annotations),
        "arguments": arguments,
    }
    action = McpToolCallGuardianApprovalReviewAction(server=server, tool_name=tool, tool_title=title)
    return Action(action, planned)


_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


def _snake(name: str) -> str:
    return _CAPITAL.sub(lambda found: f"_{found[1].lower()}", name)


def _snake_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {_snake(key): _snake_keys(each) for key, each in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_snake_keys(each) for each in cast("list[Any]", value)]
    return value
