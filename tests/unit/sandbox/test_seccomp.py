"""The system call filter, run by a small interpreter of its instructions."""

import struct

import pytest

from app_server.sandbox.sandbox import SandboxUnavailable
from app_server.sandbox.seccomp import ALLOW, ARCHITECTURES, CLONE3, ENOSYS, EPERM, KILL, program, refused

MACHINES = list(ARCHITECTURES)


def run(code: bytes, number: int, arguments: tuple[int, ...] = (), *, audit: int) -> int:
    """What the filter answers to a system call."""
    data = struct.pack("<IIQ6Q", number, audit, 0, *arguments, *[0] * (6 - len(arguments)))
    instructions = list(struct.iter_unpack("<HBBI", code))
    accumulator, place = 0, 0
    while True:
        operation, then, otherwise, value = instructions[place]
        place += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x15:
                place += then if accumulator == value else otherwise
            case 0x35:
                place += then if accumulator >= value else otherwise
            case 0x45:
                place += then if accumulator & value else otherwise
            case 0x06:
                return value
            case _:
                raise AssertionError(f"unknown operation {operation:#x}")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("network", "proxied"), [(False, False), (True, False), (False, True)])
def test_ordinary_calls_pass(machine: str, network: bool, proxied: bool) -> None:
    calls = ARCHITECTURES[machine]
    special = {calls.socket, calls.socketpair, calls.sendto, CLONE3}
    special |= {*refused(network=network, proxied=proxied, machine=machine), *([calls.setsockopt] if proxied else [])}
    for number in set(range(480)) - special:
        code = program(network=network, proxied=proxied, machine=machine)
        assert run(code, number, audit=calls.audit) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("network", [False, True])
def test_what_reaches_past_the_sandbox_is_refused(machine: str, network: bool) -> None:
    code, calls = program(network=network, machine=machine), ARCHITECTURES[machine]
    groups = (calls.tracing, calls.keys, calls.observing, calls.mounting, calls.machine, (425, 426, 427, 438, 442))
    for number in (number for group in groups for number in group):
        assert run(code, number, audit=calls.audit) == EPERM
    assert len(set(refused(network=network, machine=machine))) == len(refused(network=network, machine=machine))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("network", [False, True])
def test_processes_are_made_but_no_user_namespaces(machine: str, network: bool) -> None:
    code, calls = program(network=network, machine=machine), ARCHITECTURES[machine]
    thread, user = 0x3D0F00, 0x10000000
    for number in (calls.clone, calls.unshare):
        for flags, expected in ((thread, ALLOW), (17, ALLOW), (user, EPERM), (user | thread, EPERM)):
            assert run(code, number, (flags,), audit=calls.audit) == expected
    assert run(code, CLONE3, audit=calls.audit) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("network", [False, True])
def test_files_are_locked_but_not_leased(machine: str, network: bool) -> None:
    code, calls = program(network=network, machine=machine), ARCHITECTURES[machine]
    for command, expected in ((6, ALLOW), (37, ALLOW), (1030, ALLOW), (1024, EPERM), (1026, EPERM), (1040, EPERM)):
        assert run(code, calls.fcntl, (3, command), audit=calls.audit) == expected


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("network", [False, True])
def test_another_architecture_kills(machine: str, network: bool) -> None:
    code = program(network=network, machine=machine)
    for audit in (0x40000003, 0xC000003E, 0xC00000B7, 0):
        expected = ALLOW if audit == ARCHITECTURES[machine].audit else KILL
        assert run(code, 0, audit=audit) == expected


def test_the_second_table_of_x86_64_kills() -> None:
    code, audit = program(network=True, machine="x86_64"), ARCHITECTURES["x86_64"].audit
    assert run(code, 0x40000000 + 41, audit=audit) == KILL
    assert run(code, 0x40000000, audit=audit) == KILL


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("network", [False, True])
def test_io_uring_and_typing_into_the_terminal_are_always_refused(machine: str, network: bool) -> None:
    code, calls = program(network=network, machine=machine), ARCHITECTURES[machine]
    for number in (425, 426, 427):
        assert run(code, number, audit=calls.audit) == EPERM
    for request, expected in ((0x5412, EPERM), (0x541C, EPERM), (0x1_0000_5412, EPERM), (0x5401, ALLOW)):
        assert run(code, calls.ioctl, (0, request), audit=calls.audit) == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_with_network_there_are_internet_sockets_and_no_local_ones(machine: str) -> None:
    code, calls = program(network=True, machine=machine), ARCHITECTURES[machine]
    for family in range(50):
        expected = ALLOW if family in (2, 10, 16) else EPERM
        assert run(code, calls.socket, (family, 2), audit=calls.audit) == expected
    for number in (*calls.network, calls.sendto):
        assert run(code, number, (1, 2, 3, 4, 5, 6), audit=calls.audit) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("network", [False, True])
def test_pairs_of_local_sockets_have_no_addresses(machine: str, network: bool) -> None:
    code, calls = program(network=network, machine=machine), ARCHITECTURES[machine]
    close_on_exec = 0o2000000
    for number in (calls.socketpair,) if network else (calls.socket, calls.socketpair):
        for family in range(50):
            assert run(code, number, (family, 1), audit=calls.audit) == (ALLOW if family == 1 else EPERM)
        for kind in range(16):
            expected = ALLOW if kind in (1, 5) else EPERM
            assert run(code, number, (1, kind | close_on_exec), audit=calls.audit) == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_without_network_nothing_is_reached_or_offered(machine: str) -> None:
    code, calls = program(network=False, machine=machine), ARCHITECTURES[machine]
    for number in calls.network:
        assert run(code, number, audit=calls.audit) == EPERM
    for address, expected in ((0, ALLOW), (0x1000, EPERM), (0x7F00_0000_0000, EPERM)):
        assert run(code, calls.sendto, (3, 0x5000, 4, 0, address, 16), audit=calls.audit) == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_what_leads_to_a_proxy_is_a_tcp_socket_that_can_only_be_connected(machine: str) -> None:
    code, calls = program(network=False, proxied=True, machine=machine), ARCHITECTURES[machine]
    flags = 0o2004000  # close on exec, and do not block
    for family in range(50):
        expected = ALLOW if family in (1, 2) else EPERM
        assert run(code, calls.socket, (family, 1 | flags), audit=calls.audit) == expected
    for kind in range(16):
        assert run(code, calls.socket, (2, kind | flags), audit=calls.audit) == (ALLOW if kind == 1 else EPERM)
        assert run(code, calls.socket, (1, kind), audit=calls.audit) == (ALLOW if kind in (1, 5) else EPERM)
    for protocol in range(300):
        assert run(code, calls.socket, (2, 1, protocol), audit=calls.audit) == (ALLOW if protocol in (0, 6) else EPERM)
    connect, *others = calls.network
    assert run(code, connect, audit=calls.audit) == ALLOW  # on this the other filter asks the supervisor
    for number in others:
        assert run(code, number, audit=calls.audit) == EPERM
    assert set(refused(network=False, machine=machine)) - {connect} == set(
        refused(network=False, proxied=True, machine=machine)
    )


@pytest.mark.parametrize("machine", MACHINES)
def test_what_leads_to_a_proxy_sends_without_an_address_and_never_connects_by_sending(machine: str) -> None:
    code, calls = program(network=False, proxied=True, machine=machine), ARCHITECTURES[machine]
    fast_open, no_signal = 0x20000000, 0x4000
    for address, given, expected in (
        (0, no_signal, ALLOW),
        (0, fast_open, EPERM),
        (0x1000, 0, EPERM),
        (0x7F00_0000_0000, 0, EPERM),
        (0, fast_open | no_signal, EPERM),
    ):
        assert run(code, calls.sendto, (3, 0x5000, 4, given, address, 16), audit=calls.audit) == expected
    for given, expected in ((0, ALLOW), (no_signal, ALLOW), (fast_open, EPERM), (fast_open | no_signal, EPERM)):
        assert run(code, calls.sendmsg, (3, 0x5000, given), audit=calls.audit) == expected
    plain = program(network=False, machine=machine)
    assert run(plain, calls.sendto, (3, 0x5000, 4, fast_open, 0, 0), audit=calls.audit) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_no_option_leads_a_socket_elsewhere(machine: str) -> None:
    code, calls = program(network=False, proxied=True, machine=machine), ARCHITECTURES[machine]
    reuse, keep_alive, device, mark, device_index = 2, 9, 25, 36, 62
    no_delay, fast_open, repair, protocol, fast_open_later = 1, 23, 19, 31, 30
    service, source_route, transparent = 1, 4, 19
    for level, option, expected in (
        *((1, reuse, ALLOW), (1, keep_alive, ALLOW), (1, device, EPERM), (1, mark, EPERM), (1, device_index, EPERM)),
        *((6, no_delay, ALLOW), (6, fast_open, EPERM), (6, repair, EPERM), (6, protocol, EPERM)),
        *((6, fast_open_later, EPERM), (0, service, ALLOW), (0, source_route, EPERM), (0, transparent, EPERM)),
        *((41, 1, EPERM), (255, 1, EPERM), (284, 1, EPERM)),
    ):
        assert run(code, calls.setsockopt, (3, level, option), audit=calls.audit) == expected
    assert run(program(network=False, machine=machine), calls.setsockopt, (3, 41, 1), audit=calls.audit) == ALLOW


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        program(network=False, machine="riscv64")
