"""Landlock's helper: what it may do for a command, and the filters, run by a small interpreter."""

import os
import struct
from pathlib import Path

import pytest

from app_server.sandbox import kernel
from app_server.sandbox.area import DENY, READ, WRITE, Area
from app_server.sandbox.landlock_filter import (
    ALLOW,
    ASK,
    ENOSYS,
    EOPNOTSUPP,
    EPERM,
    ERRNO,
    number_of,
    questions,
    refusals,
)
from app_server.sandbox.sandbox import SandboxUnavailable
from tests.unit.sandbox.test_seccomp import run

MACHINES = ("x86_64", "aarch64")
AUDIT = 0  # these filters leave the architecture to the other one


def answer(code: bytes, machine: str, call: str, *arguments: int) -> int:
    number = number_of(call, machine)
    assert number is not None
    return run(code, number, arguments, audit=AUDIT)


@pytest.fixture
def tree(tmp_path: Path) -> bytes:
    for folder in ("ws/src/deep", "ws/.git", "ws/vendor/library/.git", "ws/vendor/other", "outside"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ws" / "file").touch()
    return os.fsencode(tmp_path.resolve())


def area(tree: bytes, rules: dict[bytes, int] | None = None, closed: tuple[bytes, ...] = ()) -> Area:
    given = {b"/": READ, tree + b"/ws": WRITE} | {tree + path: access for path, access in (rules or {}).items()}
    return Area(given, [tree + path for path in (b"/ws/vendor/library/.git", *closed)], [b".git", b".codex"])


def test_landlock_is_given_the_folders_that_hold_nothing_protected(tree: bytes) -> None:
    found = area(tree)
    assert found.granted == {tree + b"/ws/src", tree + b"/ws/vendor/other"}
    assert found.is_granted(tree + b"/ws/src/deep/new")
    assert not found.is_granted(tree + b"/ws/new")


@pytest.mark.parametrize(
    "path", [b"/ws", b"/ws/file", b"/ws/new", b"/ws/src/x", b"/ws/vendor/library/x", b"/ws/src/.git"]
)
def test_what_lies_in_a_root_may_be_changed(tree: bytes, path: bytes) -> None:
    assert area(tree).may_change(tree + path)


@pytest.mark.parametrize(
    "path",
    [
        b"/outside",
        b"/wsx",
        b"",
        b"/ws/.git",
        b"/ws/.git/hooks/x",
        b"/ws/.codex",
        b"/ws/.GIT/x",
        b"/ws/vendor/library/.git",
    ],
)
def test_what_is_outside_or_protected_may_not(tree: bytes, path: bytes) -> None:
    assert not area(tree).may_change(tree + path)
    assert not area(tree).may_change(b"pipe:[1]")


def test_what_leads_to_something_protected_stays_where_it_is(tree: bytes) -> None:
    found = area(tree)
    for path in (b"/ws", b"/ws/vendor", b"/ws/vendor/library"):
        assert found.may_change(tree + path)
        assert not found.may_move(tree + path)
    assert found.may_move(tree + b"/ws/vendor/other")


def test_the_innermost_rule_decides(tree: bytes) -> None:
    found = area(tree, {b"/ws/src": READ, b"/ws/src/deep": WRITE, b"/ws/src/deep/secret": DENY})
    assert not found.may_change(tree + b"/ws/src/x")
    assert found.may_change(tree + b"/ws/src/deep/x")
    assert not found.may_change(tree + b"/ws/src/deep/secret/x")
    assert not found.may_read(tree + b"/ws/src/deep/secret/x")
    assert found.may_read(tree + b"/ws/src/deep/x")
    assert not found.may_move(tree + b"/ws/src/deep")


def test_what_may_be_read_is_cut_around_what_is_denied(tree: bytes) -> None:
    found = area(tree, {b"/ws/src": DENY})
    readable = set(found.readable())
    assert {tree + b"/outside", tree + b"/ws/vendor", tree + b"/ws/file"} <= readable
    assert not readable & {b"/", b"/dev", tree, tree + b"/ws", tree + b"/ws/src", tree + b"/ws/src/deep"}
    assert {b"/", tree, tree + b"/ws"} <= found.listed
    assert tree + b"/ws/src" not in found.listed


def test_where_little_is_readable_only_that_is(tree: bytes) -> None:
    found = Area({b"/": DENY, tree + b"/outside": READ}, [], [])
    assert list(found.readable()) == [tree + b"/outside"]
    assert found.listed == frozenset()


def test_a_folder_that_was_moved_is_not_granted_at_its_old_place(tree: bytes) -> None:
    found = area(tree)
    found.forget(tree + b"/ws/src")
    assert not found.is_granted(tree + b"/ws/src/x")


def test_a_single_file_can_be_a_root(tree: bytes) -> None:
    found = Area({b"/": READ, tree + b"/ws/file": WRITE}, [], [b".git"])
    assert found.writable_files() == [tree + b"/ws/file"]
    assert found.granted == set()


@pytest.mark.parametrize(("abi", "last"), [(1, kernel.FS_MAKE_SYM), (2, kernel.FS_REFER), (3, 1 << 14), (4, 1 << 14)])
def test_older_versions_know_fewer_rights(abi: int, last: int) -> None:
    assert kernel.filesystem_rights(abi) == last * 2 - 1
    assert kernel.filesystem_rights(7) == (1 << 16) - 1


@pytest.mark.parametrize("machine", MACHINES)
def test_what_nobody_decides_on_is_refused(machine: str) -> None:
    code = refusals(truncate=False, signals=False, machine=machine)
    for call in ("ptrace", "mount", "unshare", "setns", "keyctl", "shmget", "mq_open", "open_by_handle_at", "bpf"):
        assert answer(code, machine, call) == ERRNO | EPERM
    assert answer(code, machine, "setxattr") == ERRNO | EOPNOTSUPP
    assert answer(code, machine, "openat2") == answer(code, machine, "clone3") == ERRNO | ENOSYS
    for call in ("openat", "fchmod", "kill", "flock"):
        assert answer(code, machine, call) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_processes_and_threads_are_made_but_no_namespaces_and_no_shared_descriptors(machine: str) -> None:
    code = refusals(truncate=False, signals=False, machine=machine)
    thread, fork, vfork = 0x3D0F00, 0x1200011, 0x4111
    assert [answer(code, machine, "clone", flags) for flags in (thread, fork, vfork)] == [ALLOW] * 3
    for flags in (0x10000000, 0x20000000, 0x40000000, 0x00020000, 0x400):
        assert answer(code, machine, "clone", fork | flags) == ERRNO | EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_ioctls_that_change_a_file_open_for_reading_are_refused(machine: str) -> None:
    code = refusals(truncate=False, signals=False, machine=machine)
    for request in (0x40086602, 0x40087602, 0x401C5820, 0x40806685, 0x5000940E):
        assert answer(code, machine, "ioctl", 3, request) == ERRNO | EPERM
    for request in (0x5401, 0x5413, 0x80086601, 0x40049409, 0x541B):
        assert answer(code, machine, "ioctl", 3, request) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("call", "arguments"), [("setpriority", (0, 12, 5)), ("sched_setaffinity", (12,)), ("prlimit64", (12,))]
)
def test_changing_another_process_than_oneself_is_asked_about(
    machine: str, call: str, arguments: tuple[int, ...]
) -> None:
    code = questions(reads=False, signals=False, machine=machine)
    assert answer(code, machine, call, *arguments) == ASK
    assert answer(code, machine, call, *(0 if word == 12 else word for word in arguments)) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_what_an_old_landlock_cannot_hold_back_the_filter_does(machine: str) -> None:
    old = refusals(truncate=True, signals=True, machine=machine)
    assert answer(old, machine, "openat", 0, 0, os.O_RDONLY | os.O_TRUNC) == ERRNO | EPERM
    for flags in (os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_TRUNC, os.O_RDONLY):
        assert answer(old, machine, "openat", 0, 0, flags) == ALLOW
    assert answer(old, machine, "fcntl", 0, 8, 123) == ERRNO | EPERM
    assert answer(old, machine, "fcntl", 0, 2, 1) == ALLOW
    new = refusals(truncate=False, signals=False, machine=machine)
    assert answer(new, machine, "openat", 0, 0, os.O_RDONLY | os.O_TRUNC) == ALLOW
    assert answer(new, machine, "fcntl", 0, 8, 123) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_only_with_a_proxy_the_supervisor_is_asked_to_connect(machine: str) -> None:
    for proxied, expected in ((False, ALLOW), (True, ASK)):
        code = questions(reads=False, signals=False, proxied=proxied, machine=machine)
        assert answer(code, machine, "connect", 3, 0x1000, 16) == expected


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("signals", [False, True])
def test_the_supervisor_is_asked_about_changes_and_else_about_no_more_than_needed(
    machine: str, reads: bool, signals: bool
) -> None:
    code = questions(reads=reads, signals=signals, machine=machine)
    for call in ("mkdirat", "unlinkat", "renameat2", "linkat", "fchmod", "fchownat", "utimensat", "truncate", "flock"):
        assert answer(code, machine, call) == ASK
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_DIRECTORY, os.O_TMPFILE | os.O_RDWR):
        assert answer(code, machine, "openat", 0, 0, flags) == ASK
    assert answer(code, machine, "openat", 0, 0, os.O_RDONLY | os.O_CLOEXEC) == (ASK if reads else ALLOW)
    assert answer(code, machine, "kill", 1, 9) == (ASK if signals else ALLOW)
    assert [answer(code, machine, "fcntl", 0, command) for command in (6, 7, 37, 38, 1)] == [ASK] * 4 + [ALLOW]
    assert answer(code, machine, "clone") == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_changing_everything_of_the_user_is_asked_about_though_it_names_nobody(machine: str) -> None:
    code = questions(reads=False, signals=False, machine=machine)
    assert [answer(code, machine, "setpriority", kind, 0, 5) for kind in (0, 1, 2)] == [ALLOW, ALLOW, ASK]
    assert [answer(code, machine, "ioprio_set", kind, 0, 5) for kind in (1, 2, 3)] == [ALLOW, ALLOW, ASK]


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        refusals(truncate=False, signals=False, machine="riscv64")


def test_every_jump_of_the_filters_stays_within_them() -> None:
    for machine in MACHINES:
        for code in (
            refusals(truncate=True, signals=True, machine=machine),
            questions(reads=False, signals=True, machine=machine),
        ):
            instructions = list(struct.iter_unpack("<HBBI", code))
            for place, (operation, then, otherwise, _) in enumerate(instructions):
                if operation in (0x15, 0x45):
                    assert place + 1 + max(then, otherwise) < len(instructions)
