"""The settings of one thread: what config says, what the client overrode, and what persists to later turns."""

import os
from collections.abc import Iterator
from typing import Any, cast

import orjson
from msgspec import Struct
from msgspec.structs import replace
from pydantic import ConfigDict, TypeAdapter

from app_server.config.permission_profiles import ProfileError, find_profile
from app_server.config.settings import Settings
from app_server.config.working_folder import absolute
from app_server.rpc.scopes import FULL, Scope
from app_server.sandbox.permissions import PermissionProfile, profile_for, read_only
from app_server.sandbox.profiles import policy_mode, profile_named, shown_policy
from app_server.threads.loosening import Policy, check_change, check_overrides
from protocol.jsonrpc import invalid_request
from protocol.v2 import thread as wire
from protocol.v2.dynamic_tool import DynamicToolSpec
from protocol.v2.model import CollaborationMode, MultiAgentMode
from protocol.v2.permissions import (
    ActivePermissionProfile,
    ApprovalsReviewer,
    AskForApproval,
    DangerFullAccessSandboxPolicy,
    ReadOnlySandboxPolicy,
    SandboxPolicy,
    WorkspaceWriteSandboxPolicy,
)
from protocol.v2.thread_data import ThreadEnvironment
from protocol.v2.turn import TurnStartParams

_LATER = ConfigDict(defer_build=True)
_APPROVAL: TypeAdapter[AskForApproval] = TypeAdapter(AskForApproval, config=_LATER)
_SANDBOX: TypeAdapter[SandboxPolicy] = TypeAdapter(SandboxPolicy, config=_LATER)
_TOOLS: TypeAdapter[list[DynamicToolSpec]] = TypeAdapter(list[DynamicToolSpec], config=_LATER)
_MULTI_AGENT: TypeAdapter[MultiAgentMode] = TypeAdapter(MultiAgentMode, config=_LATER)

LOCAL_ENVIRONMENT = "local"
"""The id of the one place where turns work: this machine."""

Overrides = wire.ThreadStartParams | wire.ThreadResumeParams | wire.ThreadForkParams
Changes = wire.ThreadSettingsUpdateParams | TurnStartParams


class ThreadSettings(Struct, frozen=True):
    """What a turn begins with. `workspace_roots` are absolute and begin with `cwd` unless the client chose others.

    With a `permission_profile` it is that which is in force (see `turn_profile`), and `sandbox` only shows it to
    clients that know no profiles; `profile_extends` is the profile that it builds on.
    """

    model: str
    model_provider: str
    cwd: str
    workspace_roots: tuple[str, ...]
    approval_policy: AskForApproval
    approvals_reviewer: ApprovalsReviewer
    sandbox: SandboxPolicy
    permission_profile: str | None = None
    profile_extends: str | None = None
    service_tier: str | None = None
    effort: str | None = None
    summary: str | None = None
    personality: str | None = None
    base_instructions: str | None = None
    developer_instructions: str | None = None
    disabled_plugin_ids: tuple[str, ...] = ()
    collaboration_mode: CollaborationMode | None = None
    multi_agent_mode: MultiAgentMode = "explicitRequestOnly"
    dynamic_tools: tuple[DynamicToolSpec, ...] = ()
    """Tools that the client which started the thread runs itself."""

    @property
    def approval_kind(self) -> str:
        """`untrusted`, `on-request`, `never` or `granular`."""
        return self.approval_policy if isinstance(self.approval_policy, str) else "granular"

    @property
    def active_profile(self) -> ActivePermissionProfile | None:
        """The permission profile in force, when one was chosen by name."""
        if self.permission_profile is None:
            return None
        return ActivePermissionProfile(id=self.permission_profile, extends=self.profile_extends)

    @property
    def mode(self) -> str:
        """The collaboration mode: `default` or `plan`."""
        return "default" if self.collaboration_mode is None else self.collaboration_mode.mode

    def environment(self) -> ThreadEnvironment:
        """Where the thread works: this machine."""
        return ThreadEnvironment(
            cwd=self.cwd, environment_id=LOCAL_ENVIRONMENT, runtime_workspace_roots=list(self.workspace_roots)
        )

    def wire(self) -> wire.ThreadSettings:
        """As `thread/settings/updated` carries them."""
        mode = self.collaboration_mode
        if mode is None:
            mode = CollaborationMode.model_validate(
                {
                    "mode": "default",
                    "settings": {
                        "model": self.model,
                        "reasoning_effort": self.effort,
                        "developer_instructions": self.developer_instructions,
                    },
                }
            )
        return wire.ThreadSettings(
            approval_policy=self.approval_policy,
            approvals_reviewer=self.approvals_reviewer,
            collaboration_mode=mode,
            cwd=self.cwd,
            model=self.model,
            model_provider=self.model_provider,
            sandbox_policy=self.sandbox,
            active_permission_profile=self.active_profile,
            disabled_plugin_ids=list(self.disabled_plugin_ids),
            effort=self.effort,
            environments=[self.environment()],
            multi_agent_mode=self.multi_agent_mode,
            personality=cast("Any", self.personality),
            service_tier=self.service_tier,
            summary=cast("Any", self.summary),
        )

    def stored(self) -> str:
        """As text for the store; `restored` reads it."""
        mode = self.collaboration_mode
        return orjson.dumps(
            {
                "workspaceRoots": self.workspace_roots,
                "approvalPolicy": _APPROVAL.dump_python(self.approval_policy, by_alias=True),
                "approvalsReviewer": self.approvals_reviewer,
                "sandbox": _SANDBOX.dump_python(self.sandbox, by_alias=True),
                "permissionProfile": self.permission_profile,
                "profileExtends": self.profile_extends,
                "serviceTier": self.service_tier,
                "summary": self.summary,
                "personality": self.personality,
                "baseInstructions": self.base_instructions,
                "developerInstructions": self.developer_instructions,
                "disabledPluginIds": self.disabled_plugin_ids,
                "collaborationMode": None if mode is None else mode.model_dump(),
                "multiAgentMode": _MULTI_AGENT.dump_python(self.multi_agent_mode, by_alias=True),
                "dynamicTools": [tool.model_dump(by_alias=True) for tool in self.dynamic_tools],
            }
        ).decode()


def restored(text: str, *, model: str, model_provider: str, cwd: str, effort: str | None) -> ThreadSettings:
    """The settings that `stored` wrote; model, provider, cwd and effort have columns of their own."""
    data: dict[str, Any] = orjson.loads(text)
    mode = data.get("collaborationMode")
    return ThreadSettings(
        model=model,
        model_provider=model_provider,
        cwd=cwd,
        effort=effort,
        workspace_roots=tuple(data["workspaceRoots"]),
        approval_policy=_APPROVAL.validate_python(data["approvalPolicy"]),
        approvals_reviewer=data["approvalsReviewer"],
        sandbox=_SANDBOX.validate_python(data["sandbox"]),
        permission_profile=data["permissionProfile"],
        profile_extends=data.get("profileExtends"),
        service_tier=data["serviceTier"],
        summary=data["summary"],
        personality=data["personality"],
        base_instructions=data["baseInstructions"],
        developer_instructions=data["developerInstructions"],
        disabled_plugin_ids=tuple(data["disabledPluginIds"]),
        collaboration_mode=None if mode is None else CollaborationMode.model_validate(mode),
        multi_agent_mode=_MULTI_AGENT.validate_python(data["multiAgentMode"]),
        dynamic_tools=tuple(_TOOLS.validate_python(data.get("dynamicTools", []))),
    )


def turn_profile(settings: ThreadSettings, config: Settings) -> PermissionProfile:
    """What commands of a turn with these settings may do, before anything is granted to them.

    Under a profile that configuration no longer has, they may only read.
    """
    if settings.permission_profile is None:
        return profile_for(settings.sandbox, roots=settings.workspace_roots)
    try:
        return profile_named(settings.permission_profile, config, settings.workspace_roots)
    except ProfileError:
        return read_only()


def with_known_profile(settings: ThreadSettings, config: Settings) -> tuple[ThreadSettings, str | None]:
    """Stored settings as this configuration understands them, and what a client should know of a difference.

    A profile that is gone or cannot be used is replaced by `:read-only`: nothing more may run by mistake.
    """
    name = settings.permission_profile
    if name is None:
        return settings, None
    try:
        return _with_profile(settings, config, name), None
    except ProfileError as error:
        warning = f"The thread's permission profile is replaced by `:read-only`: {error}"
        return _with_profile(settings, config, ":read-only"), warning


def _with_profile(settings: ThreadSettings, config: Settings, name: str) -> ThreadSettings:
    """`settings` under the profile of that name. Raises ProfileError."""
    extends = find_profile(name, config.permission_profiles).extends
    profile = profile_named(name, config, settings.workspace_roots)
    shown = shown_policy(profile, settings.workspace_roots)
    return replace(settings, permission_profile=name, profile_extends=extends, sandbox=shown)


def sandbox_policy(mode: str, settings: Settings) -> SandboxPolicy:
    """The policy that a sandbox mode stands for under this configuration."""
    if mode == "danger-full-access":
        return DangerFullAccessSandboxPolicy()
    if mode == "workspace-write":
        options = settings.sandbox_workspace_write
        return WorkspaceWriteSandboxPolicy(
            writable_roots=list(options.writable_roots),
            network_access=options.network_access,
            exclude_tmpdir_env_var=options.exclude_tmpdir_env_var,
            exclude_slash_tmp=options.exclude_slash_tmp,
        )
    return ReadOnlySandboxPolicy()


def checked_cwd(path: str) -> str:
    """`path` as an absolute, existing folder; raises -32600 naming it otherwise. A relative one is the daemon's."""
    folder = absolute(path)
    if not os.path.isdir(folder):
        raise invalid_request(f"cwd does not exist or is no folder: {folder}")
    return folder


def for_new_thread(settings: Settings, params: Overrides, default_cwd: str) -> ThreadSettings:
    """What a thread starts with: configuration, then what the client asks for."""
    cwd = checked_cwd(params.cwd) if params.cwd is not None else default_cwd
    roots = params.runtime_workspace_roots
    return with_overrides(configured(settings, cwd, None if roots is None else tuple(roots)), settings, params)


def configured(settings: Settings, cwd: str, roots: tuple[str, ...] | None = None) -> ThreadSettings:
    """What a thread starts with if the client asks for nothing."""
    base = ThreadSettings(
        model=settings.model,
        model_provider=settings.model_provider,
        cwd=cwd,
        workspace_roots=(cwd,) if roots is None else roots,
        approval_policy=_APPROVAL.validate_python(settings.approval_policy),
        approvals_reviewer=reviewer_named(settings.approvals_reviewer),
        sandbox=sandbox_policy(settings.sandbox_mode, settings),
        service_tier=settings.service_tier,
        effort=settings.model_reasoning_effort,
        summary=settings.model_reasoning_summary,
        personality=settings.personality,
        base_instructions=settings.base_instructions,
        developer_instructions=settings.developer_instructions,
    )
    if settings.default_permissions is None:
        return base
    return _with_profile(base, settings, settings.default_permissions)


def reviewer_named(name: str) -> ApprovalsReviewer:
    """Who decides, by the name that clients are shown."""
    return "user" if name == "user" else "auto_review"


def check_scope(
    scope: Scope,
    before: ThreadSettings,
    after: ThreadSettings,
    *,
    config: Settings,
    new_config: Settings | None = None,
    overrides: dict[str, Any] | None = None,
) -> None:
    """Raise -32600 where a client of this scope may not make `after` of `before`.

    `config` is the configuration that `before` is read with, `new_config` that of `after` if it is another one, and
    `overrides` are what the client gave for it.
    """
    if scope is FULL:
        return
    check_overrides(scope, overrides)
    old = Policy(turn_profile(before, config), before.approval_policy)
    new = Policy(turn_profile(after, new_config or config), after.approval_policy)
    check_change(scope, old, new, config.codex_home)


def with_overrides(base: ThreadSettings, settings: Settings, params: Overrides) -> ThreadSettings:
    """`base` with what `thread/start`, `thread/resume` or `thread/fork` names."""
    changed: dict[str, Any] = {}
    for name in ("model", "model_provider", "approval_policy", "approvals_reviewer", "service_tier"):
        if (value := getattr(params, name)) is not None:
            changed[name] = value
    for name in ("base_instructions", "developer_instructions", "personality", "multi_agent_mode"):
        if (value := getattr(params, name, None)) is not None:
            changed[name] = value
    if params.cwd is not None:
        changed["cwd"] = checked_cwd(params.cwd)
        changed["workspace_roots"] = _moved_roots(base, changed["cwd"])
    if params.runtime_workspace_roots is not None:
        changed["workspace_roots"] = tuple(params.runtime_workspace_roots)
    if "approvals_reviewer" in changed:
        changed["approvals_reviewer"] = reviewer_named(changed["approvals_reviewer"])
    _check_provider(changed.get("model_provider"), settings)
    policy = None if params.sandbox is None else sandbox_policy(params.sandbox, settings)
    if policy is not None and params.permissions is not None:
        raise invalid_request("`permissions` cannot be combined with `sandbox`")
    return _with_permissions(replace(base, **changed) if changed else base, settings, params.permissions, policy)


def with_changes(base: ThreadSettings, settings: Settings, params: Changes) -> ThreadSettings:
    """`base` with what `turn/start` or `thread/settings/update` changes for this and later turns."""
    changed: dict[str, Any] = {}
    names = ("model", "approval_policy", "approvals_reviewer", "service_tier", "effort", "summary", "personality")
    for name in (*names, "multi_agent_mode"):
        if (value := getattr(params, name)) is not None:
            changed[name] = value
    if "approvals_reviewer" in changed:
        changed["approvals_reviewer"] = reviewer_named(changed["approvals_reviewer"])
    if params.disabled_plugin_ids is not None:
        changed["disabled_plugin_ids"] = tuple(params.disabled_plugin_ids)
    if params.cwd is not None:
        changed["cwd"] = checked_cwd(params.cwd)
        changed["workspace_roots"] = _moved_roots(base, changed["cwd"])
    if isinstance(params, TurnStartParams) and params.runtime_workspace_roots is not None:
        changed["workspace_roots"] = tuple(params.runtime_workspace_roots)
    if (mode := params.collaboration_mode) is not None:
        changed["collaboration_mode"] = mode
        changed["model"] = mode.settings.model
        changed["effort"] = mode.settings.reasoning_effort
    elif (mode := base.collaboration_mode) is not None:
        model, effort = changed.get("model", base.model), changed.get("effort", base.effort)
        own = mode.settings.model_copy(update={"model": model, "reasoning_effort": effort})
        changed["collaboration_mode"] = mode.model_copy(update={"settings": own})
    policy = params.sandbox_policy
    if policy is not None and params.permissions is not None:
        raise invalid_request("`permissions` cannot be combined with `sandboxPolicy`")
    if base.permission_profile is not None and policy == base.sandbox:
        policy = None  # a client that repeats what it is shown has not chosen to leave the profile
    changed_settings = replace(base, **changed) if changed else base
    after = _with_permissions(changed_settings, settings, params.permissions, policy)
    return _refuse_forbidden(base, after, settings)


def within_requirements(settings: ThreadSettings, config: Settings) -> tuple[ThreadSettings, str | None]:
    """Settings that an organisation's demands allow, and what a client should know of a difference.

    What they do not allow is as configuration has it, which is within them already.
    """
    changed: dict[str, Any] = {}
    reasons: list[str] = []
    for key, reason in _refusals(settings, config):
        reasons.append(reason)
        if key == "approval_policy":
            changed[key] = _APPROVAL.validate_python(config.approval_policy)
        elif key == "approvals_reviewer":
            changed[key] = reviewer_named(config.approvals_reviewer)
        elif config.default_permissions is None:
            changed["sandbox"] = sandbox_policy(config.sandbox_mode, config)
        else:
            settings = _with_profile(settings, config, config.default_permissions)
    if not reasons:
        return settings, None
    return replace(settings, **changed), f"Requirements do not allow what was asked for: {'; '.join(reasons)}"


def _refuse_forbidden(before: ThreadSettings, after: ThreadSettings, config: Settings) -> ThreadSettings:
    """`after`, if demands allow what is new in it. Raises -32600 with the first reason why they do not."""
    if after != before:
        for key, reason in _refusals(after, config):
            name = "sandbox" if key == "sandbox_mode" else key
            if getattr(after, name) != getattr(before, name):
                raise invalid_request(f"invalid thread settings override: {reason}")
    return after


def _refusals(settings: ThreadSettings, config: Settings) -> Iterator[tuple[str, str]]:
    """What of these settings an organisation's demands do not allow, and why."""
    if (demands := config.requirements) is None:
        return
    chosen = {"approval_policy": settings.approval_kind, "approvals_reviewer": settings.approvals_reviewer}
    if settings.permission_profile is None:
        chosen["sandbox_mode"] = policy_mode(settings.sandbox)
    for key, value in chosen.items():
        if (reason := demands.refuse(key, value)) is not None:
            yield key, reason


def _moved_roots(base: ThreadSettings, cwd: str) -> tuple[str, ...]:
    return (cwd,) if base.workspace_roots == (base.cwd,) else base.workspace_roots


def _with_permissions(
    settings: ThreadSettings, config: Settings, name: str | None, policy: SandboxPolicy | None
) -> ThreadSettings:
    """`settings` under the profile of that name, or the policy, or what they had. Raises -32600 naming the profile."""
    if policy is not None:
        return replace(settings, sandbox=policy, permission_profile=None, profile_extends=None)
    if name is None:
        # The folders that a profile is about may have changed, and with them how it is shown.
        return with_known_profile(settings, config)[0]
    try:
        return _with_profile(settings, config, name)
    except ProfileError as error:
        raise invalid_request(str(error)) from None


def _check_provider(name: str | None, settings: Settings) -> None:
    if name is not None and name not in settings.model_providers:
        known = ", ".join(sorted(settings.model_providers))
        raise invalid_request(f"model provider `{name}` not found; known providers: {known}")
