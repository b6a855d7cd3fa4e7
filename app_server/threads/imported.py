"""The settings of a session of the reference, as a thread here goes on with them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace
from pydantic import ConfigDict, TypeAdapter, ValidationError

from app_server.config.settings import Settings
from app_server.store.rollouts.items import camel_keys
from app_server.store.rollouts.settings import SessionSettings
from app_server.threads.settings import ThreadSettings, configured
from protocol.v2.dynamic_tool import DynamicToolSpec
from protocol.v2.model import CollaborationMode
from protocol.v2.permissions import AskForApproval, GranularAskForApproval, ReadOnlySandboxPolicy, SandboxPolicy

_LATER: Final = ConfigDict(defer_build=True)
_SANDBOX: TypeAdapter[SandboxPolicy] = TypeAdapter(SandboxPolicy, config=_LATER)
_TOOLS: TypeAdapter[list[DynamicToolSpec]] = TypeAdapter(list[DynamicToolSpec], config=_LATER)

_APPROVALS: Final[dict[Any, AskForApproval]] = {
    "untrusted": "untrusted",
    "on-request": "on-request",
    "on-failure": "on-request",
    "never": "never",
}
_SANDBOXES: Final = {
    "read-only": "readOnly",
    "workspace-write": "workspaceWrite",
    "danger-full-access": "dangerFullAccess",
    "external-sandbox": "externalSandbox",
}
_SHIPPED: Final = ("You are Codex", "You are a coding agent running in the Codex CLI", "You are GPT")
"""What the reference's own instructions begin with: turnloom's stand in their place, a client's are kept."""


def imported_settings(found: SessionSettings, config: Settings) -> str:
    """What the store keeps: what the session says, and the user's configuration where it says nothing usable."""
    base = configured(config, found.cwd, None if found.workspace_roots is None else tuple(found.workspace_roots))
    settings = replace(
        base,
        permission_profile=found.permission_profile or (base.permission_profile if found.sandbox is None else None),
        profile_extends=base.profile_extends if found.sandbox is None else None,
        approvals_reviewer="user" if found.approvals_reviewer in (None, "user") else "auto_review",
        service_tier=found.service_tier,
        summary=found.summary if found.summary in ("auto", "concise", "detailed", "none") else None,
        personality=found.personality if found.personality in ("none", "friendly", "pragmatic") else None,
        disabled_plugin_ids=tuple(found.disabled_plugin_ids),
        collaboration_mode=_mode(found),
        dynamic_tools=tuple(_tools(found.dynamic_tools)),
    )
    if found.base_instructions is not None and not found.base_instructions.startswith(_SHIPPED):
        settings = replace(settings, base_instructions=found.base_instructions)
    return _with_rules(settings, found).stored()


def _with_rules(settings: ThreadSettings, found: SessionSettings) -> ThreadSettings:
    approval: Any = found.approval_policy
    try:
        if isinstance(approval, dict):
            settings = replace(settings, approval_policy=GranularAskForApproval.model_validate(approval))
        elif approval in _APPROVALS:
            settings = replace(settings, approval_policy=_APPROVALS[approval])
        if found.sandbox is not None:
            settings = replace(settings, sandbox=_SANDBOX.validate_python(_sandbox(found.sandbox)))
    except ValidationError:
        # Whatever this version does not understand must not let more run than the user asked for.
        settings = replace(settings, approval_policy="untrusted", sandbox=ReadOnlySandboxPolicy())
    return settings


def _sandbox(policy: Mapping[str, Any]) -> dict[str, Any]:
    """A sandbox policy of a session file, whose older form calls its kind `mode`, as the wire has it."""
    kind = policy.get("type", policy.get("mode"))
    members = {name: value for name, value in policy.items() if name not in ("type", "mode")}
    return {**camel_keys(members), "type": _SANDBOXES.get(str(kind), kind)}


def _mode(found: SessionSettings) -> CollaborationMode | None:
    mode = found.collaboration_mode
    if mode is None or mode.get("mode") != "plan" or found.model is None:
        return None
    # Not with the instructions that the file has: they are the reference's own, and turnloom has its own.
    settings = {"model": found.model, "reasoning_effort": found.effort, "developer_instructions": None}
    return CollaborationMode.model_validate({"mode": "plan", "settings": settings})


def _tools(tools: Sequence[Any]) -> list[DynamicToolSpec]:
    try:
        return _TOOLS.validate_python(tools)
    except ValidationError:
        return []
