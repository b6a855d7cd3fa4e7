"""From sandbox policies, names and settings to the one profile."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from app_server.config.settings import SandboxWorkspaceWriteSettings, Settings
from app_server.sandbox.permissions import (
    FULL_ACCESS,
    PermissionProfile,
    external,
    profile_for,
    profile_of_settings,
    read_only,
    workspace_write,
)
from app_server.sandbox.sandbox import SandboxUnavailable, Unsandboxed, Unsupported
from protocol.v2.permissions import SandboxPolicy

POLICY: TypeAdapter[SandboxPolicy] = TypeAdapter(SandboxPolicy)


@pytest.mark.parametrize(
    ("policy", "profile"),
    [
        ({"type": "dangerFullAccess"}, FULL_ACCESS),
        ({"type": "readOnly"}, read_only()),
        ({"type": "readOnly", "networkAccess": True}, read_only(network=True)),
        ({"type": "externalSandbox"}, external()),
        ({"type": "externalSandbox", "networkAccess": "enabled"}, external(network=True)),
        (
            {"type": "workspaceWrite"},
            PermissionProfile("restricted", network=False, writable_roots=("/here", "/tmp", "/t")),
        ),
        (
            {
                "type": "workspaceWrite",
                "writableRoots": ["/a", "/here"],
                "networkAccess": True,
                "excludeSlashTmp": True,
                "excludeTmpdirEnvVar": True,
            },
            PermissionProfile("restricted", network=True, writable_roots=("/here", "/a")),
        ),
    ],
)
def test_a_policy_of_the_wire_becomes_a_profile(policy: object, profile: PermissionProfile) -> None:
    assert profile_for(POLICY.validate_python(policy), roots=["/here"], env={"TMPDIR": "/t"}) == profile


@pytest.mark.parametrize("tmpdir", [None, "", "relative"])
def test_only_an_absolute_tmpdir_is_a_root(tmpdir: str | None) -> None:
    assert workspace_write(["/here"], tmpdir=tmpdir).writable_roots == ("/here", "/tmp")


def test_a_root_must_be_absolute() -> None:
    with pytest.raises(ValueError, match="not absolute"):
        workspace_write(["here"])


def test_the_configured_mode_becomes_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)

    def settings(mode: str) -> Settings:
        more = SandboxWorkspaceWriteSettings(writable_roots=("/a",), network_access=True, exclude_slash_tmp=True)
        return Settings(
            codex_home=Path("/"), model="m", model_provider="p", sandbox_mode=mode, sandbox_workspace_write=more
        )

    assert profile_of_settings(settings("danger-full-access"), roots=["/here"]) == FULL_ACCESS
    assert profile_of_settings(settings("read-only"), roots=["/here"]) == read_only()
    assert profile_of_settings(settings("workspace-write"), roots=["/here"]) == PermissionProfile(
        "restricted", network=True, writable_roots=("/here", "/a")
    )


async def test_what_restricts_is_never_run_without_a_sandbox() -> None:
    for sandbox in (Unsandboxed(), Unsupported("not here")):
        with pytest.raises(SandboxUnavailable):
            await sandbox.wrap(["true"], cwd="/", env={}, profile=read_only())
    with pytest.raises(SandboxUnavailable, match="not here"):
        await Unsupported("not here").available()
