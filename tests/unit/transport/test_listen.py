"""What `--listen` understands."""

from pathlib import Path

import pytest

from app_server.transport.listen import (
    Off,
    ServerOptions,
    Stdio,
    UnixSocket,
    UsageError,
    WebSocket,
    default_socket,
    parse_listen,
)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("stdio://", Stdio()),
        ("off", Off()),
        ("unix://", UnixSocket(None)),
        ("unix:///run/a b.sock", UnixSocket(Path("/run/a b.sock"))),
        ("unix://relative.sock", UnixSocket(Path("relative.sock"))),
        ("ws://127.0.0.1:8765", WebSocket("127.0.0.1", 8765)),
        ("ws://127.0.0.1:0/", WebSocket("127.0.0.1", 0)),
        ("ws://localhost:1", WebSocket("127.0.0.1", 1)),
        ("ws://[::1]:65535", WebSocket("::1", 65535)),
        ("ws://0.0.0.0:1", WebSocket("0.0.0.0", 1)),
    ],
)
def test_the_forms_that_are_understood(url: str, meant: object) -> None:
    assert parse_listen(url) == meant


@pytest.mark.parametrize("url", ["", "stdio", "stdio:", "http://127.0.0.1:1", "wss://127.0.0.1:1", "tcp://1", "OFF"])
def test_another_form_is_refused_with_those_that_are_allowed(url: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_listen(url)
    for form in ("stdio://", "unix://PATH", "ws://IP:PORT", "off"):
        assert form in str(refusal.value)
    assert f"`{url}`" in str(refusal.value)


@pytest.mark.parametrize(
    "rest",
    [
        "127.0.0.1",
        "example.com:1",
        ":1",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "[::1:1",
        "1:1",
        "a@127.0.0.1:1",
        "127.0.0.1:1/path",
        "127.0.0.1:1?x",
        "127.0.0.1:1#x",
        "",
    ],
)
def test_a_websocket_needs_an_ip_address_and_a_port(rest: str) -> None:
    with pytest.raises(UsageError, match="expected `ws://IP:PORT`"):
        parse_listen(f"ws://{rest}")


def test_addresses_are_written_as_they_are_read() -> None:
    for url in ("ws://127.0.0.1:1", "ws://[::1]:1", "unix:///a", "unix://"):
        address = parse_listen(url)
        assert isinstance(address, WebSocket | UnixSocket)
        assert address.url == url
        assert ServerOptions(listen=address).listen_url == url


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False)]
)
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert WebSocket(host, 1).loopback is loopback
    assert not WebSocket("::", 1).loopback


def test_the_default_socket_is_in_a_folder_of_our_own() -> None:
    assert default_socket(Path("/home/me/.codex")) == Path("/home/me/.codex/turnloom/app-server.sock")
