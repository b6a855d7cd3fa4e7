"""The settings with which a session of the reference goes on."""

from pathlib import Path
from typing import Any

import pytest

from app_server.config.layers import load_settings
from app_server.config.settings import Settings
from app_server.store.rollouts.settings import SessionSettings
from app_server.threads.imported import imported_settings
from app_server.threads.settings import ThreadSettings, restored
from protocol.v2.permissions import (
    AskForApproval,
    DangerFullAccessSandboxPolicy,
    GranularAskForApproval,
    ReadOnlySandboxPolicy,
    SandboxPolicy,
    WorkspaceWriteSandboxPolicy,
)
from tests.support.home import make_home


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    chosen = {"approval_policy": "on-request", "sandbox_mode": "danger-full-access"}
    return load_settings(make_home(tmp_path / "home", settings=chosen), (), (), ()).settings()


def settings_of(found: SessionSettings, config: Settings) -> ThreadSettings:
    text = imported_settings(found, config)
    return restored(text, model="m", model_provider="p", cwd=found.cwd, effort=found.effort)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"type": "danger-full-access"}, DangerFullAccessSandboxPolicy()),
        ({"type": "read-only"}, ReadOnlySandboxPolicy()),
        (
            {"type": "workspace-write", "writable_roots": ["/x"], "network_access": True, "exclude_slash_tmp": True},
            WorkspaceWriteSandboxPolicy(writable_roots=["/x"], network_access=True, exclude_slash_tmp=True),
        ),
        ({"mode": "workspace-write", "network_access": False}, WorkspaceWriteSandboxPolicy()),
        ({"type": "a later kind"}, ReadOnlySandboxPolicy()),
        (None, DangerFullAccessSandboxPolicy()),
    ],
)
def test_the_sandbox_is_the_sessions_and_never_looser(
    config: Settings, policy: dict[str, Any] | None, expected: SandboxPolicy
) -> None:
    assert settings_of(SessionSettings(sandbox=policy), config).sandbox == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("never", "never"),
        ("on-failure", "on-request"),
        (None, "on-request"),
        ({"granular": {"mcp_elicitations": True}}, "untrusted"),
    ],
)
def test_who_is_asked_is_as_in_the_session(config: Settings, policy: Any, expected: AskForApproval) -> None:
    assert settings_of(SessionSettings(approval_policy=policy), config).approval_policy == expected


def test_a_granular_policy_is_kept(config: Settings) -> None:
    kinds = {"mcp_elicitations": True, "rules": False, "sandbox_approval": True}
    settings = settings_of(SessionSettings(approval_policy={"granular": kinds}), config)
    assert settings.approval_policy == GranularAskForApproval.model_validate({"granular": kinds})


def test_a_profile_is_the_sessions(config: Settings) -> None:
    found = SessionSettings(sandbox={"type": "read-only"}, permission_profile=":workspace")
    assert settings_of(found, config).permission_profile == ":workspace"


def test_instructions_are_kept_unless_they_are_the_references_own(config: Settings) -> None:
    assert settings_of(SessionSettings(base_instructions="Speak like a pirate."), config).base_instructions
    assert settings_of(SessionSettings(base_instructions="You are Codex, an agent"), config).base_instructions is None


def test_plan_mode_and_tools_of_clients_go_on(config: Settings) -> None:
    mode = {"mode": "plan", "settings": {"model": "x", "developer_instructions": "the reference's"}}
    tool = {"type": "function", "name": "look", "description": "d", "inputSchema": {"type": "object"}}
    settings = settings_of(SessionSettings(model="m", collaboration_mode=mode, dynamic_tools=[tool]), config)

    assert settings.mode == "plan"
    assert settings.collaboration_mode is not None
    assert settings.collaboration_mode.settings.developer_instructions is None
    assert len(settings.dynamic_tools) == 1
    assert settings_of(SessionSettings(dynamic_tools=[{"type": "odd"}]), config).dynamic_tools == ()


def test_the_folders_are_the_sessions(config: Settings) -> None:
    assert settings_of(SessionSettings(cwd="/a"), config).workspace_roots == ("/a",)
    assert settings_of(SessionSettings(cwd="/a", workspace_roots=["/a", "/b"]), config).workspace_roots == ("/a", "/b")
