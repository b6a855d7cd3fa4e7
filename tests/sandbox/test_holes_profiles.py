"""What a permission profile hides, opens and keeps as it is, under bubblewrap. Each attempt works without a sandbox."""

import os
import shutil
from pathlib import Path

import pytest

from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile
from app_server.sandbox.sandbox import SandboxUnavailable
from tests.sandbox.conftest import Jail
from tests.sandbox.test_files import tree

SECRET = "the secret"


def profile(
    *roots: Path,
    denied: tuple[Path, ...] = (),
    read_only: tuple[Path, ...] = (),
    readable: tuple[Path, ...] | None = None,
) -> PermissionProfile:
    """A restricted profile without network."""
    return PermissionProfile(
        "restricted",
        network=False,
        writable_roots=tuple(map(str, roots)),
        denied=tuple(map(str, denied)),
        read_only=tuple(map(str, read_only)),
        readable_roots=None if readable is None else tuple(map(str, readable)),
    )


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "private" / "deep" / "file"
    file.parent.mkdir(parents=True)
    file.write_text(SECRET)
    return file


def write(file: Path, text: str) -> None:
    """Replace the contents of a file."""
    file.write_text(text)


async def seen(jail: Jail, script: str, restricted: PermissionProfile) -> str:
    """What a script prints confined; in the open it prints the secret, so that the attempt could succeed."""
    result = await jail.run(f"{script}; echo tried", restricted)
    assert result.out.endswith("tried\n"), result.err
    assert SECRET in (await jail.run(script, FULL_ACCESS)).out
    return result.out.removesuffix("tried\n")


async def test_a_denied_file_cannot_be_read_whatever_it_holds(jail: Jail, secret: Path) -> None:
    denied = profile(denied=(secret,))
    assert await seen(jail, f"cat {secret}; head -c 5 {secret}; grep . {secret}; cat <{secret}", denied) == ""
    shown = f"stat -c '%F %s %a %y' {secret}; cat {secret} 2>&1"
    first = await jail.run(shown, denied)
    write(secret, SECRET * 1000)
    assert (await jail.run(shown, denied)).out == first.out


async def test_a_denied_folder_shows_nothing(jail: Jail, secret: Path, tmp_path: Path) -> None:
    folder = tmp_path / "private"
    script = f"ls -R {folder}; find {folder}; cat {secret} {folder}/deep/../deep/file; cd {folder}/deep && cat file"
    out = await seen(jail, script, profile(denied=(folder,)))
    assert out == f"{folder}\n"
    script = f"chmod 777 {folder} && cat {secret}; touch {folder}/new && cat {folder}/deep/file"
    assert await seen(jail, script, profile(denied=(folder,))) == ""


async def test_what_is_denied_in_a_writable_root_stays_where_it_is(jail: Jail) -> None:
    file = jail.workspace / "a" / "b" / "secret"
    file.parent.mkdir(parents=True)
    file.write_text(SECRET)
    script = """
        mv a/b/secret here; ln a/b/secret link; cp a/b/secret copy; mv a moved; cat here link copy moved/b/secret
        mv a/b a/c; cat a/c/secret; rm -f a/b/secret; echo mine >a/b/secret; rm -rf a; echo other >a/b/o; cat a/b/secret
    """
    restricted = profile(jail.workspace, denied=(file,))
    assert (await jail.run(f"cat a/b/secret; {script}", restricted)).out == ""
    assert file.read_text() == SECRET
    assert sorted(os.listdir(jail.workspace / "a")) == ["b"]
    assert SECRET in (await jail.run(script, FULL_ACCESS)).out
    assert not (jail.workspace / "a").exists()


@pytest.mark.parametrize("missing", [".env", "not/there/yet", "there/file"])
async def test_what_is_denied_and_does_not_exist_cannot_be_made(jail: Jail, missing: str) -> None:
    (jail.workspace / "there").mkdir()
    path = jail.workspace / missing
    script = (
        f"mkdir -p $(dirname {missing}); echo evil >{missing}; mkdir -p {missing}/x; ln -s /etc/passwd {missing}; true"
    )
    await jail.run(script, profile(jail.workspace, denied=(path,)))
    assert tree(jail.workspace) == {"there": None}
    await jail.run(script, profile(jail.workspace))
    assert tree(jail.workspace) != {"there": None}


async def test_what_is_denied_by_a_link_is_denied_where_it_is(jail: Jail, secret: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(secret)
    assert await seen(jail, f"cat {secret} {link}", profile(denied=(link,))) == ""
    folder = tmp_path / "folder"
    folder.symlink_to(secret.parent)
    assert await seen(jail, f"cat {secret} {folder}/file", profile(denied=(folder / "file",))) == ""


async def test_a_link_to_what_is_denied_cannot_be_led_elsewhere(jail: Jail, secret: Path) -> None:
    (jail.workspace / "sub").mkdir()
    (jail.workspace / "sub" / "link").symlink_to(secret)
    denied = profile(jail.workspace, denied=(jail.workspace / "sub" / "link",))
    await jail.run("ln -sfn /etc/passwd sub/link; rm -f sub/link; mv sub other; mkdir -p sub", denied)
    assert (jail.workspace / "sub" / "link").readlink() == secret
    (jail.workspace / "link").symlink_to(secret)
    with pytest.raises(SandboxUnavailable, match="name what it leads to"):
        await jail.run("true", profile(jail.workspace, denied=(jail.workspace / "link",)))


async def test_the_innermost_path_decides(jail: Jail, secret: Path) -> None:
    private = secret.parent.parent
    inner = private / "open"
    inner.mkdir()
    script = f"echo new >{inner}/file; cat {inner}/file; ls {private}; cat {secret}"
    assert await seen(jail, script, profile(inner, denied=(private,))) == "new\n"
    kept = jail.workspace / "kept"
    (kept / "build").mkdir(parents=True)
    await jail.run("echo x >kept/x; echo y >kept/build/y", profile(jail.workspace, kept / "build", read_only=(kept,)))
    assert tree(kept) == {"build": None, "build/y": "y\n"}


async def test_what_is_read_only_in_a_writable_root_is_read_and_not_changed(jail: Jail) -> None:
    kept = jail.workspace / "a" / "kept"
    kept.mkdir(parents=True)
    (kept / "file").write_text("old")
    (jail.workspace / "config").write_text("old")
    restricted = profile(jail.workspace, read_only=(kept, jail.workspace / "config", jail.workspace / "missing"))
    before = tree(jail.workspace)
    script = """
        cat a/kept/file config; echo new >a/kept/file; echo new >config; rm -rf a config; mv a b; mv config c
        echo x >a/kept/more; ln -f /etc/passwd config; echo x >missing; mkdir -p missing/x; touch a/kept
    """
    assert (await jail.run(script, restricted)).out == "oldold"
    assert tree(jail.workspace) == before
    await jail.run(script, FULL_ACCESS)
    assert tree(jail.workspace) != before


async def test_only_readable_roots_and_what_programs_need_can_be_read(jail: Jail, secret: Path, tmp_path: Path) -> None:
    readable = tmp_path / "readable"
    readable.mkdir()
    (readable / "file").write_text("shown\n")
    named = tmp_path / "named"
    named.symlink_to(readable)
    minimal = profile(jail.workspace, readable=(named,))
    script = f"cat {secret} {secret.parent}/../deep/file; ls {tmp_path}/private; cat /proc/1/root{secret}"
    assert await seen(jail, script, minimal) == ""
    script = (
        f"cat {readable}/file {named}/file; echo x >{readable}/x; echo new >made; cat made; date >/dev/null && id -u"
    )
    assert (await jail.run(script, minimal)).out == f"shown\nshown\nnew\n{os.getuid()}\n"
    assert sorted(os.listdir(readable)) == ["file"]
    script = "ls -d /home /root /var /srv /opt /mnt /run /boot /sys /etc/shadow /etc/ssh 2>/dev/null; touch /x /etc/x"
    assert (await jail.run(script, minimal)).out == ""
    assert "/etc/shadow" in (await jail.run(script, FULL_ACCESS)).out


async def test_a_command_that_cannot_see_its_working_directory_is_refused(jail: Jail) -> None:
    with pytest.raises(SandboxUnavailable, match="working directory"):
        await jail.run("true", profile(readable=()))
    with pytest.raises(SandboxUnavailable, match="working directory"):
        await jail.run("true", profile(denied=(jail.workspace.parent,)))


async def test_a_linked_root_inside_another_root_is_refused(jail: Jail, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    inner = jail.workspace / "inner"
    inner.mkdir()
    await jail.run("true", profile(jail.workspace, inner))
    await jail.run("rmdir inner; ln -s ../outside inner", profile(jail.workspace))
    for restricted in (profile(inner), profile(jail.workspace, inner)):
        with pytest.raises(SandboxUnavailable, match="leads through the symbolic link"):
            await jail.run("echo evil >../outside/file", restricted)
    assert tree(outside) == {}


@pytest.mark.parametrize("folder", ["", "sub"])
async def test_what_a_dangling_pointer_names_cannot_be_made(jail: Jail, folder: str) -> None:
    (jail.workspace / "sub").mkdir()
    (jail.workspace / folder / ".git").write_text(f"gitdir: {jail.workspace}/elsewhere/not-there\n")
    before = tree(jail.workspace)
    script = "mkdir -p elsewhere/not-there && echo evil >elsewhere/not-there/config"
    await jail.run(script, profile(jail.workspace))
    assert tree(jail.workspace) == before
    await jail.run(script, FULL_ACCESS)
    assert tree(jail.workspace) != before


async def test_a_bare_repository_takes_no_orders_from_a_command(jail: Jail) -> None:
    bare = jail.workspace / "mirror.git"
    for name in ("objects", "refs", "hooks"):
        (bare / name).mkdir(parents=True)
    (bare / "HEAD").write_text("ref: refs/heads/main\n")
    (bare / "config").write_text("safe")
    script = """
        echo evil >mirror.git/config; echo evil >mirror.git/hooks/x; mv mirror.git m; rm -rf mirror.git/hooks
        echo new >mirror.git/refs/new
    """
    await jail.run(script, profile(jail.workspace))
    assert (bare / "config").read_text() == "safe"
    assert os.listdir(bare / "hooks") == []
    assert (bare / "refs" / "new").read_text() == "new\n"


async def test_the_files_of_a_full_root_are_open_and_the_kernels_are_not(jail: Jail) -> None:
    script = f"""
        echo x >{jail.workspace}/x && echo file; for f in /proc/sys/kernel/hostname /proc/sys/fs/lease-break-time
        do (cat $f >/dev/null && : >>$f) 2>/dev/null && echo $f; done; touch /sys/x 2>/dev/null && echo sys; true
    """
    result = await jail.run(script, profile(Path("/")))
    assert result.out == "file\n", result.err
    for name in os.listdir(jail.workspace):
        shutil.rmtree(jail.workspace / name, ignore_errors=True)
