"""Permission profiles of threads: chosen, shown, stored, and gone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app_server.config.layers import load_settings
from app_server.config.settings import Settings
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile, read_only
from app_server.threads.settings import (
    ThreadSettings,
    for_new_thread,
    restored,
    turn_profile,
    with_changes,
    with_known_profile,
    with_overrides,
)
from protocol.jsonrpc import RpcError
from protocol.v2.permissions import (
    ActivePermissionProfile,
    DangerFullAccessSandboxPolicy,
    ReadOnlySandboxPolicy,
    WorkspaceWriteSandboxPolicy,
)
from protocol.v2.thread import ThreadResumeParams, ThreadSettingsUpdateParams, ThreadStartParams
from protocol.v2.turn import TurnStartParams

DEV = """
[permissions.dev]
extends = ":workspace"
[permissions.dev.filesystem]
"/opt/tools" = "write"
":slash_tmp" = "read"
":workspace_roots" = { "keys" = "deny", "**/*.env" = "deny" }
[permissions.broken]
extends = "nowhere"
"""

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.delenv("TMPDIR", raising=False)

    def load(profiles: str = DEV, *, head: str = "") -> Settings:
        home = tmp_path / "codex"
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text(f"{head}\n{profiles}")
        return load_settings(home, (), (), (), environ={}).settings()

    return load


def _start(config: Settings, **params: Any) -> ThreadSettings:
    return for_new_thread(config, ThreadStartParams.model_validate(params), "/")


def _changed(settings: ThreadSettings, config: Settings, **params: Any) -> ThreadSettings:
    return with_changes(settings, config, ThreadSettingsUpdateParams.model_validate({"threadId": "x", **params}))


def _restored(settings: ThreadSettings) -> ThreadSettings:
    return restored(settings.stored(), model=settings.model, model_provider="demo", cwd=settings.cwd, effort=None)


def test_a_profile_is_in_force_and_shown_as_a_policy(load: Load, tmp_path: Path) -> None:
    config = load()
    settings = _start(config, cwd=str(tmp_path), permissions="dev")
    assert settings.active_profile == ActivePermissionProfile(id="dev", extends=":workspace")
    assert settings.sandbox == WorkspaceWriteSandboxPolicy(writable_roots=["/opt/tools"], exclude_slash_tmp=True)
    assert turn_profile(settings, config) == PermissionProfile(
        "restricted",
        network=False,
        writable_roots=(str(tmp_path), "/opt/tools"),
        denied=(f"{tmp_path}/keys",),
        denied_patterns=(f"{tmp_path}/**/*.env",),
    )


@pytest.mark.parametrize(
    ("head", "shown", "policy"),
    [
        ("", ":read-only", ReadOnlySandboxPolicy()),
        ('default_permissions = ":workspace"', ":workspace", WorkspaceWriteSandboxPolicy()),
        ('sandbox_mode = "read-only"', None, ReadOnlySandboxPolicy()),
        ('sandbox_mode = "danger-full-access"', None, DangerFullAccessSandboxPolicy()),
        (
            'default_permissions = ":read-only"\nsandbox_mode = "danger-full-access"',
            ":read-only",
            ReadOnlySandboxPolicy(),
        ),
    ],
)
def test_what_is_configured_is_in_force_if_nobody_chooses(
    load: Load, tmp_path: Path, head: str, shown: str | None, policy: Any
) -> None:
    settings = _start(load(head=head), cwd=str(tmp_path))
    assert settings.permission_profile == shown
    assert settings.sandbox == policy


def test_a_policy_ends_a_profile_and_a_profile_a_policy(load: Load, tmp_path: Path) -> None:
    config = load()
    dev = _start(config, cwd=str(tmp_path), permissions="dev")
    full = _changed(dev, config, sandboxPolicy={"type": "dangerFullAccess"})
    assert (full.active_profile, turn_profile(full, config)) == (None, FULL_ACCESS)
    assert _changed(full, config, permissions="dev") == dev
    over = with_overrides(dev, config, ThreadResumeParams(thread_id="x", sandbox="read-only"))
    assert (over.active_profile, turn_profile(over, config)) == (None, read_only())


def test_a_client_that_repeats_what_it_is_shown_stays_under_the_profile(load: Load, tmp_path: Path) -> None:
    config = load()
    dev = _start(config, cwd=str(tmp_path), permissions="dev")
    params: dict[str, Any] = {"threadId": "x", "input": [], "sandboxPolicy": dev.sandbox.model_dump(by_alias=True)}
    again = with_changes(dev, config, TurnStartParams.model_validate(params))
    assert again == dev
    other = _changed(dev, config, sandboxPolicy={"type": "workspaceWrite", "writableRoots": ["/opt/tools"]})
    assert other.active_profile is None


def test_the_workspace_of_a_profile_moves_with_the_thread(load: Load, tmp_path: Path) -> None:
    config = load()
    (tmp_path / "a").mkdir()
    settings = _changed(_start(config, cwd=str(tmp_path), permissions="dev"), config, cwd=str(tmp_path / "a"))
    assert turn_profile(settings, config).writable_roots == (str(tmp_path / "a"), "/opt/tools")
    assert settings.active_profile == ActivePermissionProfile(id="dev", extends=":workspace")
    inside = _changed(settings, config, cwd="/opt")
    assert isinstance(inside.sandbox, WorkspaceWriteSandboxPolicy)
    assert turn_profile(inside, config).writable_roots == ("/opt", "/opt/tools")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (":nope", "unknown permission profile `:nope`; known profiles:"),
        ("nope", "unknown permission profile `nope`; known profiles:"),
        ("broken", "permission profile `broken` cannot be used: it extends `nowhere`"),
    ],
)
def test_a_profile_that_cannot_be_had_is_refused(load: Load, tmp_path: Path, name: str, told: str) -> None:
    config = load()
    with pytest.raises(RpcError) as refusal:
        _start(config, cwd=str(tmp_path), permissions=name)
    assert refusal.value.code == -32600
    assert told in refusal.value.message
    settings = _start(config, cwd=str(tmp_path))
    with pytest.raises(RpcError, match=name):
        _changed(settings, config, permissions=name)


def test_a_profile_is_not_combined_with_a_policy(load: Load, tmp_path: Path) -> None:
    config = load()
    with pytest.raises(RpcError, match="`permissions` cannot be combined with `sandbox`"):
        _start(config, permissions="dev", sandbox="read-only")
    with pytest.raises(RpcError, match="`permissions` cannot be combined with `sandboxPolicy`"):
        _changed(_start(config), config, permissions="dev", sandboxPolicy={"type": "readOnly"})


# Stored threads


def test_a_stored_profile_is_in_force_again(load: Load, tmp_path: Path) -> None:
    config = load()
    settings = _start(config, cwd=str(tmp_path), permissions="dev")
    assert with_known_profile(_restored(settings), config) == (settings, None)


def test_a_stored_profile_means_what_it_means_now(load: Load, tmp_path: Path) -> None:
    settings = _start(load(), cwd=str(tmp_path), permissions="dev")
    config = load('[permissions.dev]\nextends = ":read-only"\n')
    again, warning = with_known_profile(_restored(settings), config)
    assert warning is None
    assert (again.profile_extends, again.sandbox) == (":read-only", ReadOnlySandboxPolicy())
    assert turn_profile(again, config) == read_only()


@pytest.mark.parametrize("profiles", ["", '[permissions.dev]\nextends = "nowhere"\n'])
def test_a_stored_profile_that_is_gone_leaves_read_only_and_says_so(load: Load, tmp_path: Path, profiles: str) -> None:
    settings = _restored(_start(load(), cwd=str(tmp_path), permissions="dev"))
    config = load(profiles, head='sandbox_mode = "danger-full-access"')
    again, warning = with_known_profile(settings, config)
    assert warning is not None
    assert "`dev`" in warning
    assert "`:read-only`" in warning
    assert (again.permission_profile, again.sandbox) == (":read-only", ReadOnlySandboxPolicy())
    # Even if nobody has looked, nothing may be written.
    assert turn_profile(settings, config) == read_only()


def test_a_thread_without_a_profile_is_stored_without_one(load: Load, tmp_path: Path) -> None:
    config = load(head='sandbox_mode = "read-only"')
    settings = _start(config, cwd=str(tmp_path), sandbox="workspace-write")
    assert with_known_profile(_restored(settings), config) == (settings, None)
