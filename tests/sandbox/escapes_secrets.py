"""Attempts to read what is kept from a command, and to be loaded by whatever builds the sandbox around it."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

from msgspec.structs import replace

from app_server.sandbox.permissions import PermissionProfile
from tests.sandbox.attempts import EVERYWHERE, Attempt, Check, Host, Prepare, py, sh
from tests.sandbox.needs import program

SECRET = "secret-of-the-user"
WORKSPACE = ("workspace", "workspace with network")


def shows_the_secret(place: Path) -> Check:
    """The secret must neither be shown nor changed."""

    def check(outcome: object) -> bool:
        if SECRET in str(getattr(outcome, "text", "")):
            return True
        return not place.is_file() or place.read_text() != SECRET

    return check


def secret_at(*names: str) -> Prepare:
    """A file with a secret, which the profile denies. PRIVATE is its folder."""

    def prepare(host: Host) -> Check:
        place = host.top.joinpath(*names)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(SECRET)
        host.env["PRIVATE"], host.env["SECRET"] = str(place.parent), str(place)
        return shows_the_secret(place)

    return prepare


def denying(*names: str):
    """The profile, with a path that can be neither read nor written."""

    def adjust(host: Host, profile: PermissionProfile) -> PermissionProfile:
        return replace(profile, denied=(str(host.top.joinpath(*names)),))

    return adjust


def absent(host: Host) -> Check:
    return lambda _: os.path.lexists(host.workspace / "absent")


def reading_the_workspace_only(host: Host, profile: PermissionProfile) -> PermissionProfile:
    # The interpreter of the tests is no part of the system, and the attempt needs it to be made.
    return replace(profile, readable_roots=(str(host.workspace), sys.prefix, sys.base_prefix))


def ran(host: Host) -> Check:
    return lambda _: any(path.name.startswith("ran") for path in host.outside.iterdir())


def loader_output(host: Host) -> Check:
    """The C library's loader writes where these variables say, in every program that they reach."""
    host.env |= {"LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": str(host.outside / "ran")}
    return ran(host)


def library(variable: str) -> Prepare:
    """A library that leaves a trace wherever it is loaded."""

    def prepare(host: Host) -> Check:
        source, built = host.top / "evil.c", host.workspace / "evil.so"
        source.write_text(
            f"""
            #include <fcntl.h>
            #include <unistd.h>
            __attribute__((constructor)) static void run(void)
            {{ close(open("{host.outside}/ran", O_CREAT | O_WRONLY, 0600)); }}
            unsigned la_version(unsigned version) {{ run(); return version; }}
            """
        )
        subprocess.run(["cc", "-shared", "-fPIC", "-o", built, source], check=True, capture_output=True)
        host.env[variable] = str(built)
        return ran(host)

    return prepare


MODULES = ("sitecustomize", "usercustomize", "ctypes", "os", "struct", "json", "socket", "subprocess", "app_server")


def modules(host: Host) -> Check:
    """Modules that leave a trace wherever they are imported, in the working directory and named by variables."""
    text = f"open({str(host.outside / 'ran')!r}, 'w').close()\n"
    for name in MODULES:
        (host.workspace / f"{name}.py").write_text(text)
    startup = host.workspace / "startup.py"
    startup.write_text(text)
    place = str(host.workspace)
    host.env |= {"PYTHONPATH": place, "PYTHONSTARTUP": str(startup), "PYTHONUSERBASE": place}
    return ran(host)


def shell_startup(host: Host) -> Check:
    """A file that shells read when they start."""
    startup = host.workspace / "startup"
    startup.write_text(f': >"{host.outside}/ran"\n')
    host.env |= {"ENV": str(startup), "BASH_ENV": str(startup), "SHELLOPTS": "", "PS4": f"$(: >{host.outside}/ran)"}
    return ran(host)


TOOLS = ("bwrap", "setsid", "unshare", "setpriv", "python3", "python", "sh", "env", "prlimit", "systemd-run")


def tools(host: Host) -> Check:
    """Programs of the names that a sandbox may be built with, first on the path."""
    place = host.workspace / "bin"
    place.mkdir()
    for name in TOOLS:
        tool = place / name
        tool.write_text(f'#!/bin/sh\n: >"{host.outside}/ran"\n')
        tool.chmod(0o755)
    host.env["PATH"] = f"{place}:{os.environ['PATH']}"
    return ran(host)


def terminal(attempt: Attempt) -> list[Attempt]:
    """The attempt by pipes and in a terminal, for which the sandbox is built in another way."""
    return [attempt, dataclasses.replace(attempt, name=f"{attempt.name}, in a terminal", tty=True)]


READ = """
cat "$SECRET"; cat "/proc/self/root$SECRET"; cat <"$SECRET"; dd if="$SECRET"; grep -r . "$PRIVATE"
cp "$SECRET" /dev/shm/x && cat /dev/shm/x; d=/dev/shm/d; mkdir $d
ln -s "$SECRET" $d/s && cat $d/s; rm -rf $d /dev/shm/x
"""
MOVE = """
cp -r "$PRIVATE" copy; cat copy/*; ln "$SECRET" hard; cat hard; mv "$PRIVATE" moved; cat moved/*; tar cf - "$PRIVATE"
ln -s "$PRIVATE" soft; cat soft/*; mkdir m; mount --bind "$PRIVATE" m; cat m/*; chmod 777 "$PRIVATE"; cat "$PRIVATE"/*
"""

ATTEMPTS = [
    Attempt(
        name="read a file that the profile denies",
        program=sh(READ),
        prepare=secret_at("private", "auth.json"),
        adjust=denying("private", "auth.json"),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="read a folder that the profile denies",
        program=sh(READ),
        prepare=secret_at("private", "auth.json"),
        adjust=denying("private"),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="read a file that the profile denies, by calls",
        program=py(
            """
            path = os.environ["SECRET"]
            def show(fd):
                print(os.read(fd, 100))
            each(
                lambda: show(os.open(path, os.O_RDWR)),
                lambda: show(os.open(f"/proc/self/fd/{os.open(path, os.O_PATH)}", 0)),
                lambda: show(os.open("auth.json", 0, dir_fd=os.open(os.path.dirname(path), os.O_PATH))),
                lambda: os.sendfile(1, os.open(path, 0), 0, 100), lambda: os.truncate(path, 0), lambda: os.unlink(path),
            )
            """
        ),
        prepare=secret_at("private", "auth.json"),
        adjust=denying("private", "auth.json"),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="read a folder that the profile denies by the root of the parents",
        program=sh('for p in 1 2 $PPID self $VICTIM; do cat "/proc/$p/root$SECRET"; done'),
        prepare=lambda host: (host.victim(), secret_at("private", "auth.json")(host))[1],
        adjust=denying("private"),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="list a folder that the profile denies",
        program=sh('ls "$PRIVATE" | sed "s/auth.json/secret-of-the-user/"'),
        prepare=secret_at("private", "auth.json"),
        adjust=denying("private"),
    ),
    Attempt(
        name="read a denied folder of the workspace",
        program=sh(READ + MOVE),
        prepare=secret_at("workspace", "private", "token"),
        adjust=denying("workspace", "private"),
        profiles=WORKSPACE,
    ),
    Attempt(
        name="read a denied file of the workspace",
        program=sh(READ + MOVE),
        prepare=secret_at("workspace", "private", "token"),
        adjust=denying("workspace", "private", "token"),
        profiles=WORKSPACE,
    ),
    Attempt(
        name="change a denied file of the workspace",
        program=sh('echo evil >"$SECRET"; echo evil >n; mv -f n "$SECRET"; rm -f "$SECRET"; mv "$PRIVATE" x'),
        prepare=secret_at("workspace", "private", "token"),
        adjust=denying("workspace", "private", "token"),
        profiles=WORKSPACE,
    ),
    Attempt(
        name="make a denied file of the workspace",
        program=sh("echo evil >absent; mkdir absent; ln -s / absent; echo evil >n; mv n absent"),
        prepare=absent,
        adjust=denying("workspace", "absent"),
        profiles=WORKSPACE,
    ),
    Attempt(
        name="read what the profile does not open",
        program=sh(READ),
        prepare=secret_at("private", "auth.json"),
        adjust=reading_the_workspace_only,
        profiles=EVERYWHERE,
    ),
    *terminal(
        Attempt(
            name="make the loader of the helper write outside",
            program=sh("/bin/true"),
            prepare=loader_output,
            profiles=EVERYWHERE,
        )
    ),
    *terminal(
        Attempt(
            name="have a library loaded into the helper",
            program=sh("/bin/true"),
            prepare=library("LD_PRELOAD"),
            needs=(program("cc"),),
            profiles=EVERYWHERE,
        )
    ),
    *terminal(
        Attempt(
            name="have an audit library loaded into the helper",
            program=sh("/bin/true"),
            prepare=library("LD_AUDIT"),
            needs=(program("cc"),),
            profiles=EVERYWHERE,
        )
    ),
    *terminal(
        Attempt(
            name="have modules imported by the helper",
            program=(sys.executable, "-c", "print('tried'); import ctypes"),
            prepare=modules,
            profiles=EVERYWHERE,
        )
    ),
    *terminal(
        Attempt(
            name="have a startup file read by the helper",
            program=sh("bash -c true; sh -i -c true </dev/null"),
            prepare=shell_startup,
            profiles=EVERYWHERE,
        )
    ),
    *terminal(
        Attempt(
            name="have programs of its own run by the helper",
            program=sh("bwrap; setsid; python3"),
            prepare=tools,
            profiles=EVERYWHERE,
        )
    ),
]
