"""The real program: what of the daemon's own secrets a command can find out, and that the search would find them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.conftest import Jail
from tests.support.daemon import running_daemon
from tests.support.home import make_home
from tests.support.rpc_client import RpcClient

SECRETS = {
    "OPENAI_API_KEY": "sk-of-openai",
    "CODEX_API_KEY": "sk-of-codex",
    "GITHUB_TOKEN": "ghp-of-github",
    "AWS_SECRET_ACCESS_KEY": "key-of-aws",
    "MY_SERVICE_SECRET": "secret-of-service",
    "DB_PASSWORD_KEY": "key-of-database",
    "SCRIPTED_PROVIDER_CREDENTIAL": "credential-of-provider",
}
FILES = {"auth.json": '{"OPENAI_API_KEY": "sk-stored"}', ".credentials.json": '{"mcp": "token-stored"}'}
STORED = ("sk-stored", "token-stored")

SEARCH = """
env; tr '\\0' '\\n' </proc/self/environ; for p in $PPID 1 [0-9]*; do tr '\\0' '\\n' <"/proc/$p/environ"; done
for p in /proc/[0-9]*; do tr '\\0' '\\n' <"$p/environ"; tr '\\0' ' ' <"$p/cmdline"; done
for f in auth.json .credentials.json; do
    cat "$CODEX_HOME/$f"; cat "/proc/self/root$CODEX_HOME/$f"; cat "/proc/$PPID/root$CODEX_HOME/$f"
    ln "$CODEX_HOME/$f" "hard-$f" && cat "hard-$f"; cp "$CODEX_HOME/$f" /dev/shm/x && cat /dev/shm/x; rm -f /dev/shm/x
    mv "$CODEX_HOME/$f" "$CODEX_HOME/moved" && cat "$CODEX_HOME/moved" && mv "$CODEX_HOME/moved" "$CODEX_HOME/$f"
done
grep -rs . "$CODEX_HOME" --include=auth.json --include=.credentials.json
"""

FULL: dict[str, Any] = {"type": "dangerFullAccess"}
CONFINED: dict[str, dict[str, Any]] = {
    "read-only": {"type": "readOnly"},
    "read-only with network": {"type": "readOnly", "networkAccess": True},
    "workspace": {"type": "workspaceWrite"},
    "workspace in the home": {"type": "workspaceWrite", "writableRoots": ["HOME"], "networkAccess": True},
}


@pytest.fixture(params=["", "ignore_default_excludes = true"], ids=["by default", "with everything inherited"])
async def searched(jail: Jail, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[tuple[RpcClient, bool]]:
    """A client of a daemon with secrets, and whether its commands were given the environment on purpose."""
    del jail  # only for its skip
    home = make_home(
        tmp_path / "home",
        "http://127.0.0.1:9/v1",
        more=f'env_key = "SCRIPTED_PROVIDER_CREDENTIAL"\n[shell_environment_policy]\n{request.param}',
    )
    for name, text in FILES.items():
        (home / name).write_text(text)
    async with running_daemon(home, **SECRETS, TURNLOOM_TEST="private-of-daemon") as daemon, daemon.client() as client:
        await client.initialize()
        yield client, bool(request.param)


async def found(client: RpcClient, policy: dict[str, Any], home: Path) -> set[str]:
    """The secrets that a command with this policy can show."""
    if "writableRoots" in policy:
        policy = {**policy, "writableRoots": [str(home)]}
    result = await client.call(
        "command/exec", {"command": ["/bin/sh", "-c", SEARCH], "sandboxPolicy": policy, "timeoutMs": 60_000}
    )
    secrets = (*SECRETS.values(), *STORED, "private-of-daemon")
    return {secret for secret in secrets if secret in result["stdout"]}


@pytest.mark.parametrize("policy", CONFINED.values(), ids=CONFINED)
async def test_a_confined_command_finds_no_secret_that_it_was_not_given(
    searched: tuple[RpcClient, bool], tmp_path: Path, policy: dict[str, Any]
) -> None:
    client, inherits = searched
    assert await found(client, policy, tmp_path / "home") == (set(SECRETS.values()) if inherits else set())
    assert {name: (tmp_path / "home" / name).read_text() for name in FILES} == FILES


async def test_without_the_sandbox_the_search_finds_the_stored_secrets(
    searched: tuple[RpcClient, bool], tmp_path: Path
) -> None:
    client, _ = searched
    assert set(STORED) <= await found(client, FULL, tmp_path / "home")
