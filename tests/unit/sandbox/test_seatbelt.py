"""The text of Seatbelt profiles, and the command line of sandbox-exec."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from app_server.config.network_proxy import NetworkProxySettings
from app_server.sandbox.permissions import PermissionProfile, read_only, workspace_write
from app_server.sandbox.sandbox import SandboxUnavailable
from app_server.sandbox.seatbelt import PROGRAM, Seatbelt, describe


def expanded(text: str, parameters: dict[str, str]) -> str:
    """The text with its paths in place."""
    return re.sub(r'\(param "(\w+)"\)', lambda found: f'"{parameters[found[1]]}"', text)


def lines(profile: PermissionProfile, roots: tuple[str, ...] = (), protected: tuple[str, ...] = ()) -> list[str]:
    """The rules about files and the network."""
    text = expanded(*describe(profile, roots=roots, protected=protected))
    return [line for line in text.split("\n; Files.\n")[1].splitlines() if line and not line.startswith(";")]


def test_everything_is_denied_that_is_not_allowed_and_the_text_is_balanced() -> None:
    text, _ = describe(workspace_write(["/ws"], network=True), roots=["/ws"], protected=["/ws/sub/.git"])
    assert text.startswith("(version 1)\n(deny default)\n")
    bare = re.sub(r'#?"[^"]*"', "", text)
    assert bare.count("(") == bare.count(")")


def test_read_only_reads_everything_and_has_no_network() -> None:
    assert lines(read_only()) == ["(allow file-read*)"]


def test_writable_roots_are_open_but_for_protected_names_in_whatever_case() -> None:
    rules = lines(PermissionProfile("restricted", False, ("/ws",), (".git", ".codex")), roots=("/ws",))
    assert rules == [
        "(allow file-read*)",
        '(allow file-read* file-write* (literal "/ws") (subpath "/ws"))',
        r'(deny file-write* (regex #"^/ws/\.[gG][iI][tT](/.*)?$"))',
        r'(deny file-write* (regex #"^/ws/\.[cC][oO][dD][eE][xX](/.*)?$"))',
        r'(deny file-write* (regex #"^/ws/[hH][eE][aA][dD](/.*)?$"))',
        '(deny file-write-unlink (literal "/ws"))',
    ]


def test_the_pattern_of_a_protected_name_matches_it_and_nothing_else() -> None:
    rules = lines(PermissionProfile("restricted", False, ("/a.b/w+s",), (".git",)), roots=("/a.b/w+s",))
    pattern = re.search(r'regex #"(.*?)"', rules[2])
    assert pattern is not None
    for path in ("/a.b/w+s/.git", "/a.b/w+s/.git/hooks/x", "/a.b/w+s/.GIT"):
        assert re.search(pattern[1], path)
    for path in ("/a.b/w+s/git", "/a.b/w+s/.gitignore", "/axb/w+s/.git", "/a.b/w+s/sub/.git"):
        assert not re.search(pattern[1], path)


def test_repositories_below_stay_as_and_where_they_are() -> None:
    rules = lines(
        PermissionProfile("restricted", False, ("/ws",), ()),
        roots=("/ws",),
        protected=("/ws/a/b/.git", "/elsewhere/.git"),
    )
    assert rules[2:] == [
        '(deny file-write* (literal "/ws/a/b/.git") (subpath "/ws/a/b/.git"))',
        '(deny file-write-unlink (literal "/ws"))',
        '(deny file-write-unlink (literal "/ws/a"))',
        '(deny file-write-unlink (literal "/ws/a/b"))',
    ]


def test_inner_paths_come_after_outer_ones_because_the_last_rule_decides() -> None:
    profile = PermissionProfile(
        "restricted",
        False,
        ("/ws", "/ws/kept/free"),
        (),
        read_only=("/ws/kept",),
        denied=("/ws/kept/free/secret", "/key"),
    )
    assert lines(profile, roots=("/ws", "/ws/kept/free"))[1:6] == [
        '(deny file-read* file-write* (literal "/key") (subpath "/key"))',
        '(allow file-read* file-write* (literal "/ws") (subpath "/ws"))',
        '(allow file-read* (literal "/ws/kept") (subpath "/ws/kept"))'
        '(deny file-write* (literal "/ws/kept") (subpath "/ws/kept"))',
        '(allow file-read* file-write* (literal "/ws/kept/free") (subpath "/ws/kept/free"))',
        '(deny file-read* file-write* (literal "/ws/kept/free/secret") (subpath "/ws/kept/free/secret"))',
    ]


def test_where_only_some_roots_are_readable_they_are_named_with_what_programs_need() -> None:
    rules = lines(PermissionProfile("restricted", False, readable_roots=("/given",)))
    assert "(allow file-read*)" not in rules
    assert '(allow file-read* (literal "/usr") (subpath "/usr"))' in rules
    assert rules[-1] == '(allow file-read* (literal "/given") (subpath "/given"))'


def network(profile: PermissionProfile, proxy_port: int | None = None) -> list[str]:
    """What the text says about the network."""
    text = expanded(*describe(profile, roots=(), proxy_port=proxy_port))
    return text.split("\n; The network.\n")[1].splitlines()


def proxied(**rules: Any) -> PermissionProfile:
    return PermissionProfile("restricted", network=False, proxy=NetworkProxySettings(**rules))


def test_the_network_is_open_or_closed() -> None:
    assert "(allow network*)" in network(read_only(network=True))
    assert "(deny network-outbound (remote unix-socket))" in network(read_only(network=True))
    assert network(read_only()) == []


TO_PROXY = ["(allow system-socket)", '(allow network-outbound (remote ip "localhost:3128"))']


def test_with_the_proxy_its_port_is_all_that_is_reached() -> None:
    assert network(proxied(), 3128) == TO_PROXY
    assert network(read_only(network=True), 3128) == TO_PROXY
    assert network(proxied(domains={"*": "allow"}), 3128) == TO_PROXY


def test_a_profile_with_rules_for_the_proxy_has_no_network_without_its_port() -> None:
    assert network(proxied()) == []
    assert network(replace(proxied(allow_local_binding=True), network=True)) == []


def test_the_rules_for_the_proxy_can_open_what_is_on_this_machine() -> None:
    assert network(proxied(allow_local_binding=True), 3128) == [
        *TO_PROXY,
        '(allow network-bind (local ip "localhost:*"))',
        '(allow network-inbound (local ip "localhost:*"))',
        '(allow network-outbound (remote ip "localhost:*"))',
    ]
    sockets = {"/nowhere/one": "allow", "/nowhere/another": "deny"}
    assert network(proxied(unix_sockets=sockets), 3128) == [
        *TO_PROXY,
        '(allow network-outbound (literal "/nowhere/one"))',
        '(deny network-outbound (literal "/nowhere/another"))',
    ]
    assert network(proxied(dangerously_allow_all_unix_sockets=True), 3128) == [
        *TO_PROXY,
        "(allow network-outbound (remote unix-socket))",
    ]


async def test_paths_are_given_beside_the_text_so_that_they_can_hold_anything(tmp_path: Path) -> None:
    program = tmp_path / "sandbox-exec"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    root = tmp_path / 'a "b" (c)'
    (root / "sub" / ".git").mkdir(parents=True)
    command = await Seatbelt(str(program)).wrap(
        ["make", "-j"], cwd="/", env={"A": "b"}, profile=PermissionProfile("restricted", False, (str(root),), ())
    )
    words = list(command.argv)
    assert words[:2] == [str(program), "-p"]
    assert words[-3:] == ["--", "make", "-j"]
    given = dict(word.split("=", 1) for word in words[4:-3:2])
    assert str(root) in given.values()
    assert os.path.join(str(root), "sub", ".git") in given.values()
    assert str(root) not in words[2]
    assert command.env == {"A": "b", "CODEX_SANDBOX": "seatbelt", "CODEX_SANDBOX_NETWORK_DISABLED": "1"}
    assert (command.program, command.contained) == ("make", False)


async def test_only_the_systems_own_program_is_used(tmp_path: Path) -> None:
    assert PROGRAM == "/usr/bin/sandbox-exec"
    with pytest.raises(SandboxUnavailable, match="is missing"):
        await Seatbelt(str(tmp_path / "none")).available()
