"""A thread's settings: overrides, what persists, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from app_server.config.layers import load_settings
from app_server.config.settings import Settings
from app_server.threads.settings import for_new_thread, restored, with_changes, with_overrides
from protocol.jsonrpc import RpcError
from protocol.v2.permissions import DangerFullAccessSandboxPolicy, WorkspaceWriteSandboxPolicy
from protocol.v2.thread import ThreadResumeParams, ThreadSettingsUpdateParams, ThreadStartParams
from protocol.v2.turn import TurnStartParams
from tests.support.home import make_home


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(make_home(tmp_path / "home"), (), (), ()).settings()


def test_what_is_stored_is_restored(settings: Settings, tmp_path: Path) -> None:
    params = ThreadStartParams.model_validate(
        {
            "cwd": str(tmp_path),
            "model": "m",
            "approvalPolicy": "on-request",
            "sandbox": "workspace-write",
            "developerInstructions": "Be kind.",
            "personality": "friendly",
            "serviceTier": "flex",
            "runtimeWorkspaceRoots": [str(tmp_path), "/other"],
        }
    )
    chosen = for_new_thread(settings, params, "/")
    again = restored(
        chosen.stored(), model=chosen.model, model_provider=chosen.model_provider, cwd=chosen.cwd, effort=chosen.effort
    )
    assert again == chosen


def test_the_workspace_moves_with_the_folder_unless_it_was_chosen(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    base = for_new_thread(settings, ThreadStartParams(cwd=str(tmp_path)), "/")
    moved = with_overrides(base, settings, ThreadResumeParams(thread_id="x", cwd=str(tmp_path / "b")))
    assert (moved.cwd, moved.workspace_roots) == (str(tmp_path / "b"), (str(tmp_path / "b"),))
    chosen = with_overrides(base, settings, ThreadResumeParams(thread_id="x", runtime_workspace_roots=["/other"]))
    moved = with_overrides(chosen, settings, ThreadResumeParams(thread_id="x", cwd=str(tmp_path / "b")))
    assert (moved.cwd, moved.workspace_roots) == (str(tmp_path / "b"), ("/other",))


def test_no_change_leaves_the_settings_as_they_are(settings: Settings, tmp_path: Path) -> None:
    base = for_new_thread(settings, ThreadStartParams(cwd=str(tmp_path)), "/")
    assert with_changes(base, settings, TurnStartParams(thread_id="x", input=[])) is base
    assert with_changes(base, settings, ThreadSettingsUpdateParams(thread_id="x")) is base


def test_model_and_effort_are_one_with_those_of_the_mode(settings: Settings, tmp_path: Path) -> None:
    def changed(**fields: Any) -> None:
        nonlocal now
        now = with_changes(now, settings, ThreadSettingsUpdateParams.model_validate({"threadId": "x", **fields}))

    def seen() -> tuple[Any, ...]:
        own = now.wire().collaboration_mode
        return own.mode, now.model, own.settings.model, now.effort, own.settings.reasoning_effort

    now = for_new_thread(settings, ThreadStartParams(cwd=str(tmp_path)), "/")
    changed(model="m", effort="high")
    assert seen() == ("default", "m", "m", "high", "high")
    changed(collaborationMode={"mode": "plan", "settings": {"model": "m", "reasoning_effort": "medium"}})
    assert seen() == ("plan", "m", "m", "medium", "medium")
    changed(model="n", effort="low")
    assert seen() == ("plan", "n", "n", "low", "low")
    changed(collaborationMode={"mode": "default", "settings": {"model": "m", "reasoning_effort": None}})
    assert seen() == ("default", "m", "m", None, None)


@pytest.mark.parametrize(
    ("profile", "policy"),
    [(":workspace", WorkspaceWriteSandboxPolicy), (":danger-full-access", DangerFullAccessSandboxPolicy)],
)
def test_a_permission_profile_stands_for_a_policy(
    settings: Settings, tmp_path: Path, profile: str, policy: type[Any]
) -> None:
    chosen = for_new_thread(settings, ThreadStartParams(cwd=str(tmp_path), permissions=profile), "/")
    assert isinstance(chosen.sandbox, policy)
    assert chosen.active_profile is not None
    assert chosen.active_profile.id == profile
    over = with_overrides(chosen, settings, ThreadResumeParams(thread_id="x", sandbox="read-only"))
    assert over.active_profile is None


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"permissions": ":workspace", "sandbox": "read-only"}, "cannot be combined"),
        ({"permissions": ":none"}, "unknown permission profile `:none`"),
        ({"modelProvider": "none"}, "model provider `none` not found"),
        ({"cwd": "rel"}, "cwd does not exist or is no folder: /"),
        ({"cwd": "/does/not/exist"}, "/does/not/exist"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    settings: Settings, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(RpcError, match=message) as failure:
        for_new_thread(settings, ThreadStartParams.model_validate(params), "/")
    assert failure.value.code == -32600
