"""Authority: the certificates under which the proxy answers in the place of servers. No key leaves this process."""

import ipaddress
import os
import ssl
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from threading import Lock
from time import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MAX_LEAVES = 256
"""How many hosts' certificates are kept; the one that was not used for longest goes."""

LEAF_LIFETIME = timedelta(hours=24)
_AUTHORITY_LIFETIME = timedelta(days=3650)
"""As long as any run can last: the key is gone with the run, whatever the certificate says."""
_CLOCK_SLACK = timedelta(hours=1)

_KEY_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class Authority:
    """A certificate authority that nobody knows but those who are given `certificate`, for one run of the daemon.

    Importing this module takes about 50 ms, and a certificate about 1 ms: both are for a worker thread. Raises OSError
    where there is no /dev/fd.
    """

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._leaves: OrderedDict[str, tuple[float, ssl.SSLContext]] = OrderedDict()
        self._lock = Lock()
        self._leaf_key_pem = self._leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        name = _name("Turnloom network proxy, this run only")
        self._certificate = _sign(
            _certificate(name, name, self._key.public_key(), _AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False),
            self._key,
        )
        self.certificate = self._certificate.public_bytes(serialization.Encoding.PEM).decode()
        """What those who are to trust this authority need, as PEM."""
        self.make_context("localhost")

    def known_context(self, host: str) -> ssl.SSLContext | None:
        """What `make_context` gave for a host, if it is still kept and its certificate is not old."""
        with self._lock:
            known = self._leaves.get(host)
            if known is None or known[0] <= time():
                return None
            self._leaves.move_to_end(host)
            return known[1]

    def make_context(self, host: str) -> ssl.SSLContext:
        """How to speak TLS as `host`, a normalised name or address.

        HTTP/1.1 is the only protocol that is offered, since requests must be read.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        # Connections are short and near: resuming them would cost more than it saves.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        _load(context, self._leaf(host), self._leaf_key_pem)
        with self._lock:
            self._leaves[host] = (time() + LEAF_LIFETIME.total_seconds() / 2, context)
            self._leaves.move_to_end(host)
            while len(self._leaves) > MAX_LEAVES:
                self._leaves.popitem(last=False)
        return context

    def _leaf(self, host: str) -> bytes:
        alone = host.partition("%")[0]
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(alone))
        except ValueError:
            name = x509.DNSName(host)
        public = self._leaf_key.public_key()
        builder = (
            _certificate(_name("Turnloom network proxy"), self._certificate.subject, public, LEAF_LIFETIME)
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        return _sign(builder, self._key).public_bytes(serialization.Encoding.PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, text)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SLACK)
        .not_valid_after(now + lifetime)
    )


def _sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(key, hashes.SHA256())


def _key_usage(*uses: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in uses for use in _KEY_USES})


def _load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Give a context its certificate and key. Only paths are taken, so both come out of pipes and touch no disk."""
    with _Readable(certificate) as certificate_path, _Readable(key) as key_path:
        context.load_cert_chain(certificate_path, key_path)


class _Readable:
    """A path where some bytes can be read once. They must fit into a pipe, 4096 bytes at the least."""

    def __init__(self, data: bytes) -> None:
        self._reader, writer = os.pipe()
        try:
            os.set_blocking(writer, False)
            if os.write(writer, data) != len(data):
                raise BlockingIOError("the pipe is too small")
        except BaseException:
            os.close(self._reader)
            raise
        finally:
            os.close(writer)

    def __enter__(self) -> str:
        return f"/dev/fd/{self._reader}"

    def __exit__(self, *_: object) -> None:
        os.close(self._reader)
