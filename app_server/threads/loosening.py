"""What a client with a narrower scope may not do to a thread: loosen its policy until it amounts to a shell."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from app_server.config.layer import leaves, nested
from app_server.rpc.scopes import Scope, out_of_scope
from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.profiles import within_any
from protocol.jsonrpc import invalid_request
from protocol.v2.permissions import AskForApproval

SYSTEM_FOLDERS = ("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/sbin", "/usr", "/var/spool")
"""Who writes here has a shell soon, if the daemon runs as root."""

OPEN_KEYS = frozenset(
    {
        "approval_policy",
        "approvals_reviewer",
        "default_permissions",
        "developer_instructions",
        "hide_agent_reasoning",
        "instructions",
        "model",
        "model_context_window",
        "model_provider",
        "model_reasoning_effort",
        "model_reasoning_summary",
        "model_verbosity",
        "personality",
        "sandbox_mode",
        "service_tier",
        "show_raw_agent_reasoning",
        "tool_output_token_limit",
        "web_search",
    }
)
"""What a thread's `config` may set under every scope; what becomes of the policy is judged by its outcome."""

SWITCHES = ("cloud", "features", "skills", "tools")
"""Tables in which things may be switched off."""

PROXY = ("features", "network_proxy")
"""What is switched off with it is the watch over the network."""


class Policy(Struct, frozen=True):
    """What holds for a thread's commands, and when somebody is asked."""

    profile: PermissionProfile
    approval: AskForApproval


def check_overrides(scope: Scope, overrides: Mapping[str, Any] | None) -> None:
    """Raise -32600 naming a setting that a client of this scope may not override for a thread."""
    if scope.may_widen or not overrides:
        return
    for path, value in leaves(nested(overrides)):
        if path[:2] != PROXY and (value == {} or path[0] in OPEN_KEYS or (path[0] in SWITCHES and value is False)):
            continue
        raise invalid_request(out_of_scope(scope, f"overriding the setting `{'.'.join(path)}`"))


def check_change(scope: Scope, before: Policy, after: Policy, codex_home: Path) -> None:
    """Raise -32600 if `after` is worth a shell, or asks nobody any more, where `before` was not so."""
    if scope.may_widen:
        return
    if before.profile.kind == "restricted":
        known = set(_worth_a_shell(before.profile, codex_home))
        for reason in _worth_a_shell(after.profile, codex_home):
            if reason not in known:
                raise invalid_request(out_of_scope(scope, f"a policy that lets commands {reason}"))
    if _asks(before.approval) and not _asks(after.approval):
        raise invalid_request(out_of_scope(scope, "an approval policy that never asks"))


def _asks(policy: AskForApproval) -> bool:
    if isinstance(policy, str):
        return policy != "never"
    return policy.granular.sandbox_approval or policy.granular.rules


def _worth_a_shell(profile: PermissionProfile, codex_home: Path) -> Iterator[str]:
    if profile.kind != "restricted":
        yield "run outside of the sandbox"
        return
    home, own = os.path.realpath(os.path.expanduser("~")), os.path.realpath(codex_home)
    # Whoever has his home in a temporary folder has opened it to every command that may write at all.
    temporary = {os.path.realpath(path) for path in ("/tmp", os.environ.get("TMPDIR") or "/tmp")}
    for root in profile.writable_roots:
        real = os.path.realpath(root)
        if real in temporary:
            continue
        hidden = within_any(real, [home]) and os.path.relpath(real, home).startswith(".") and real != home
        around = within_any(home, [real]) or within_any(own, [real])
        if hidden or around or within_any(real, [*SYSTEM_FOLDERS, own]):
            yield f"write in {real}"
