"""What a confined command can write, and what it cannot however it tries."""

import os
import shutil
from pathlib import Path

import anyio
import pytest

from app_server.sandbox.permissions import PROTECTED_NAMES, PermissionProfile, read_only, workspace_write
from app_server.sandbox.sandbox import SandboxUnavailable, choose_sandbox
from tests.sandbox.conftest import Jail

READ_ONLY = "Read-only file system"

STAND_INS = sorted(PROTECTED_NAMES)
"""What a workspace without a repository holds while a command runs."""


def only(*roots: Path) -> PermissionProfile:
    """Write access to these and nowhere else."""
    return workspace_write([str(root) for root in roots], slash_tmp=False)


def tree(top: Path) -> dict[str, str | None]:
    """Everything below a directory, with the text of the files."""
    found: dict[str, str | None] = {}
    for path in sorted(top.rglob("*")):
        found[str(path.relative_to(top))] = path.read_text() if path.is_file() else None
    return found


async def test_a_read_only_command_writes_nowhere_and_leaves_nothing(jail: Jail, tmp_path: Path) -> None:
    places = f"{jail.workspace} {tmp_path} /tmp /var/tmp $HOME /etc /usr /run /dev"
    result = await jail.run(f"for d in {places}; do touch $d/escaped-x 2>/dev/null && echo $d; done", read_only())
    assert result.out == "/dev\n"  # its own, gone with it
    assert "escaped-x" not in os.listdir("/dev")
    assert tree(jail.workspace) == {}


async def test_a_read_only_command_cannot_change_what_exists(jail: Jail) -> None:
    file = jail.workspace / "file"
    file.write_text("text")
    script = "echo x >file; echo x >>file; rm -f file; mv file o; chmod 7 file; ln -s a b; mkdir d; truncate -s0 file"
    result = await jail.run(script, read_only())
    assert result.err.count(READ_ONLY) + result.err.count("Directory nonexistent") >= 8
    assert tree(jail.workspace) == {"file": "text"}


async def test_a_read_only_command_reads_everything_and_may_use_its_devices(jail: Jail) -> None:
    script = "cat /etc/passwd >/dev/null && echo x >/dev/null && touch /dev/shm/x && head -c1 /dev/urandom >/dev/null"
    assert (await jail.run(script, read_only())).code == 0


async def test_a_writable_root_is_written_and_its_surroundings_are_not(jail: Jail, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    result = await jail.run(
        f"echo a >a; mkdir -p b/c; echo d >b/c/d; echo x >{outside}/x; echo x >../x", only(jail.workspace)
    )
    assert result.err.count(READ_ONLY) == 2
    assert tree(tmp_path) == {
        "outside": None,
        "workspace": None,
        "workspace/a": "a\n",
        "workspace/b": None,
        "workspace/b/c": None,
        "workspace/b/c/d": "d\n",
    }


async def test_the_temporary_folders_are_writable_unless_excluded(jail: Jail, tmp_path: Path) -> None:
    own = tmp_path / "own-tmp"
    own.mkdir()
    name = f"turnloom-test-{os.getpid()}"
    script = f"touch /tmp/{name} && rm /tmp/{name} && echo slash; touch {own}/x && echo own"
    roots = [str(jail.workspace)]
    both = workspace_write(roots, tmpdir=str(own))
    assert (await jail.run(script, both)).out == "slash\nown\n"
    if str(tmp_path).startswith("/tmp/"):
        # The test's own folder lies in /tmp, and so /tmp cannot be taken away alone.
        assert (await jail.run(script, workspace_write(roots))).out == "slash\nown\n"
    assert (await jail.run(script, workspace_write(roots, slash_tmp=False, tmpdir=str(own)))).out == "own\n"
    assert (await jail.run(script, workspace_write(roots, slash_tmp=False))).out == ""


@pytest.mark.parametrize(
    "attempt", ["echo x >link/x", "echo x >filelink", "cd link && touch x", "cp -r /etc/hostname link/"]
)
async def test_a_link_out_of_a_writable_root_leads_to_what_is_read_only(
    jail: Jail, tmp_path: Path, attempt: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("text")
    (jail.workspace / "link").symlink_to(outside)
    (jail.workspace / "filelink").symlink_to(outside / "file")
    result = await jail.run(attempt, only(jail.workspace))
    assert (result.code != 0, READ_ONLY in result.err) == (True, True)
    assert tree(outside) == {"file": "text"}


async def test_a_writable_root_given_by_a_link_is_the_directory_it_names(jail: Jail, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    link = tmp_path / "link"
    link.symlink_to(real)
    assert (await jail.run(f"echo x >{link}/x; echo y >{link}/.git/y", only(link))).code != 0
    assert tree(real) == {"x": "x\n"}


async def test_a_writable_root_that_does_not_exist_is_not_writable(jail: Jail, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    result = await jail.run(f"mkdir {missing}; echo in >in", only(jail.workspace, missing))
    assert READ_ONLY in result.err
    assert tree(tmp_path) == {"workspace": None, "workspace/in": "in\n"}


@pytest.mark.parametrize("name", PROTECTED_NAMES)
async def test_a_protected_name_that_exists_cannot_be_touched(jail: Jail, name: str) -> None:
    directory = jail.workspace / name
    (directory / "hooks").mkdir(parents=True)
    (directory / "config").write_text("safe")
    script = f"""
        echo evil >{name}/hooks/pre-commit; echo evil >{name}/config; rm -rf {name}; mv {name} moved
        rmdir {name}; ln -sfn /tmp {name}; chmod -R 777 {name}; mount --bind /tmp {name}; umount {name}
    """
    await jail.run(script, only(jail.workspace))
    assert tree(jail.workspace) == {name: None, f"{name}/config": "safe", f"{name}/hooks": None}


@pytest.mark.parametrize("name", PROTECTED_NAMES)
async def test_a_protected_name_that_does_not_exist_cannot_be_made(jail: Jail, name: str) -> None:
    attempts = f"mkdir -p {name}/hooks; echo evil >{name}/config; rm -rf {name}; mv {name} /nowhere"
    script = f"test -d {name} && ls -A {name}; {attempts}; echo done"
    result = await jail.run(script, only(jail.workspace))
    assert result.out == "done\n"
    assert tree(jail.workspace) == {}


async def test_the_pointer_of_a_worktree_and_what_it_names_are_protected(jail: Jail, tmp_path: Path) -> None:
    main = jail.workspace / "main.repo"
    gitdir = main / "worktrees" / "tree"
    (gitdir / "hooks").mkdir(parents=True)
    (gitdir / "commondir").write_text("../..\n")
    (gitdir / "config.worktree").write_text("safe")
    (main / "config").write_text("safe")
    (jail.workspace / ".git").write_text(f"gitdir: {gitdir}\n")
    (jail.workspace / "sub").mkdir()
    (jail.workspace / "sub" / ".git").write_text("gitdir: ../main.repo/worktrees/tree\n")
    before = tree(jail.workspace)
    script = f"""
        echo "gitdir: /tmp/evil" >.git; rm -f .git; mv .git x; echo evil >sub/.git; rm -f sub/.git
        echo evil >{gitdir}/config.worktree; echo evil >{gitdir}/hooks/x; rm -rf {gitdir}
        echo evil >{main}/config; mkdir {main}/hooks; mv {main} elsewhere; mv main.repo/worktrees w
    """
    await jail.run(script, only(jail.workspace))
    assert before.items() <= tree(jail.workspace).items()  # a failed move may leave a copy


async def test_a_nested_repository_cannot_be_given_a_hook(jail: Jail) -> None:
    hooks = jail.workspace / "vendor" / "lib" / ".git" / "hooks"
    hooks.mkdir(parents=True)
    (hooks.parent / "config").write_text("safe")
    (jail.workspace / "vendor" / "lib" / "code").write_text("old")
    script = """
        echo evil >vendor/lib/.git/hooks/post-checkout; echo evil >vendor/lib/.git/config
        rm -rf vendor/lib/.git; mv vendor/lib/.git /nowhere
        mv vendor/lib vendor/moved && mkdir -p vendor/lib/.git/hooks && echo evil >vendor/lib/.git/config
        mv vendor moved && mkdir -p vendor/lib/.git/hooks && echo evil >vendor/lib/.git/config
        echo new >vendor/lib/code; echo more >vendor/lib/more; echo top >vendor/top
    """
    await jail.run(script, only(jail.workspace))
    assert tree(jail.workspace) == {
        "vendor": None,
        "vendor/lib": None,
        "vendor/lib/.git": None,
        "vendor/lib/.git/config": "safe",
        "vendor/lib/.git/hooks": None,
        "vendor/lib/code": "new\n",
        "vendor/lib/more": "more\n",
        "vendor/top": "top\n",
    }


async def test_a_repository_that_is_deleted_while_a_command_starts_is_no_reason_to_refuse_it(jail: Jail) -> None:
    (jail.workspace / "vendor" / "lib" / ".git").mkdir(parents=True)
    bare = jail.workspace / "bare.git"
    for name in ("objects", "refs", "hooks"):
        (bare / name).mkdir(parents=True)
    for name in ("HEAD", "config"):
        (bare / name).write_text(name)
    process = await jail.start(
        ["sh", "-c", "echo x >file; ls"],
        only(jail.workspace),
        meanwhile=lambda: [shutil.rmtree(jail.workspace / name) for name in ("vendor", "bare.git")],
    )
    async with process:
        assert (await jail.ended(process)).out == "file\n"


async def test_a_repository_that_is_moved_while_a_command_starts_is_not_left_open(jail: Jail) -> None:
    hooks = jail.workspace / "vendor" / "lib" / ".git" / "hooks"
    hooks.mkdir(parents=True)
    process = await jail.start(
        ["sh", "-c", "echo evil >moved/lib/.git/hooks/post-checkout"],
        only(jail.workspace),
        meanwhile=lambda: (jail.workspace / "vendor").rename(jail.workspace / "moved"),
    )
    async with process:
        result = await jail.ended(process)
    assert (result.code, result.out) == (126, "")
    assert "run it again" in result.err
    assert os.listdir(jail.workspace / "moved" / "lib" / ".git" / "hooks") == []


async def test_a_repository_made_by_the_command_itself_is_its_own(jail: Jail) -> None:
    result = await jail.run("mkdir -p new/.git/hooks && echo mine >new/.git/hooks/x", only(jail.workspace))
    assert result.code == 0


async def test_a_repository_behind_a_link_is_refused_because_the_link_could_be_replaced(
    jail: Jail, tmp_path: Path
) -> None:
    (jail.workspace / ".git").symlink_to(tmp_path)
    with pytest.raises(SandboxUnavailable, match="symbolic link"):
        await jail.run("true", only(jail.workspace))
    assert os.listdir(jail.workspace) == [".git"]


async def test_the_directory_of_a_nested_link_to_a_repository_stays_as_it_is(jail: Jail, tmp_path: Path) -> None:
    project = jail.workspace / "deep" / "project"
    project.mkdir(parents=True)
    (project / ".git").symlink_to(tmp_path)
    script = "rm -f deep/project/.git; mkdir deep/project/x; mv deep/project deep/y; mv deep z; echo ok >deep/file"
    await jail.run(script, only(jail.workspace))
    assert sorted(os.listdir(project)) == [".git"]
    assert sorted(os.listdir(jail.workspace / "deep")) == ["file", "project"]


async def test_commands_of_one_root_share_the_protection_until_the_last_has_ended(jail: Jail) -> None:
    profile = only(jail.workspace)
    async with await jail.start(
        ["/bin/sh", "-c", "read x; mkdir .git/hooks && echo escaped"], profile, stdin=True
    ) as slow:
        await jail.run("true", profile)
        assert sorted(os.listdir(jail.workspace)) == STAND_INS
        slow.close_stdin()
        assert [chunk async for chunk in slow if chunk[0] == "stdout"] == []
    assert os.listdir(jail.workspace) == []


async def test_a_stand_in_that_a_crash_left_is_removed_by_the_next_command(jail: Jail) -> None:
    profile = only(jail.workspace)
    async with await jail.start(["/bin/cat"], profile, stdin=True):
        kept = {name: (jail.workspace / name).stat() for name in PROTECTED_NAMES}
    for name, status in kept.items():
        (jail.workspace / name).mkdir()
        (jail.workspace / name).chmod(status.st_mode)
        os.utime(jail.workspace / name, ns=(status.st_mtime_ns, status.st_mtime_ns))
    (jail.workspace / ".agents").rmdir()
    (jail.workspace / ".agents").mkdir()  # the user's own, and empty
    await jail.run("true", profile)
    assert os.listdir(jail.workspace) == [".agents"]


async def test_what_the_user_puts_in_a_stand_in_meanwhile_stays(jail: Jail) -> None:
    async with await jail.start(["/bin/cat"], only(jail.workspace), stdin=True):
        (jail.workspace / ".git").chmod(0o755)
        (jail.workspace / ".git" / "HEAD").write_text("ref")
    assert tree(jail.workspace) == {".git": None, ".git/HEAD": "ref"}


async def test_nothing_stays_behind_of_a_command_that_cannot_start_or_is_cancelled(jail: Jail) -> None:
    profile = only(jail.workspace)
    with pytest.raises(Exception, match="No such file or directory"):
        await jail.start(["no-such-program"], profile)
    with anyio.CancelScope() as scope:
        async with await jail.start(["/bin/sleep", "60"], profile):
            scope.cancel()
            await anyio.sleep_forever()
    assert os.listdir(jail.workspace) == []


async def test_the_machines_own_proc_and_dev_are_no_writable_roots(jail: Jail) -> None:
    result = await jail.run("ls /proc | grep -c '^[0-9]'; ls /dev/vda* 2>/dev/null", only(Path("/proc"), Path("/dev")))
    assert int(result.out) < 10


async def test_two_daemons_do_not_take_each_others_protection_away(jail: Jail) -> None:
    profile = only(jail.workspace)
    other = Jail(choose_sandbox(), jail.reaper, jail.workspace)
    async with await jail.start(["/bin/sh", "-c", "read x; mkdir .git/hooks; rmdir .git"], profile, stdin=True) as slow:
        await other.run("true", profile)
        assert sorted(os.listdir(jail.workspace)) == STAND_INS
        async with await other.start(["/bin/cat"], profile, stdin=True):
            slow.close_stdin()
            await slow.wait()
            await slow.aclose()
            assert sorted(os.listdir(jail.workspace)) == STAND_INS
    assert os.listdir(jail.workspace) == []


async def test_a_command_makes_no_namespaces_and_no_mounts(jail: Jail, tmp_path: Path) -> None:
    (jail.workspace / "sub" / ".git" / "hooks").mkdir(parents=True)
    before = tree(tmp_path)
    script = f"""
        unshare --user --map-root-user --mount mount --bind sub sub && echo namespace
        unshare --mount true && echo mounts; umount sub/.git && echo umount; mount -o remount,rw,bind sub && echo rw
        mount --rbind {tmp_path} sub && echo bind; nsenter --user=/proc/self/ns/user true && echo entered; echo tried
    """
    assert (await jail.run(script, only(jail.workspace))).out == "tried\n"
    assert tree(tmp_path) == before


BARE = 'mkdir -p objects refs; echo "ref: refs/heads/main" >HEAD; echo >config'


async def test_a_workspace_that_was_made_a_repository_of_itself_is_none_afterwards(jail: Jail) -> None:
    result = await jail.run(f"{BARE}; mkdir HEAD.disabled; ls", only(jail.workspace))
    assert result.out.split() == ["HEAD", "HEAD.disabled", "config", "objects", "refs"]
    assert not (jail.workspace / "HEAD").exists()
    assert [path.read_text() for path in jail.workspace.glob("HEAD.disabled-*")] == ["ref: refs/heads/main\n"]


async def test_a_workspace_that_is_a_repository_of_itself_stays_one(jail: Jail) -> None:
    for name in ("objects", "refs"):
        (jail.workspace / name).mkdir()
    (jail.workspace / "HEAD").write_text("ref: refs/heads/main\n")
    assert (await jail.run("echo ref: refs/heads/other >HEAD", only(jail.workspace))).code == 0
    assert (jail.workspace / "HEAD").read_text() == "ref: refs/heads/other\n"
