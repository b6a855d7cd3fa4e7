"""bubblewrap's arguments as text, and where the program is taken from."""

import os
from pathlib import Path
from typing import Literal

import pytest

from app_server.sandbox.bubblewrap import Bubblewrap, arguments
from app_server.sandbox.mounts import Kind, Mount, Mounts
from app_server.sandbox.permissions import read_only, workspace_write
from app_server.sandbox.sandbox import SandboxUnavailable

NAMESPACES = "--die-with-parent --unshare-pid --unshare-ipc --cap-drop ALL --unshare-user"


def text(mounts: Mounts, *, network: bool = False, user_namespace: bool = True) -> str:
    return " ".join(arguments(mounts, cwd="/ws", network=network, user_namespace=user_namespace))


def test_a_read_only_command_gets_the_file_system_its_own_devices_and_no_network() -> None:
    assert text(Mounts()) == f"{NAMESPACES} --unshare-net --ro-bind / / --dev /dev --proc /proc --chdir /ws"


def test_with_network_the_machines_own_namespace_is_kept() -> None:
    assert "--unshare-net" not in text(Mounts(), network=True)


def test_root_may_do_without_a_user_namespace() -> None:
    assert "--unshare-user" not in text(Mounts(), user_namespace=False)


def mounted(*mounts: tuple[str, Kind], root: Literal["read", "write", "minimal"] = "read") -> Mounts:
    return Mounts(root, tuple(Mount(path, kind) for path, kind in mounts))


def test_what_lies_in_something_else_is_mounted_over_it() -> None:
    mounts = mounted(("/ws", "write"), ("/ws/.git", "read"), ("/ws/sub", "step"), ("/ws/sub/.git", "nested"))
    assert text(mounts).split(" --proc /proc ")[1] == (
        "--bind /ws /ws --ro-bind-try /../newroot/ws/.git /ws/.git --bind-try /../newroot/ws/sub /ws/sub "
        "--ro-bind-try /../newroot/ws/sub/.git /ws/sub/.git --chdir /ws"
    )


def test_the_whole_file_system_can_be_a_root() -> None:
    mounts = mounted(("/.git", "read"), ("/sys", "system"), root="write")
    assert text(mounts, network=True) == (
        f"{NAMESPACES} --bind / / --dev /dev --proc /proc "
        "--ro-bind-try /../newroot/.git /.git --ro-bind-try /../newroot/sys /sys --chdir /ws"
    )


def test_what_is_hidden_is_covered_and_stays_so() -> None:
    mounts = mounted(("/a", "folder"), ("/b", "folder"), ("/b/open", "write"), ("/c", "file"))
    assert text(mounts).split(" --proc /proc ")[1] == (
        "--perms 0000 --tmpfs /a --perms 0111 --tmpfs /b --bind /b/open /b/open --ro-bind /dev/null /c "
        "--remount-ro /a --remount-ro /b --chdir /ws"
    )


def test_of_the_home_only_what_is_shown_is_there() -> None:
    home = Mount("/home/.codex", "home", None, ("/home/.codex/skills",), (("other", "/home/.codex/link"),))
    assert text(Mounts("read", (home,))).split(" --proc /proc ")[1] == (
        "--perms 0755 --tmpfs /home/.codex --ro-bind /home/.codex/skills /home/.codex/skills "
        "--symlink other /home/.codex/link --remount-ro /home/.codex --chdir /ws"
    )


def test_a_minimal_root_has_only_what_is_named() -> None:
    mounts = Mounts("minimal", (Mount("/usr", "system"),), (("usr/bin", "/bin"),))
    assert text(mounts) == (
        f"{NAMESPACES} --unshare-net --dev /dev --proc /proc --symlink usr/bin /bin --ro-bind /usr /usr "
        "--remount-ro / --chdir /ws"
    )


async def test_without_bubblewrap_a_restricted_command_is_refused_with_the_remedy(tmp_path: Path) -> None:
    sandbox = Bubblewrap(path=str(tmp_path))
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
        await sandbox.available()
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
        await sandbox.wrap(["true"], cwd="/", env={}, profile=read_only())


async def test_a_bubblewrap_that_cannot_build_a_sandbox_is_reported_with_its_words(tmp_path: Path) -> None:
    _program(tmp_path, "echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    with pytest.raises(SandboxUnavailable, match=r"No permissions to create new namespace.*unprivileged_userns_clone"):
        await Bubblewrap(path=str(tmp_path)).available()


async def test_a_program_that_a_command_could_have_written_is_not_trusted(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    _program(workspace / "bin", "exit 0")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "bwrap").symlink_to(workspace / "bin" / "bwrap")
    sandbox = Bubblewrap(path=f"{workspace}/bin:{elsewhere}:relative")
    await sandbox.available()
    for cwd, profile in (
        (str(workspace), read_only()),
        ("/", workspace_write([str(workspace)], slash_tmp=False)),
    ):
        with pytest.raises(SandboxUnavailable, match="is only at"):
            await sandbox.wrap(["true"], cwd=cwd, env={}, profile=profile)
    assert os.listdir(workspace) == ["bin"]
    command = await sandbox.wrap(["true"], cwd="/", env={}, profile=read_only())
    assert command.argv[0] == str(workspace / "bin" / "bwrap")
    for fd in command.pass_fds:
        os.close(fd)


async def test_the_environment_of_the_command_does_not_reach_the_wrapper(tmp_path: Path) -> None:
    _program(tmp_path, "exit 0")
    sandbox = Bubblewrap(path=str(tmp_path))
    env = {"LD_PRELOAD": "/x.so", "GLIBC_TUNABLES": "y", "PATH": "/p", "HOME": "/h"}
    command = await sandbox.wrap(["true", "--flag"], cwd="/", env=env, profile=read_only(network=True))
    assert command.env == {"PATH": "/p"}
    assert b"setenv" not in os.read(command.pass_fds[1], 10_000)
    assert command.argv[3:] == ["--", f"/proc/self/fd/{command.pass_fds[-1]}", "true", "--flag"]
    for fd in command.pass_fds:
        os.close(fd)


def _program(directory: Path, script: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
