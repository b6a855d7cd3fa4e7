"""What the model is told beside the conversation."""

import os
from datetime import datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from app_server.config.network_proxy import HostAction, NetworkProxySettings
from app_server.config.settings import Settings
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile, read_only
from app_server.threads.instructions import (
    base_instructions,
    environment_context,
    permissions_text,
    project_instructions,
)
from protocol.v2.permissions import (
    DangerFullAccessSandboxPolicy,
    ExternalSandboxSandboxPolicy,
    ReadOnlySandboxPolicy,
    WorkspaceWriteSandboxPolicy,
)


class Project:
    """A home, and a project with a folder in it."""

    def __init__(self, root: Path) -> None:
        self.home, self.root = root / "home", root / "project"
        self.cwd = self.root / "a" / "b"
        self.home.mkdir()
        self.cwd.mkdir(parents=True)
        (self.root / ".git").mkdir()
        self.settings = Settings(self.home, "m", "demo")

    def write(self, path: Path, text: str) -> str:
        path.write_text(text)
        return str(path)

    def read(self) -> tuple[str, list[str]]:
        return project_instructions(str(self.cwd), self.settings)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def wrapped(project: Project, body: str) -> str:
    return f"# AGENTS.md instructions for {project.cwd}\n\n<INSTRUCTIONS>\n{body}\n</INSTRUCTIONS>"


def test_without_files_there_is_nothing_to_say(project: Project) -> None:
    assert project.read() == ("", [])


def test_the_users_file_comes_first_then_the_root_then_deeper_folders(project: Project) -> None:
    sources = [
        project.write(project.home / "AGENTS.md", "MINE\n"),
        project.write(project.root / "AGENTS.md", "ROOT\n"),
        project.write(project.cwd / "AGENTS.md", "DEEP\n"),
    ]
    assert project.read() == (wrapped(project, "MINE\n\n--- project-doc ---\n\nROOT\n\nDEEP"), sources)


def test_files_above_the_root_and_below_the_folder_do_not_count(project: Project) -> None:
    project.write(project.root.parent / "AGENTS.md", "ABOVE")
    (project.cwd / "c").mkdir()
    project.write(project.cwd / "c" / "AGENTS.md", "BELOW")
    assert project.read() == ("", [])


def test_outside_a_project_only_the_folder_itself_counts(project: Project) -> None:
    (project.root / ".git").rmdir()
    project.write(project.root / "AGENTS.md", "ROOT")
    source = project.write(project.cwd / "AGENTS.md", "HERE")
    assert project.read() == (wrapped(project, "HERE"), [source])


def test_a_worktree_whose_git_is_a_file_is_a_root_too(project: Project) -> None:
    (project.cwd.parent / ".git").write_text("gitdir: elsewhere")
    project.write(project.root / "AGENTS.md", "OUTER")
    assert project.read() == ("", [])


def test_an_override_stands_in_for_the_file_beside_it(project: Project) -> None:
    project.write(project.home / "AGENTS.md", "MINE")
    project.write(project.root / "AGENTS.md", "ROOT")
    sources = [
        project.write(project.home / "AGENTS.override.md", "MINE NOW"),
        project.write(project.root / "AGENTS.override.md", "ROOT NOW"),
    ]
    assert project.read() == (wrapped(project, "MINE NOW\n\n--- project-doc ---\n\nROOT NOW"), sources)


def test_configured_names_are_read_where_there_is_no_agents_file(project: Project) -> None:
    project.settings = replace(project.settings, project_doc_fallback_filenames=("CLAUDE.md",))
    project.write(project.root / "CLAUDE.md", "NOT READ")
    first = project.write(project.root / "AGENTS.md", "ROOT")
    second = project.write(project.cwd / "CLAUDE.md", "FALLBACK")
    assert project.read() == (wrapped(project, "ROOT\n\nFALLBACK"), [first, second])


def test_the_projects_files_are_cut_at_the_limit_between_characters(project: Project) -> None:
    project.settings = replace(project.settings, project_doc_max_bytes=6)
    first = project.write(project.root / "AGENTS.md", "abcd")
    second = project.write(project.cwd / "AGENTS.md", "xäyz")
    assert project.read() == (wrapped(project, "abcd\n\nx"), [first, second])


def test_a_limit_of_zero_leaves_the_users_own_file_alone(project: Project) -> None:
    project.settings = replace(project.settings, project_doc_max_bytes=0)
    source = project.write(project.home / "AGENTS.md", "MINE")
    project.write(project.cwd / "AGENTS.md", "DEEP")
    assert project.read() == (wrapped(project, "MINE"), [source])


def test_a_pipe_or_a_folder_of_that_name_is_passed_over(project: Project) -> None:
    os.mkfifo(project.cwd / "AGENTS.md")
    (project.root / "AGENTS.md").mkdir()
    (project.root / "a" / "AGENTS.md").symlink_to("nowhere")
    assert project.read() == ("", [])


def test_a_project_that_is_the_users_home_is_read_once(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "AGENTS.md").write_text("MINE")
    text, sources = project_instructions(str(tmp_path), Settings(tmp_path, "m", "demo"))
    assert sources == [str(tmp_path / "AGENTS.md")]
    assert text.count("MINE") == 1


def test_the_environment_names_folder_shell_day_and_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    text = environment_context("/ws/<a>", now=datetime(2026, 3, 4))
    assert text.startswith("<environment_context>\n  <cwd>/ws/&lt;a&gt;</cwd>\n  <shell>zsh</shell>\n")
    assert "  <current_date>2026-03-04</current_date>\n  <timezone>" in text
    assert text.endswith("</timezone>\n</environment_context>")
    assert "workspace_roots" not in text


def test_further_workspace_folders_are_named() -> None:
    assert "<root>/a</root><root>/b</root>" in environment_context("/a", ["/a", "/b"])


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (ReadOnlySandboxPolicy(), ["none can be written", "There is no network"]),
        (ReadOnlySandboxPolicy(network_access=True), ["The network is reachable"]),
        (DangerFullAccessSandboxPolicy(), ["without a sandbox"]),
        (ExternalSandboxSandboxPolicy(), ["its operator", "to be left alone"]),
        (WorkspaceWriteSandboxPolicy(writable_roots=["/data"]), ["`/ws`, `/data`, `/tmp`", "no network"]),
    ],
)
def test_the_permissions_say_what_the_sandbox_allows(policy: object, words: list[str]) -> None:
    text = permissions_text(policy, "never", ["/ws"])  # type: ignore[arg-type]
    assert text.startswith("<permissions instructions>\n")
    assert text.endswith("\n</permissions instructions>")
    assert all(word in text for word in words)


def test_temporary_folders_are_named_only_when_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/var/scratch")
    assert "`/tmp`, `/var/scratch`" in permissions_text(WorkspaceWriteSandboxPolicy(), "never", ["/ws"])
    closed = WorkspaceWriteSandboxPolicy(exclude_slash_tmp=True, exclude_tmpdir_env_var=True)
    text = permissions_text(closed, "never", ["/ws"])
    assert "/tmp" not in text
    assert "/var/scratch" not in text


@pytest.mark.parametrize("policy", ["untrusted", "on-request", "granular"])
def test_escalation_is_offered_wherever_someone_can_be_asked(policy: str) -> None:
    assert "require_escalated" in permissions_text(ReadOnlySandboxPolicy(), policy, [])
    assert "require_escalated" not in permissions_text(ReadOnlySandboxPolicy(), "never", [])


def test_the_base_instructions_name_the_tool_and_the_blocks_that_the_program_adds() -> None:
    text = base_instructions()
    for word in ("exec_command", "<environment_context>", "<permissions instructions>", "AGENTS.md", "sandbox"):
        assert word in text
    assert len(text) < 12_000


def test_the_model_is_told_what_a_named_profile_says_beyond_its_outline() -> None:
    profile = PermissionProfile(
        "restricted",
        network=False,
        writable_roots=("/ws", "/opt"),
        readable_roots=("/ws", "/opt"),
        read_only=("/ws/docs",),
        denied=("/ws/keys",),
        denied_patterns=("/ws/**/*.env",),
    )
    text = permissions_text(WorkspaceWriteSandboxPolicy(writable_roots=["/opt"]), "never", ["/ws"], profile)
    assert "nothing can be read but `/ws`, `/opt`." in text
    assert "these stay read-only: `/ws/docs`." in text
    assert "neither read nor written: `/ws/keys`, `/ws/**/*.env`." in text
    assert "Unlike" not in text
    text = permissions_text(ReadOnlySandboxPolicy(), "never", ["/ws"], replace(profile, readable_roots=()))
    assert "these can be written: `/ws`, `/opt`." in text
    assert "nothing can be read." in text


@pytest.mark.parametrize("profile", [None, read_only(), FULL_ACCESS])
def test_a_profile_that_says_no_more_than_its_policy_adds_nothing(profile: PermissionProfile | None) -> None:
    plain = permissions_text(ReadOnlySandboxPolicy(), "never", ["/ws"])
    assert permissions_text(ReadOnlySandboxPolicy(), "never", ["/ws"], profile) == plain


def test_the_model_is_told_of_the_managed_network() -> None:
    policy = WorkspaceWriteSandboxPolicy(network_access=True)
    hosts: dict[str, HostAction] = {f"host{number}.test": "allow" for number in range(25)}
    text = permissions_text(policy, "on-request", ["/ws"], proxy=NetworkProxySettings(domains=hosts))
    assert "The network is reachable" not in text
    assert "is asked about while the command runs" in text
    assert "`host19.test` and 5 more" in text
    assert "Only requests that read" not in text
    limited = NetworkProxySettings(mode="limited", domains={"bad.test": "deny"})
    text = permissions_text(policy, "never", ["/ws"], proxy=limited)
    assert "is refused while the command runs" in text
    assert "Only requests that read" in text
    assert "bad.test" not in text
    assert "proxy" not in permissions_text(policy, "never", ["/ws"])
