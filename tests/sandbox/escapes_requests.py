"""Attempts to have the managed proxy itself reach what its rules do not allow."""

from tests.sandbox.forbidden import somewhere_else
from tests.sandbox.talking import FINE, HIDDEN, INNER, V6, ask, connect, direct, get, http, smuggle, tunnel, url

TARGETS = [
    *(
        url(f"{name}", f"http://{host}:<PORT>/")
        for name, host in (
            ("an address", "127.0.0.1"),
            ("localhost", "localhost"),
            ("a name below localhost", "x.localhost"),
            ("a name that is not allowed", "forbidden.test"),
            ("an octal address", "0177.0.0.1"),
            ("an octal address with many zeros", "00000177.0.0.01"),
            ("a decimal address", "2130706433"),
            ("a hexadecimal address", "0x7f000001"),
            ("an address of mixed numbers", "0x7f.0.0.01"),
            ("a short address", "127.1"),
            ("no address", "0.0.0.0"),
            ("no address by one number", "0"),
            ("an address with a dot behind it", "127.0.0.1."),
            ("an address in full-width digits", "\uff11\uff12\uff17.\uff10.\uff10.\uff11"),
            ("an address with ideographic dots", "127\u30020\u30020\u30021"),
            ("an encoded address", "%31%32%37.0.0.1"),
            ("an encoded name", "%66orbidden.test"),
            ("a name in capitals with a dot behind it", "FORBIDDEN.test."),
            ("a name that leads to this machine", "local.test"),
            ("a name that leads to a mapped address", "mapped.test"),
            ("a name that leads nowhere in particular", "odd.test"),
        )
    ),
    *(
        ask(f"ask for {name}", get(f"http://{host}:<PORT>/"), needs=V6)
        for name, host in (
            ("an IPv6 address", "[::1]"),
            ("no IPv6 address", "[::]"),
            ("a mapped address", "[::ffff:127.0.0.1]"),
            ("a mapped address in hexadecimal", "[::ffff:7f00:1]"),
            ("a long IPv6 address", "[0:0:0:0:0:0:0:1]"),
            ("an IPv6 address with a zone", "[::1%25lo]"),
        )
    ),
    *(
        url(f"a URL with {name}", target)
        for name, target in (
            ("a user before the host", "http://allowed.test@forbidden.test:<PORT>/"),
            ("a user and password before the host", "http://allowed.test:<PORT>@127.0.0.1:<PORT>/"),
            ("an encoded user", "http://allowed.test%40forbidden.test:<PORT>/"),
            ("two users", "http://forbidden.test:<PORT>@x@allowed.test:<PORT>/"),
            ("a fragment before the host", "http://allowed.test:<PORT>#@forbidden.test:<PORT>/"),
            ("a query before the host", "http://allowed.test:<PORT>?@forbidden.test:<PORT>/"),
            ("a backslash", "http://forbidden.test:<PORT>\\@allowed.test:<PORT>/"),
            ("another backslash", "http://forbidden.test\\.allowed.test:<PORT>/"),
            ("an encoded end of a string", "http://forbidden.test%00.allowed.test:<PORT>/"),
            ("another scheme", "ftp://forbidden.test:<PORT>/"),
            ("no slashes but one", "http:/forbidden.test:<PORT>/"),
        )
    ),
    *(
        tunnel(name, f"{host}:<PORT>")
        for name, host in (
            ("an address", "127.0.0.1"),
            ("a name that is not allowed", "forbidden.test"),
            ("a name with a dot behind it", "forbidden.test."),
            ("a name in capitals", "FORBIDDEN.TEST"),
            ("an encoded name", "%66orbidden.test"),
            ("an octal address", "0177.1"),
            ("a decimal address", "2130706433"),
            ("a user and a host", "allowed.test@forbidden.test"),
            ("a host and a port before the real ones", "allowed.test:443@127.0.0.1"),
            ("a URL", "http://127.0.0.1"),
            ("a name that leads to this machine", "local.test"),
            ("no address", "0.0.0.0"),
        )
    ),
    ask(
        "CONNECT to a string that ends early",
        b"CONNECT forbidden.test\0.allowed.test:<PORT> HTTP/1.1\r\nHost: allowed.test\r\n<AUTH>\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
    ),
    ask(
        "ask one name whose address changes",
        get("http://rebinding.test:<PORT>/").replace(b"Connection: close\r\n", b""),
        get("http://rebinding.test:<PORT>/"),
    ),
    direct(
        "ask anew for a name whose address has changed",
        f"""
        for _ in range(3):
            say({get("http://rebinding.test:<PORT>/")!r})
            say({connect("rebinding.test:<PORT>")!r}, {INNER!r})
        """,
    ),
    url("a name with two addresses", "http://both.test:<PORT>/"),
    direct(
        "follow the allowed server elsewhere",
        """
        import urllib.request
        open_it = urllib.request.build_opener(urllib.request.ProxyHandler({"http": os.environ["HTTP_PROXY"]})).open
        for place in ("forbidden.test", "127.0.0.1", "local.test"):
            each(lambda: open_it(f"http://allowed.test:{PORT}/redirect/{place}:{PORT}", timeout=5).read())
        """,
    ),
]

HOSTS = [
    ask("ask one host in the URL and another in the field", get(FINE, "forbidden.test:<PORT>")),
    ask(
        "ask one host in the field and another in the URL", get("http://forbidden.test:<PORT>/", "allowed.test:<PORT>")
    ),
    ask("name two hosts", get(FINE, None, "Host: forbidden.test:<PORT>")),
    ask("name a host behind a space", get(FINE, None, "Host : forbidden.test:<PORT>")),
    ask("name a host in a folded line", get(FINE, None, "X: y", " ", "\tHost: forbidden.test:<PORT>")),
    ask("name a host behind half an end of a line", get(FINE, None, "X: y\rHost: forbidden.test:<PORT>")),
    ask("name a host behind a bare end of a line", get(FINE, None, "X: y\nHost: forbidden.test:<PORT>")),
    ask("have the right host taken away", get(FINE, "forbidden.test:<PORT>", "Connection: Host, close")),
    ask("ask without a URL", get("/", "forbidden.test:<PORT>")),
    ask("ask for a path that is a URL", get("//forbidden.test:<PORT>/", "forbidden.test:<PORT>")),
    ask("CONNECT to one host, and then ask another one", connect("allowed.test:<PORT>"), INNER, prepare=somewhere_else),
    ask(
        "CONNECT to one host, and then CONNECT to another",
        connect("allowed.test:<PORT>"),
        connect("forbidden.test:<PORT>"),
        INNER,
        prepare=somewhere_else,
    ),
    ask("CONNECT to the proxy itself", connect("127.0.0.1:<PORT>"), connect("forbidden.test:<PORT>"), INNER),
    ask("ask another host on the same connection", get(FINE).replace(b"Connection: close\r\n", b""), HIDDEN),
    ask("ask another host in the same breath", get(FINE).replace(b"Connection: close\r\n", b"") + HIDDEN),
    ask(
        "ask another host after a refusal",
        get("http://forbidden.test:<PORT>/").replace(b"Connection: close\r\n", b""),
        INNER,
        get("http://forbidden.test:<PORT>/"),
    ),
    ask(
        "ask another host after an upgrade",
        get(FINE, None, "Connection: Upgrade", "Upgrade: h2c").replace(b"Connection: close\r\n", b""),
        HIDDEN,
    ),
    ask(
        "ask another host after an upgrade that the server goes along with",
        get(FINE + "switch", None, "Connection: Upgrade", "Upgrade: raw").replace(b"Connection: close\r\n", b""),
        HIDDEN,
    ),
    ask(
        "ask another host instead of the body that was expected",
        http(
            """
            POST http://allowed.test:<PORT>/ HTTP/1.1
            Host: allowed.test:<PORT>
            <AUTH>
            Expect: 100-continue
            Content-Length: 0

            """
        )
        + HIDDEN,
    ),
]

POST = "POST http://allowed.test:<PORT>/ HTTP/1.1\nHost: allowed.test:<PORT>\n<AUTH>\n"

HIDING = [
    smuggle(
        "behind chunks where a length is given",
        POST + "Content-Length: <LENGTH>\nTransfer-Encoding: chunked\n\n0\n\n<HIDDEN>",
    ),
    smuggle(
        "behind chunks whose coding is hardly readable",
        POST + "Content-Length: <LENGTH>\nTransfer-Encoding: xchunked\n\n0\n\n<HIDDEN>",
    ),
    smuggle(
        "behind chunks whose coding comes after a space",
        POST + "Content-Length: <LENGTH>\nTransfer-Encoding : chunked\n\n0\n\n<HIDDEN>",
    ),
    smuggle(
        "behind chunks whose coding is in a folded line",
        POST + "Content-Length: <LENGTH>\nTransfer-Encoding:\n chunked\n\n0\n\n<HIDDEN>",
    ),
    smuggle("behind two lengths", POST + "Content-Length: <LENGTH>\nContent-Length: 0\n\n<HIDDEN>"),
    smuggle("behind a length with a sign", POST + "Content-Length: +0\n\n<HIDDEN>"),
    smuggle("behind a chunk that ends early", POST + "Transfer-Encoding: chunked\n\n1\na0\n\n<HIDDEN>"),
    smuggle("behind a chunk of an odd size", POST + "Transfer-Encoding: chunked\n\n0x10\n\n<HIDDEN>"),
    smuggle("in an extension of a chunk", POST + "Transfer-Encoding: chunked\n\n0;<LF><LF><HIDDEN>"),
    smuggle("in a trailer", POST + "Transfer-Encoding: chunked\n\n0\nX: y\nHost: forbidden.test\n\n<HIDDEN>"),
    smuggle("in the body of a GET", POST.replace("POST", "GET") + "Content-Length: 0\n\n<HIDDEN>"),
    smuggle("behind ends of lines that are bare", POST + "Content-Length: 0\n\n<HIDDEN>", lines="\n"),
    smuggle("in the name of a method", "GET http://allowed.test:<PORT>/ HTTP/1.1\nX: y\n\n<HIDDEN>"),
    smuggle(
        "behind an older version", POST.replace("HTTP/1.1", "HTTP/1.0") + "Transfer-Encoding: chunked\n\n0\n\n<HIDDEN>"
    ),
]

SOCKS = [
    *(
        direct(f"ask by SOCKS for {name}", f"socks({host!r}, {kind})", needs=needs)
        for name, host, kind, needs in (
            ("an address", bytes([127, 0, 0, 1]), 1, ()),
            ("no address", bytes(4), 1, ()),
            ("an IPv6 address", bytes(15) + b"\1", 4, V6),
            ("no IPv6 address", bytes(16), 4, V6),
            ("a mapped address", bytes(10) + b"\xff\xff\x7f\0\0\1", 4, V6),
            ("a name that is an address", b"127.0.0.1", 3, ()),
            ("a name that is an IPv6 address", b"::1", 3, V6),
            ("a name that is an odd address", b"0x7f.1", 3, ()),
            ("a name that is a number", b"2130706433", 3, ()),
            ("a name that is not allowed", b"forbidden.test", 3, ()),
            ("a name with a dot behind it", b"forbidden.test.", 3, ()),
            ("a name that ends early", b"forbidden.test\0.allowed.test", 3, ()),
            ("a name with a user", b"allowed.test@forbidden.test", 3, ()),
            ("a name with an end of a line", b"forbidden.test\r\n.allowed.test", 3, ()),
            ("localhost", b"localhost", 3, ()),
            ("a name that leads to this machine", b"local.test", 3, ()),
        )
    ),
    direct(
        "ask by SOCKS for one host, and then another one",
        f"socks(b'allowed.test', request={INNER!r}.replace(b'<PORT>', b'%d' % PORT))",
        "socks(b'forbidden.test')",
        prepare=somewhere_else,
    ),
    direct(
        "ask by SOCKS for datagrams",
        """
        with dial() as control:
            user, password = (part.encode() for part in CREDENTIAL.split(":"))
            control.sendall(b"\\5\\1\\2")
            hear(control, b"..")
            control.sendall(b"\\1" + bytes([len(user)]) + user + bytes([len(password)]) + password)
            hear(control, b"..")
            control.sendall(b"\\5\\3\\0\\1" + bytes(6))
            answer = hear(control, b".{10}")
            if answer[1:2] == b"\\0":
                header = bytes(3) + b"\\1\\x7f\\0\\0\\1" + PORT.to_bytes(2, "big")
                sender = socket.socket(2, 2)
                sender.sendto(header + b"evil", ("127.0.0.1", int.from_bytes(answer[8:10], "big")))
                hear(control)
        """,
    ),
    direct(
        "ask by SOCKS to be reached",
        "if socks(b'\\x7f\\0\\0\\1', 1, command=2, request=b'')[1][1:2] == b'\\0': escaped()",
    ),
    direct(
        "ask by an older SOCKS",
        """
        for address in (b"\\x7f\\0\\0\\1turnloom\\0", b"\\0\\0\\0\\1turnloom\\0forbidden.test\\0"):
            with dial() as connection:
                connection.sendall(b"\\4\\1" + PORT.to_bytes(2, "big") + address)
                hear(connection, b".{8}")
                connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
                hear(connection)
        """,
    ),
]

ATTEMPTS = [*TARGETS, *HOSTS, *HIDING, *SOCKS]
