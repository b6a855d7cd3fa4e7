"""Trust: which certificate authorities count, for programs of commands and for the proxy, and the files that say so."""

import fcntl
import hashlib
import os
import re
import ssl
import stat
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from time import time
from typing import TextIO

from msgspec import Struct

VARIABLES = (
    "CODEX_CA_CERTIFICATE",
    "SSL_CERT_FILE",  # OpenSSL, and so Python, Ruby, PHP and .NET; Go but for macOS; rustls, and so uv and rustup
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "BUNDLE_SSL_CA_CERT",
    "npm_config_cafile",
    "NPM_CONFIG_CAFILE",
    "CARGO_HTTP_CAINFO",
    "DENO_CERT",
    "AWS_CA_BUNDLE",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "HTTPLIB2_CA_CERTS",
    "HEX_CACERTS_PATH",
    "JULIA_SSL_CA_ROOTS_PATH",
    "NIX_SSL_CERT_FILE",
    "SYSTEM_CERTIFICATE_PATH",
)
"""Where programs look for the file with the authorities that they trust."""

_SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
)
"""Debian, Fedora, older Red Hat, SUSE, Alpine and macOS, Homebrew. The first one that is there counts."""

_SYSTEM_FOLDERS = ("/etc/ssl/certs", "/etc/pki/tls/certs")

_WGETRC = "SYSTEM_WGETRC"
"""Which settings wget begins with, those of the user come after. With GnuTLS it has no variable for authorities."""
_WGETRCS = ("/etc/wgetrc", "/usr/local/etc/wgetrc", "/opt/homebrew/etc/wgetrc")

_MAX_FILE = 16 * 1024 * 1024
_MAX_FOLDER = 4096
_MAX_KEPT = 8
_OLD_SECONDS = 3600.0

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_BUNDLES = "ca-bundle-*.pem"
_SETTINGS = "ca-bundle-*.wgetrc"
_UNFINISHED = ".ca-bundle-"


class Trust(Struct, frozen=True):
    """`bundle` is the path of a file for commands: all authorities that count, and the proxy's own. `settings` are
    those of wget, which lead there.

    `context` is how the proxy itself speaks TLS with servers: only the authorities count, its own not among them.
    """

    bundle: str
    settings: str
    context: ssl.SSLContext


_Stamp = tuple[str, int, int, int]
"""A file or folder, and how it would show that it was changed."""


class Bundles:
    """The files with authorities for commands, of one run. All of it is for a worker thread.

    A file is locked as long as its run lives: what is left over of a run that was killed is known by that.
    """

    def __init__(self, folder: Path, certificate: str, environ: Mapping[str, str]) -> None:
        """`certificate` is the proxy's own; `environ` is that of the daemon, where more authorities may be named."""
        self._folder, self._certificate = folder, certificate
        self._environ = {name: value for name in VARIABLES if (value := environ.get(name))}
        self._folders = _folders(environ)
        self._known: OrderedDict[tuple[_Stamp, ...], Trust] = OrderedDict()
        self._locks: dict[str, int] = {}

    def trust(self, base: Mapping[str, str]) -> Trust:
        """What counts for a command with the environment `base`, whose own authorities are not lost.

        Raises OSError where the file cannot be written.
        """
        stamps, settings = self._sources(base), _settings(base)
        key = (*stamps, *settings)
        known = self._known.get(key)
        if known is not None and os.path.exists(known.bundle) and os.path.exists(known.settings):
            self._known.move_to_end(key)
            return known
        found = list(dict.fromkeys(one for path, *_ in stamps for one in _certificates(path)))
        trust = self._write(found, "".join(_text(path) for path, *_ in settings))
        self._known[key] = trust
        self._known.move_to_end(key)
        while len(self._known) > _MAX_KEPT:
            self._known.popitem(last=False)
        return trust

    def _sources(self, base: Mapping[str, str]) -> list[_Stamp]:
        system = next((path for path in _SYSTEM_FILES if os.path.isfile(path)), None)
        paths: list[str] = [*_SYSTEM_FOLDERS] if system is None else [system]
        for path in (*self._folders, *_folders(base)):
            # The folder of the system holds what the file of the system does, in hundreds of files.
            if system is None or path.rstrip("/") not in _SYSTEM_FOLDERS:
                paths.append(path)
        paths += [*self._environ.values(), *(base[name] for name in VARIABLES if base.get(name))]
        # A relative path would be relative to where a command happens to run.
        found = (path for path in dict.fromkeys(paths) if os.path.isabs(path) and path not in self._locks)
        return [stamp for path in found for stamp in _stamp(path)]

    def _write(self, authorities: list[str], settings: str) -> Trust:
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=self._folder, prefix=_UNFINISHED)
        try:
            _lock(descriptor)
            with open(descriptor, "w", encoding="ascii", closefd=False) as file:
                context, good = _context(file, unfinished, authorities)
                file.write(self._certificate)
            os.fchmod(descriptor, 0o644)
            digest = hashlib.sha256(
                "".join([*good, self._certificate, settings]).encode("utf-8", "surrogateescape")
            ).hexdigest()
            path = str(self._folder / f"ca-bundle-{digest}.pem")
            os.replace(unfinished, path)
            trust = Trust(path, _beside(path), context)
            _replace(trust.settings, f"{settings}\nca_certificate = {path}\n")
        except BaseException:
            with suppress(OSError):
                os.unlink(unfinished)
            os.close(descriptor)
            raise
        if (former := self._locks.pop(path, None)) is not None:
            os.close(former)
        self._locks[path] = descriptor
        return trust

    def close(self) -> None:
        """Remove the files. May be called again."""
        while self._locks:
            path, descriptor = self._locks.popitem()
            with suppress(OSError):
                os.unlink(path)
                os.unlink(_beside(path))
            os.close(descriptor)
        self._known.clear()


def for_commands(base: Mapping[str, str], trust: Trust) -> dict[str, str]:
    """`base` with the file of authorities in every variable where programs look for one.

    Programs that look nowhere keep to their own: Java, and on macOS what asks the keychain, such as Go and Swift. They
    end with an error about the certificate.
    """
    return {**base, **dict.fromkeys(VARIABLES, trust.bundle), _WGETRC: trust.settings}


def sweep(folder: Path) -> None:
    """Remove the files of runs that were killed. For a worker thread."""
    try:
        left = [*folder.glob(_BUNDLES)]
        left += [path for path in folder.glob(_UNFINISHED + "*") if time() - path.stat().st_mtime > _OLD_SECONDS]
    except OSError:
        return
    for path in left:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)
    for path in folder.glob(_SETTINGS):
        with suppress(OSError):
            if not path.with_suffix(".pem").exists():
                path.unlink()


def _beside(bundle: str) -> str:
    """Where the settings of wget lie that lead to a file of authorities."""
    return bundle.removesuffix(".pem") + ".wgetrc"


def _replace(path: str, text: str) -> None:
    """Write a file that is either there whole or not there."""
    unfinished = os.path.join(os.path.dirname(path), f"{_UNFINISHED}{os.path.basename(path)}")
    with open(unfinished, "w", encoding="utf-8", errors="surrogateescape") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
    os.replace(unfinished, path)


def _settings(base: Mapping[str, str]) -> list[_Stamp]:
    """What wget would begin with, if anybody may read it."""
    path = base.get(_WGETRC) or next((path for path in _WGETRCS if os.path.isfile(path)), "")
    with suppress(OSError, ValueError):
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH:
            return _stamp(path)
    return []


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _folders(environ: Mapping[str, str]) -> list[str]:
    """Where OpenSSL looks for authorities besides a file."""
    return [path for path in environ.get("SSL_CERT_DIR", "").split(os.pathsep) if path]


def _lock(descriptor: int) -> None:
    with suppress(OSError):  # where files cannot be locked, none can be swept either
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def _stamp(path: str) -> list[_Stamp]:
    """The file or folder, unless it is of a size that no file with certificates has."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return []
    is_file = stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_FILE
    if not is_file and not stat.S_ISDIR(status.st_mode):
        return []
    return [(path, status.st_ino, status.st_size, status.st_mtime_ns)]


def _certificates(path: str) -> Iterator[str]:
    """The certificates in a file, or in the files of a folder, each written the same way. Nothing else of them counts:
    a key may lie beside, and those who will read the bundle might not be meant to read it.
    """
    if os.path.isdir(path):
        with suppress(OSError):
            for name in sorted(os.listdir(path))[:_MAX_FOLDER]:
                file = os.path.join(path, name)
                yield from _certificates(file) if os.path.isfile(file) else ()
        return
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            data = file.read(_MAX_FILE) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
        for found in _CERTIFICATE.findall(data):
            body = b"".join(found.split()).decode("ascii")
            lines = [body[start : start + 64] for start in range(0, len(body), 64)]
            yield "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def _context(file: TextIO, path: str, authorities: list[str]) -> tuple[ssl.SSLContext, list[str]]:
    """A client's context that trusts some authorities, which are written to a file. Returns those that are some, too.

    One bad entry would end a program's reading of the file.
    """

    def write(certificates: list[str]) -> None:
        file.seek(0)
        file.truncate()
        file.writelines(certificates)
        file.flush()

    context = _empty_context()
    write(authorities)
    if not authorities:
        return context, []
    try:
        # Unlike reading from memory, this lets other threads run: the loop would wait for 50 ms.
        context.load_verify_locations(path)
    except ssl.SSLError:
        context, good = _empty_context(), list[str]()
        for one in authorities:
            with suppress(ssl.SSLError):
                context.load_verify_locations(cadata=one)
                good.append(one)
        write(good)
        return context, good
    return context, authorities


def _empty_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    return context
