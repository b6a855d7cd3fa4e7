"""What a client with a narrower scope may change of a thread's policy."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import TypeAdapter

from app_server.config.layers import load_settings
from app_server.config.settings import Settings
from app_server.rpc.scopes import FULL, NO_SHELL, Scope
from app_server.threads.loosening import check_overrides
from app_server.threads.settings import ThreadSettings, check_scope, configured, for_new_thread, with_changes
from protocol.jsonrpc import RpcError
from protocol.v2.permissions import AskForApproval, SandboxPolicy
from protocol.v2.thread import ThreadSettingsUpdateParams, ThreadStartParams
from tests.support.home import make_home

POLICY: TypeAdapter[SandboxPolicy] = TypeAdapter(SandboxPolicy)
APPROVAL: TypeAdapter[AskForApproval] = TypeAdapter(AskForApproval)

PROFILES = """
[permissions.wide.filesystem]
":root" = "write"
[permissions.home.filesystem]
":workspace_roots" = "write"
"~" = "write"
[permissions.narrow]
extends = ":workspace"
[permissions.narrow.filesystem]
"/srv/shared" = "write"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "user"
    for folder in ("project", ".config", ".ssh"):
        (home / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to(home)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def config(tmp_path: Path, home: Path) -> Settings:
    codex_home = make_home(tmp_path / "codex")
    with (codex_home / "config.toml").open("a") as file:
        file.write(PROFILES)
    return load_settings(codex_home, ("sandbox_mode=read-only", "approval_policy=on-request"), (), ()).settings()


@pytest.fixture
def before(config: Settings, home: Path) -> ThreadSettings:
    return configured(config, str(home / "project"))


def _granular(*, sandbox_approval: bool, rules: bool) -> dict[str, Any]:
    return {"granular": {"mcp_elicitations": True, "rules": rules, "sandbox_approval": sandbox_approval}}


def _change(before: ThreadSettings, config: Settings, scope: Scope, **params: Any) -> ThreadSettings:
    given = ThreadSettingsUpdateParams.model_validate({"threadId": "x", **params})
    after = with_changes(before, config, given)
    check_scope(scope, before, after, config=config)
    return after


def _workspace(*roots: Path | str) -> dict[str, Any]:
    return {"sandboxPolicy": {"type": "workspaceWrite", "writableRoots": [str(root) for root in roots]}}


LOOSE: list[dict[str, Any]] = [
    {"sandboxPolicy": {"type": "dangerFullAccess"}},
    {"sandboxPolicy": {"type": "externalSandbox"}},
    {"permissions": ":danger-full-access"},
    {"permissions": "wide"},
    {"permissions": "home"},
    {"approvalPolicy": "never"},
    {"approvalPolicy": _granular(sandbox_approval=False, rules=False)},
    _workspace("/"),
    _workspace("/etc"),
    _workspace("/usr/local"),
    _workspace("/var/spool/cron"),
    {"cwd": "/", "permissions": ":workspace"},
    {"cwd": "/etc", "permissions": ":workspace"},
]

TIGHT: list[dict[str, Any]] = [
    {},
    {"sandboxPolicy": {"type": "readOnly", "networkAccess": True}},
    {"permissions": ":read-only"},
    {"permissions": ":workspace"},
    {"permissions": "narrow"},
    {"approvalPolicy": "untrusted"},
    {"approvalPolicy": _granular(sandbox_approval=True, rules=False)},
    {"approvalPolicy": _granular(sandbox_approval=False, rules=True)},
    _workspace("/srv/somewhere", "/tmp"),
    {"cwd": "/"},
    {"model": "other", "effort": "high"},
]


@pytest.mark.parametrize("params", LOOSE)
def test_a_policy_that_amounts_to_a_shell_is_refused(
    before: ThreadSettings, config: Settings, params: dict[str, Any]
) -> None:
    with pytest.raises(RpcError) as refusal:
        _change(before, config, NO_SHELL, **params)
    assert refusal.value.code == -32600
    assert "the scope `no-shell`" in refusal.value.message
    _change(before, config, FULL, **params)


@pytest.mark.parametrize("params", TIGHT)
def test_other_policies_may_be_chosen(before: ThreadSettings, config: Settings, params: dict[str, Any]) -> None:
    _change(before, config, NO_SHELL, **params)


@pytest.mark.parametrize("folder", [".", "..", ".config", ".ssh", "../link", "../link/.ssh", "../codex", "../codex/x"])
def test_where_a_shell_begins_nothing_may_be_written(
    before: ThreadSettings, config: Settings, home: Path, folder: str
) -> None:
    with pytest.raises(RpcError, match="lets commands write in"):
        _change(before, config, NO_SHELL, **_workspace(home / folder))


@pytest.mark.parametrize("folder", ["project", "project/.cache", "new", "../elsewhere"])
def test_in_other_folders_of_the_user_it_may(before: ThreadSettings, config: Settings, home: Path, folder: str) -> None:
    _change(before, config, NO_SHELL, **_workspace(home / folder))


@pytest.mark.parametrize("params", LOOSE)
def test_what_holds_already_may_be_named_again(
    before: ThreadSettings, config: Settings, params: dict[str, Any]
) -> None:
    loose = _change(before, config, FULL, **params)
    assert _change(loose, config, NO_SHELL, **params) == loose


def test_a_looser_thread_may_be_tightened_and_not_loosened_otherwise(before: ThreadSettings, config: Settings) -> None:
    loose = _change(before, config, FULL, **_workspace("/etc"))
    _change(loose, config, NO_SHELL, permissions=":read-only")
    _change(loose, config, NO_SHELL, sandboxPolicy={"type": "readOnly"}, approvalPolicy="untrusted")
    with pytest.raises(RpcError, match="write in /usr"):
        _change(loose, config, NO_SHELL, **_workspace("/etc", "/usr"))
    with pytest.raises(RpcError, match="outside of the sandbox"):
        _change(loose, config, NO_SHELL, permissions=":danger-full-access")
    with pytest.raises(RpcError, match="never asks"):
        _change(loose, config, NO_SHELL, approvalPolicy="never")
    free = _change(before, config, FULL, permissions=":danger-full-access", approvalPolicy="never")
    _change(free, config, NO_SHELL, **_workspace("/etc"))


# Overrides of the configuration


@pytest.mark.parametrize(
    "overrides",
    [
        None,
        {},
        {"model": "m", "model_reasoning_effort": "high", "developer_instructions": "Be kind."},
        {"features.shell_tool": False, "tools.update_plan.enabled": False, "web_search": "disabled"},
        {"features": {"hooks": False, "plugins": False}},
        {"mcp_servers": {}, "default_permissions": ":read-only", "sandbox_mode": "read-only"},
        {"approval_policy": "untrusted"},
        {"mcp_servers.x.command": None},
    ],
)
def test_settings_that_run_nothing_may_be_overridden(overrides: dict[str, Any] | None) -> None:
    check_overrides(NO_SHELL, overrides)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"mcp_servers.x.command": "sh"}, "mcp_servers.x.command"),
        ({"mcp_servers": {"x": {"command": "sh"}}}, "mcp_servers.x.command"),
        ({"notify": ["sh"]}, "notify"),
        ({"hooks.x": "sh"}, "hooks.x"),
        ({"features.hooks": True}, "features.hooks"),
        ({"features": {"hooks": 0}}, "features.hooks"),
        ({"features.network_proxy": False}, "features.network_proxy"),
        ({"features": {"network_proxy": {"enabled": False}}}, "features.network_proxy.enabled"),
        ({"model_providers.openai.base_url": "http://evil"}, "model_providers.openai.base_url"),
        ({"openai_base_url": "http://evil"}, "openai_base_url"),
        ({"permissions.x.filesystem": {"/": "write"}}, "permissions.x.filesystem./"),
        ({"sandbox_workspace_write.writable_roots": ["/"]}, "sandbox_workspace_write.writable_roots"),
        ({"sandbox_workspace_write.exclude_slash_tmp": False}, "sandbox_workspace_write.exclude_slash_tmp"),
        ({"shell_environment_policy.set": {"A": "b"}}, "shell_environment_policy.set.A"),
        ({"projects": {"/": {"trust_level": "trusted"}}}, "projects./.trust_level"),
        ({"model": "m", "something_new": 1}, "something_new"),
    ],
)
def test_any_other_setting_may_not(overrides: dict[str, Any], named: str) -> None:
    with pytest.raises(RpcError) as refusal:
        check_overrides(NO_SHELL, overrides)
    assert f"overriding the setting `{named}`" in refusal.value.message
    check_overrides(FULL, overrides)


def test_an_override_of_the_policy_is_judged_by_what_comes_of_it(config: Settings, home: Path) -> None:
    loose = replace(config, sandbox_mode="danger-full-access")
    before = configured(config, str(home / "project"))
    after = for_new_thread(loose, ThreadStartParams(), str(home / "project"))
    with pytest.raises(RpcError, match="outside of the sandbox"):
        check_scope(
            NO_SHELL, before, after, config=config, new_config=loose, overrides={"sandbox_mode": "danger-full-access"}
        )
    # What the user of the daemon has configured is no change of the client's.
    same = configured(loose, str(home / "project"))
    check_scope(NO_SHELL, same, for_new_thread(loose, ThreadStartParams(), "/"), config=loose)
