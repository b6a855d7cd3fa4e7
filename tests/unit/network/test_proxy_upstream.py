"""The proxy of a company between ours and the hosts: when it is used, what it is sent, and that it is no way around."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from anyio.abc import ByteStream

from app_server.network.refusals import Unreachable
from app_server.network.upstream import UpstreamProxies, UpstreamProxy
from tests.unit.network.proxy_bench import Bench, Origin, bench, exactly, read_head, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def request(proxy: Bench, first: str) -> bytes:
    return f"{first} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + proxy.authorization + b"\r\n"


async def test_plain_requests_are_forwarded_whole_and_with_the_upstreams_credential(tmp_path: Path) -> None:
    upstream = Origin(OK)
    async with serving(upstream) as port:
        environ = {"HTTP_PROXY": f"http://us%40er:pass@127.0.0.1:{port}"}
        async with bench(
            tmp_path, "here.test", "far.test", names={"here.test": ["93.184.216.34"]}, environ=environ
        ) as proxy:
            assert (await proxy.ask(request(proxy, "GET http://here.test:81/a?b"))).endswith(b"ok")
            assert (await proxy.ask(request(proxy, "GET http://far.test/"))).endswith(b"ok")
    assert upstream.requests == [
        b"GET http://here.test:81/a?b HTTP/1.1\r\nHost: here.test:81\r\n"
        b"Proxy-Authorization: Basic dXNAZXI6cGFzcw==\r\n\r\n",
        b"GET http://far.test/ HTTP/1.1\r\nHost: far.test\r\nProxy-Authorization: Basic dXNAZXI6cGFzcw==\r\n\r\n",
    ]


@pytest.mark.parametrize("early", [b"", b"early"])
async def test_tunnels_go_through_a_tunnel(tmp_path: Path, early: bytes) -> None:
    heads: list[bytes] = []

    async def upstream(stream: ByteStream) -> None:
        heads.append(await read_head(stream))
        await stream.send(b"HTTP/1.0 200 Fine\r\nX: 1\r\n\r\n" + early)
        await stream.send((await exactly(stream, 3))[::-1])

    async with serving(upstream) as port:
        environ = {"https_proxy": f"127.0.0.1:{port}", "HTTPS_PROXY": "http://wrong.test"}
        async with bench(tmp_path, "far.test", names={}, environ=environ) as proxy, await proxy.connect() as stream:
            await stream.send(request(proxy, "CONNECT far.test:443"))
            await read_head(stream)
            await stream.send(b"abc")
            assert await exactly(stream, 3 + len(early)) == early + b"cba"
    assert heads == [b"CONNECT far.test:443 HTTP/1.1\r\nHost: far.test:443\r\n\r\n"]


async def test_an_upstream_that_wants_another_credential_does_not_ask_the_program_for_it(tmp_path: Path) -> None:
    upstream = Origin(b'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n')
    async with (
        serving(upstream) as port,
        bench(tmp_path, "far.test", environ={"HTTP_PROXY": f"http://127.0.0.1:{port}"}) as proxy,
    ):
        answer = await proxy.ask(request(proxy, "GET http://far.test/"))
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"The upstream proxy 127.0.0.1 does not take the credential" in answer


async def test_what_is_local_from_here_is_refused_though_another_proxy_would_dial_it(tmp_path: Path) -> None:
    upstream = Origin(OK)
    names = {"inside.test": ["93.184.216.34", "10.0.0.1"]}
    async with serving(upstream) as port:
        environ = {"ALL_PROXY": f"http://127.0.0.1:{port}"}
        allowed = ("inside.test", "*.test")
        async with bench(tmp_path, *allowed, names=names, environ=environ, local=False) as proxy:
            for host in ("inside.test", "localhost.test", "localhost"):
                proxy.names.names[host] = names["inside.test"]
                answer = await proxy.ask(request(proxy, f"CONNECT {host}:443"))
                assert answer.startswith(b"HTTP/1.1 403 "), host
            assert (await proxy.ask(request(proxy, "GET http://169.254.169.254/"))).startswith(b"HTTP/1.1 403 ")
    assert upstream.connections == 0


async def test_hosts_that_need_no_upstream_and_profiles_that_want_none_go_directly(tmp_path: Path) -> None:
    origin = Origin(OK)
    async with serving(origin) as port:
        environ = {"http_proxy": "http://127.0.0.1:1", "NO_PROXY": f"other.test, here.test:{port}"}
        async with bench(tmp_path, "here.test", environ=environ) as proxy:
            assert (await proxy.ask(request(proxy, f"GET http://here.test:{port}/"))).endswith(b"ok")
        async with bench(tmp_path, "here.test", environ={"http_proxy": "http://127.0.0.1:1"}, upstream=False) as proxy:
            assert (await proxy.ask(request(proxy, f"GET http://here.test:{port}/"))).endswith(b"ok")


async def test_an_upstream_that_refuses_or_cannot_be_used_is_a_failure_and_nothing_goes_around_it(
    tmp_path: Path,
) -> None:
    refusing = Origin(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
    async with serving(refusing) as port:
        for url, says in (
            (f"http://127.0.0.1:{port}", b"answered 407 for here.test port 443"),
            ("http://127.0.0.1:1", b"the upstream proxy 127.0.0.1 port 1 could not be reached"),
            ("socks5://127.0.0.1:1080", b"the environment variable HTTPS_PROXY names to the server cannot be used"),
        ):
            async with bench(tmp_path, "here.test", environ={"HTTPS_PROXY": url}) as proxy:
                answer = await proxy.ask(request(proxy, "CONNECT here.test:443"))
                assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
                assert says in answer, answer


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("*", "a.test", 80, True),
        ("a.test", "a.test", 80, True),
        ("a.test", "b.a.test", 80, True),
        (".a.test", "b.a.test", 80, True),
        ("*.a.test", "b.a.test", 80, True),
        ("a.test", "ba.test", 80, False),
        ("A.TEST", "a.test", 80, True),
        ("a.test:443", "a.test", 80, False),
        ("a.test:80", "a.test", 80, True),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("10.0.0.0/8", "a.test", 80, False),
        ("::1", "::1", 80, True),
        ("[::1]:80", "::1", 80, True),
        ("fd00::/8", "10.0.0.1", 80, False),
        (" x , a.test ", "a.test", 80, True),
        (",", "a.test", 80, False),
        ("", "a.test", 80, False),
    ],
)
def test_exceptions_are_names_addresses_and_networks(no_proxy: str, host: str, port: int, direct: bool) -> None:
    proxies = UpstreamProxies({"ALL_PROXY": "http://up.test:3128", "no_proxy": no_proxy})
    assert proxies.for_plain(host, port) == (None if direct else UpstreamProxy("up.test", 3128))


@pytest.mark.parametrize(
    ("environ", "plain", "tunnel"),
    [
        ({}, None, None),
        ({"HTTP_PROXY": "http://a"}, "a", None),
        ({"HTTPS_PROXY": "http://a"}, None, "a"),
        ({"ALL_PROXY": "http://a", "http_proxy": "http://b"}, "b", "a"),
        ({"HTTP_PROXY": " "}, None, None),
    ],
)
def test_each_kind_of_request_has_its_variable(
    environ: Mapping[str, str], plain: str | None, tunnel: str | None
) -> None:
    proxies = UpstreamProxies(environ)
    for wanted, found in ((plain, proxies.for_plain("x", 80)), (tunnel, proxies.for_tunnel("x", 443))):
        assert (found.host if found else None) == wanted


@pytest.mark.parametrize("url", ["https://up.test", "socks5h://up.test", "http://", "http://up.test:x", "http://[::1"])
def test_a_variable_that_cannot_be_used_is_named(url: str) -> None:
    with pytest.raises(Unreachable, match="HTTP_PROXY"):
        UpstreamProxies({"HTTP_PROXY": url}).for_plain("x", 80)
