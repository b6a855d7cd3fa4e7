"""Attempts to leave something in the workspace that later runs unsandboxed: hooks, configuration, credentials."""

import os
import subprocess
from pathlib import Path

from msgspec.structs import replace

from app_server.sandbox.permissions import PermissionProfile
from tests.sandbox.attempts import Attempt, Check, Host, Outcome, Prepare, py, sh
from tests.sandbox.needs import program

WORKSPACE = ("workspace",)
BOTH = ("workspace", "workspace with network")


def make_repository(place: Path) -> Path:
    """What git takes for a repository."""
    for name in ("hooks", "objects", "refs/heads", "info"):
        (place / name).mkdir(parents=True)
    (place / "HEAD").write_text("ref: refs/heads/main\n")
    (place / "config").write_text("[core]\n\trepositoryformatversion = 0\n")
    return place


def top_repository(host: Host) -> Check:
    return host.watch(make_repository(host.workspace / ".git"))


def nested_repository(host: Host) -> Check:
    return host.watch(make_repository(host.workspace / "vendor" / "lib" / ".git"))


def nested_link(host: Host) -> Check:
    make_repository(host.outside / "elsewhere")
    project = host.workspace / "deep" / "project"
    project.mkdir(parents=True)
    (project / ".git").symlink_to(host.outside / "elsewhere")
    return host.watch(project / ".git")


def worktree(host: Host) -> Check:
    """A worktree at the top whose repository lies in the workspace under a name of its own."""
    common = make_repository(host.workspace / "store" / "main.repo")
    gitdir = common / "worktrees" / "tree"
    gitdir.mkdir(parents=True)
    (gitdir / "commondir").write_text("../..\n")
    (gitdir / "HEAD").write_text("ref: refs/heads/main\n")
    (host.workspace / ".git").write_text(f"gitdir: {gitdir}\n")
    host.env["COMMON"], host.env["GITDIR"] = str(common), str(gitdir)
    return host.watch(common, host.workspace / ".git")


def second_root(host: Host) -> Path:
    return host.top / "second"


def with_second_root(host: Host, profile: PermissionProfile) -> PermissionProfile:
    return replace(profile, writable_roots=(*profile.writable_roots, str(second_root(host))))


def worktree_of_another_root(host: Host) -> Check:
    common = make_repository(second_root(host) / "main.repo")
    gitdir = common / "worktrees" / "tree"
    gitdir.mkdir(parents=True)
    (gitdir / "commondir").write_text("../..\n")
    (host.workspace / ".git").write_text(f"gitdir: {gitdir}\n")
    host.env["COMMON"], host.env["GITDIR"] = str(common), str(gitdir)
    return host.watch(common)


def deep_root(host: Host) -> Path:
    return host.workspace / "a" / "b"


def with_deep_root(host: Host, profile: PermissionProfile) -> PermissionProfile:
    return replace(profile, writable_roots=(*profile.writable_roots, str(deep_root(host))))


def deep_root_without_repository(host: Host) -> Check:
    deep_root(host).mkdir(parents=True)
    return lambda _: os.path.lexists(deep_root(host) / ".git")


def nothing_named(*names: str) -> Prepare:
    """No such entry at the top of the workspace may be left."""

    def prepare(host: Host) -> Check:
        return lambda _: any(os.path.lexists(host.workspace / name) for name in names)

    return prepare


def git_runs_nothing(host: Host) -> Check:
    """The user's git, called in the workspace afterwards, must not run what the command left."""
    ran = host.outside / "ran"

    def check(_: Outcome) -> bool:
        environment = {"PATH": os.environ["PATH"], "HOME": str(host.top), "GIT_CONFIG_NOSYSTEM": "1"}
        for words in (["status"], ["diff"], ["ls-files"], ["log"], ["commit", "--allow-empty", "-m", "x"]):
            subprocess.run(
                ["git", "-c", "user.name=x", "-c", "user.email=x@x", *words],
                cwd=host.workspace,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        return ran.exists()

    return check


def user_repository(host: Host) -> Check:
    """A repository of the user's, and git as above."""
    subprocess.run(["git", "init", "-q", host.workspace], check=True, capture_output=True)
    return git_runs_nothing(host)


def existing(name: str) -> Prepare:
    """A directory of the user's at the top of the workspace."""

    def prepare(host: Host) -> Check:
        (host.workspace / name).mkdir()
        (host.workspace / name / "config").write_text("safe\n")
        return host.watch(host.workspace / name)

    return prepare


def locked(host: Host) -> Check:
    (host.workspace / "locked" / "dir").mkdir(parents=True)
    (host.workspace / "locked" / "file").write_text("text\n")
    return host.watch(host.workspace / "locked")


def with_locked(host: Host, profile: PermissionProfile) -> PermissionProfile:
    return replace(profile, read_only=(str(host.workspace / "locked"),))


EVIL = """
printf '#!/bin/sh\\n: >"%s/ran"\\nexit 1\\n' "$OUT" >"$WORK/evil"; chmod +x "$WORK/evil"
"""
RUN_HOOK = 'cp "$WORK/evil" .git/hooks/pre-commit; cp "$WORK/evil" .git/hooks/post-index-change'


def planted(name: str) -> list[Attempt]:
    """Attempts on one protected name: one that exists, and one that does not."""
    change = f"echo evil >>{name}/config; : >{name}/new; rm -rf {name}; mv {name} moved; chmod 777 {name}"
    make = f'rmdir {name}; rm -rf {name}; mkdir {name}; echo evil >{name}/config; ln -s "$OUT" {name}; : >{name}'
    return [
        Attempt(name=f"change {name}", program=sh(change), prepare=existing(name), profiles=WORKSPACE),
        Attempt(name=f"make {name}", program=sh(make), prepare=nothing_named(name), profiles=WORKSPACE),
    ]


ATTEMPTS = [
    *planted(".codex"),
    *planted(".agents"),
    *planted(".aws"),
    Attempt(
        name="plant a hook",
        program=sh("echo evil >.git/hooks/pre-commit; echo evil >.git/hooks/post-checkout"),
        prepare=top_repository,
        profiles=BOTH,
    ),
    Attempt(
        name="plant a hook by way of other names",
        program=sh(
            """
            mkdir x; ln -s ../.git x/l
            for d in "/proc/self/root$WORK/.git" /proc/self/cwd/.git x/../.git x/l ./.git "$WORK/../workspace/.git"
            do echo evil >$d/hooks/pre-commit; done
            """
        ),
        prepare=top_repository,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="let git itself change the configuration",
        program=sh(
            'git config core.fsmonitor "$WORK/evil"; git config core.hooksPath "$WORK"; git config alias.st "!evil"'
        ),
        prepare=top_repository,
        profiles=WORKSPACE,
        needs=(program("git"),),
    ),
    Attempt(
        name="rename a new configuration over the old",
        program=py(
            """
            for lock in (WORK + "/.git/config.lock", WORK + "/new"):
                def replace():
                    with open(lock, "w") as file:
                        file.write("[core]\\n\\tfsmonitor = evil\\n")
                    os.rename(lock, WORK + "/.git/config")
                each(replace)
            """
        ),
        prepare=top_repository,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="link to the configuration and write there",
        program=sh("ln .git/config alias && echo evil >>alias; ln -s .git/config soft && echo evil >>soft"),
        prepare=top_repository,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="put another repository in the place of the old",
        program=sh(
            'mv .git old; rm -rf .git; mkdir -p .git/hooks; echo evil >.git/hooks/pre-commit; ln -sfn "$OUT" .git'
        ),
        prepare=top_repository,
        profiles=BOTH,
    ),
    Attempt(
        name="exchange the repository with another",
        program=py(
            """
            os.makedirs(WORK + "/own/hooks")
            lib("renameat2", -100, os.fsencode(WORK + "/own"), -100, os.fsencode(WORK + "/.git"), 2)
            """
        ),
        prepare=top_repository,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="change the mode and the times of the repository",
        program=sh("chmod -R 777 .git; touch -d @1 .git/config .git; chmod 777 .git/hooks"),
        prepare=top_repository,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="plant a hook in a nested repository",
        program=sh("echo evil >vendor/lib/.git/hooks/pre-commit; echo evil >>vendor/lib/.git/config"),
        prepare=nested_repository,
        profiles=BOTH,
    ),
    Attempt(
        name="move a nested repository away",
        program=sh("mv vendor/lib/.git vendor/lib/old; mkdir -p vendor/lib/.git/hooks"),
        prepare=nested_repository,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="rename the parent of a nested repository",
        program=sh("mv vendor/lib vendor/old; mkdir -p vendor/lib/.git/hooks"),
        prepare=nested_repository,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="rename the grandparent of a nested repository",
        program=sh("mv vendor old; mkdir -p vendor/lib/.git/hooks"),
        prepare=nested_repository,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="exchange the parent of a nested repository",
        program=py(
            """
            for name in ("vendor", "vendor/lib"):
                os.makedirs(WORK + "/own/.git/hooks", exist_ok=True)
                each(lambda: lib("renameat2", -100, os.fsencode(WORK + "/own"), -100, os.fsencode(f"{WORK}/{name}"), 2))
            """
        ),
        prepare=nested_repository,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="replace the link to a nested repository",
        program=sh("rm deep/project/.git; mkdir deep/project/.git; mv deep/project x; mv deep y"),
        prepare=nested_link,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="change the pointer of a worktree",
        program=sh('echo "gitdir: $WORK/own" >.git; rm -f .git; echo evil >n; mv -f n .git'),
        prepare=worktree,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="plant a hook in the common directory of a worktree",
        program=sh('echo evil >"$COMMON/hooks/pre-commit"; echo evil >>"$COMMON/config"'),
        prepare=worktree,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="change where the worktree finds its common directory",
        program=sh('echo "$WORK/own" >"$GITDIR/commondir"; echo evil >"$GITDIR/config.worktree"; mv "$GITDIR" x'),
        prepare=worktree,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="move the common directory of a worktree",
        program=sh('mv "$COMMON" x; mv store y; mkdir -p store/main.repo/hooks'),
        prepare=worktree,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="plant a hook in a common directory in another writable root",
        program=sh('echo evil >"$COMMON/hooks/pre-commit"; echo evil >>"$COMMON/config"; mv "$COMMON" "$COMMON.old"'),
        prepare=worktree_of_another_root,
        adjust=with_second_root,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="make a repository by git init",
        program=sh(EVIL + 'git init -q; git config core.fsmonitor "$WORK/evil"\n' + RUN_HOOK),
        prepare=git_runs_nothing,
        profiles=BOTH,
        needs=(program("git"),),
    ),
    Attempt(
        name="make the workspace itself a bare repository",
        program=sh(
            EVIL + 'mkdir -p objects refs; echo "ref: refs/heads/main" >HEAD\n'
            'printf "[core]\\n\\trepositoryformatversion = 0\\n" >config\n'
            'printf "\\tbare = false\\n\\tworktree = .\\n\\tfsmonitor = %s/evil\\n" "$WORK" >>config'
        ),
        prepare=git_runs_nothing,
        profiles=WORKSPACE,
        needs=(program("git"),),
    ),
    Attempt(
        name="point to a repository by a file named .git",
        program=sh(
            EVIL + 'git init -q own; git -C own config core.fsmonitor "$WORK/evil"; echo "gitdir: own/.git" >.git'
        ),
        prepare=git_runs_nothing,
        profiles=WORKSPACE,
        needs=(program("git"),),
    ),
    Attempt(
        name="point to a repository by a link named .git",
        program=sh(EVIL + 'git init -q own; git -C own config core.fsmonitor "$WORK/evil"; ln -s own/.git .git'),
        prepare=git_runs_nothing,
        profiles=WORKSPACE,
        needs=(program("git"),),
    ),
    Attempt(
        name="have git run a hook of the user's repository",
        program=sh(EVIL + RUN_HOOK + '; git config core.fsmonitor "$WORK/evil"'),
        prepare=user_repository,
        profiles=WORKSPACE,
        needs=(program("git"),),
    ),
    Attempt(
        name="make a repository in a writable root within another",
        program=sh("mkdir -p a/b/.git/hooks; rmdir a/b/.git; mkdir a/b/.git"),
        prepare=deep_root_without_repository,
        adjust=with_deep_root,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="put another directory in the place of a writable root within another",
        program=sh("mv a/b old; mv a old; mkdir -p a/b/.git/hooks"),
        prepare=deep_root_without_repository,
        adjust=with_deep_root,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="uncover a repository in a user namespace of its own",
        program=sh(
            """
            unshare -Urm sh -c 'umount -l .git; umount .git; mount -o remount,rw,bind .git; echo evil >>.git/config
                mkdir m; mount --bind . m && echo evil >>m/.git/config
                mount --rbind "$WORK" m && echo evil >>m/.git/config
                umount "$WORK"; umount -l /; echo evil >>"$WORK/.git/config"'
            """
        ),
        prepare=top_repository,
        profiles=WORKSPACE,
    ),
    Attempt(
        name="write what is read-only by the profile",
        program=sh(
            "echo evil >>locked/file; : >locked/new; rm -rf locked/dir; chmod 777 locked; mv locked x; mkdir locked"
        ),
        prepare=locked,
        adjust=with_locked,
        profiles=WORKSPACE,
    ),
]
