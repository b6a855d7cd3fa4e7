"""The certificates of one run: for any host, never for long, and their keys in memory only."""

import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509

from app_server.network import authority as authority_module
from app_server.network.authority import MAX_LEAVES, Authority


@pytest.fixture(name="authority")
def make_authority() -> Authority:
    return Authority()


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> ssl.SSLObject:
    """Both sides in memory; the value is the client's."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(down, up, server_hostname=host), server.wrap_bio(up, down, server_side=True)]
    begun = [False, False]
    while not all(begun):
        for index, side in enumerate(sides):
            try:
                side.do_handshake()
                begun[index] = True
            except ssl.SSLWantReadError:
                pass
    return sides[0]


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@pytest.mark.parametrize(
    "host", ["one.test", "a_b.xn--mnchen-3ya.test", f"{'a' * 63}.{'b' * 63}.test", "10.0.0.1", "::1"]
)
def test_strict_clients_accept_it_for_that_host_only(authority: Authority, host: str) -> None:
    shake_hands(authority.make_context(host), trusting(authority), host)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(authority.make_context(host), trusting(authority), "other.test")


def test_another_run_is_not_trusted(authority: Authority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(Authority().make_context("one.test"), trusting(authority), "one.test")


def leaf(authority: Authority, host: str) -> x509.Certificate:
    der = shake_hands(authority.make_context(host), trusting(authority), host).getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


def test_a_certificate_is_valid_for_a_day_and_for_one_server(authority: Authority) -> None:
    now = datetime.now(UTC)
    certificate = leaf(authority, "one.test")
    assert now - timedelta(hours=2) < certificate.not_valid_before_utc < now
    assert now < certificate.not_valid_after_utc < now + timedelta(days=1, minutes=1)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("one.test")]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert [
        use.dotted_string for use in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    ] == ["1.3.6.1.5.5.7.3.1"]


def test_a_zone_is_no_part_of_an_address(authority: Authority) -> None:
    names = leaf(authority, "fe80::1").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.IPAddress(ip_address("fe80::1"))]
    authority.make_context("fe80::1%eth0")


def test_the_authority_can_sign_servers_and_no_other_authorities(authority: Authority) -> None:
    extensions = x509.load_pem_x509_certificate(authority.certificate.encode()).extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    uses = extensions.get_extension_for_class(x509.KeyUsage)
    assert (uses.critical, uses.value.key_cert_sign, uses.value.digital_signature) == (True, True, False)


def test_a_host_is_remembered_within_bounds(authority: Authority) -> None:
    first = authority.make_context("0.test")
    assert authority.known_context("0.test") is first
    for number in range(1, MAX_LEAVES):
        authority.make_context(f"{number}.test")
    assert authority.known_context("0.test") is first
    authority.make_context("last.test")
    assert authority.known_context("1.test") is None
    assert authority.known_context("0.test") is first


def test_a_certificate_is_made_anew_long_before_it_ends(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.make_context("one.test")
    now = authority_module.time()
    monkeypatch.setattr(authority_module, "time", lambda: now + 13 * 3600)
    assert authority.known_context("one.test") is None


NO_FILES = """
import os, resource
from app_server.network.authority import Authority

resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
before = len(os.listdir("/dev/fd"))
authority = Authority()
authority.make_context("one.test")
print(len(os.listdir("/dev/fd")) - before)
"""


def test_nothing_is_written_and_nothing_stays_open() -> None:
    """A process that can write no file makes certificates all the same, so no key comes to lie in one."""
    done = subprocess.run([sys.executable, "-c", NO_FILES], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0\n", "")


UNUSED = """
import sys
import app_server.services, app_server.network.proxy, app_server.network.http, app_server.network.socks
print([name for name in sys.modules if name.partition(".")[0] == "cryptography"])
"""


def test_nobody_pays_for_it_before_it_is_needed() -> None:
    done = subprocess.run([sys.executable, "-c", UNUSED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
