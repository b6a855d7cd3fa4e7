"""What git says about a folder."""

import os
import subprocess
from pathlib import Path

import anyio.to_thread
import pytest

from app_server.files.git import RepositoryState, repository_state, without_credentials


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.email=a@example.com", "-c", "user.name=a", "-c", "init.defaultBranch=trunk"]
    variables = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, env=variables, check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.fixture
async def repository(tmp_path: Path) -> Path:
    def make() -> Path:
        git(tmp_path, "init")
        (tmp_path / "file").write_text("x")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-m", "first")
        git(tmp_path, "remote", "add", "origin", "git@example.com:a/b.git")
        (tmp_path / "folder").mkdir()
        return tmp_path

    return await anyio.to_thread.run_sync(make)


async def test_a_folder_within_a_repository_knows_branch_commit_and_origin(repository: Path) -> None:
    sha = await anyio.to_thread.run_sync(git, repository, "rev-parse", "HEAD")
    wanted = RepositoryState("trunk", sha, "git@example.com:a/b.git")
    assert await repository_state(str(repository)) == wanted
    assert await repository_state(str(repository / "folder")) == wanted


async def test_a_detached_head_is_on_no_branch(repository: Path) -> None:
    await anyio.to_thread.run_sync(git, repository, "checkout", "--detach")
    state = await repository_state(str(repository))
    assert state is not None
    assert (state.branch, state.sha is None) == (None, False)


async def test_a_worktree_knows_its_own_branch(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("worktrees") / "tree"
    await anyio.to_thread.run_sync(git, repository, "worktree", "add", str(place), "-b", "other")
    state = await repository_state(str(place))
    assert state is not None
    assert state.branch == "other"


async def test_the_daemons_own_git_variables_do_not_lead_to_another_repository(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    await anyio.to_thread.run_sync(git, other, "init")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    state = await repository_state(str(repository))
    assert state is not None
    assert state.sha is not None


async def test_without_a_repository_or_without_git_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await repository_state(str(tmp_path)) is None
    assert await repository_state(str(tmp_path / "missing")) is None
    (tmp_path / ".git").write_text("no repository")
    assert await repository_state(str(tmp_path)) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await repository_state(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://me:secret@example.com/a.git", "https://example.com/a.git"),
        ("https://token@example.com:8443/a.git", "https://example.com:8443/a.git"),
        ("https://example.com/a.git", "https://example.com/a.git"),
        ("git@example.com:a/b.git", "git@example.com:a/b.git"),
        ("ssh://git@example.com/a.git", "ssh://git@example.com/a.git"),
        ("/a/path", "/a/path"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_credentials_in_a_url_are_left_out(url: str, wanted: str) -> None:
    assert without_credentials(url) == wanted
