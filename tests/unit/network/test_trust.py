"""Who is trusted: the machine's authorities, those that the user names, and in commands that of the proxy."""

import os
import signal
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from app_server.network.authority import Authority
from app_server.network.trust import VARIABLES, Bundles, Trust, for_commands, sweep
from tests.unit.network.tls_bench import TestAuthority, limited

OWN = "-----BEGIN CERTIFICATE-----\nMTIz\n-----END CERTIFICATE-----\n"
"""Stands for the certificate of the proxy, where nobody reads it."""


def trusts(context: ssl.SSLContext, *authorities: str) -> list[bool]:
    """Which of the authorities, as PEM, are trusted."""
    trusted = context.get_ca_certs(binary_form=True)
    return [ssl.PEM_cert_to_DER_cert(one) in trusted for one in authorities]


def test_the_file_holds_what_is_named_and_the_own_certificate(tmp_path: Path) -> None:
    ours, theirs = TestAuthority(tmp_path, "ours"), TestAuthority(tmp_path, "theirs")
    own = Authority().certificate
    bundles = Bundles(tmp_path / "bundles", own, {"SSL_CERT_FILE": str(ours.file)})
    trust = bundles.trust({"NODE_EXTRA_CA_CERTS": str(theirs.file), "PATH": "/bin"})
    text = Path(trust.bundle).read_text()
    assert text.endswith(own)
    assert {ours.pem in text, theirs.pem in text} == {True}
    assert stat.S_IMODE(os.stat(trust.bundle).st_mode) == 0o644
    assert {str(path) for path in (tmp_path / "bundles").iterdir()} == {trust.bundle, trust.settings}
    readable = ssl.create_default_context(cafile=trust.bundle)
    assert trusts(readable, ours.pem, theirs.pem, own) == [True, True, True]
    assert len(readable.get_ca_certs()) == text.count("BEGIN CERTIFICATE")
    bundles.close()


def test_the_proxy_itself_trusts_the_same_but_for_its_own(tmp_path: Path) -> None:
    ours = TestAuthority(tmp_path, "ours")
    own = Authority().certificate
    bundles = Bundles(tmp_path / "bundles", own, {})
    trust = bundles.trust({"SSL_CERT_FILE": str(ours.file)})
    everything = ssl.create_default_context(cafile=trust.bundle)
    assert trusts(trust.context, ours.pem, own) == [True, False]
    assert len(trust.context.get_ca_certs()) == len(everything.get_ca_certs()) - 1
    assert (trust.context.verify_mode, trust.context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert trust.context.minimum_version >= ssl.TLSVersion.TLSv1_2
    bundles.close()


def test_nothing_but_certificates_is_taken_from_a_file(tmp_path: Path) -> None:
    ours = TestAuthority(tmp_path, "ours")
    key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    bad = "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"
    mixed = tmp_path / "mixed"
    mixed.write_bytes(b"# \xff what is this\r\n" + (key + bad + ours.pem.replace("\n", "\r\n") + key).encode())
    bundles = Bundles(tmp_path / "bundles", OWN, {})
    text = Path(bundles.trust({"SSL_CERT_FILE": str(mixed)}).bundle).read_text()
    assert ours.pem in text
    assert [word in text for word in ("PRIVATE", "c2VjcmV0", "bm8gY2VydGlmaWNhdGU", "what is this")] == [False] * 4
    bundles.close()


def test_folders_count_as_the_files_in_them(tmp_path: Path) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    ours, theirs = TestAuthority(folder, "ours"), TestAuthority(tmp_path, "theirs")
    (folder / "0123abcd.0").symlink_to(ours.file)
    other = tmp_path / "other"
    other.mkdir()
    (other / "theirs").symlink_to(theirs.file)
    bundles = Bundles(tmp_path / "bundles", OWN, {"SSL_CERT_DIR": f"{folder}:/nonexistent"})
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_DIR"):
        text = Path(bundles.trust({name: str(other)}).bundle).read_text()
        assert (text.count(ours.pem), text.count(theirs.pem)) == (1, 1)
    assert theirs.pem not in Path(bundles.trust({}).bundle).read_text()
    bundles.close()


def test_what_is_no_file_to_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relative.pem").write_text(TestAuthority(tmp_path).pem)
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 30)
    bundles = Bundles(tmp_path / "bundles", OWN, {})
    plain = bundles.trust({}).bundle
    for value in ("relative.pem", str(tmp_path / "fifo"), str(tmp_path / "huge"), "/nonexistent", "a\0b", "/dev/zero"):
        assert bundles.trust({"SSL_CERT_FILE": value}).bundle == plain
    bundles.close()


def test_the_same_environment_has_the_same_file_until_something_changes(tmp_path: Path) -> None:
    ours = TestAuthority(tmp_path, "ours")
    bundles = Bundles(tmp_path / "bundles", OWN, {})
    base = {"SSL_CERT_FILE": str(ours.file)}
    trust = bundles.trust(base)
    assert bundles.trust(base) is trust
    os.unlink(trust.bundle)
    again = bundles.trust(base)
    assert (again.bundle, Path(again.bundle).is_file()) == (trust.bundle, True)
    ours.file.write_text(ours.pem + TestAuthority(tmp_path, "theirs").pem)
    changed = bundles.trust(base)
    assert changed.bundle != trust.bundle
    assert Path(trust.bundle).is_file(), "commands that run may read it"
    bundles.close()
    assert os.listdir(tmp_path / "bundles") == []


def test_wget_keeps_the_settings_it_would_begin_with(tmp_path: Path) -> None:
    settings = tmp_path / "wgetrc"
    settings.write_bytes(b"# caf\xe9\ntries = 3\n")
    bundles = Bundles(tmp_path / "bundles", OWN, {})
    trust = bundles.trust({"SYSTEM_WGETRC": str(settings)})
    assert Path(trust.settings).read_bytes() == b"# caf\xe9\ntries = 3\n\nca_certificate = %b\n" % trust.bundle.encode()
    assert stat.S_IMODE(os.stat(trust.settings).st_mode) == 0o644
    settings.chmod(0o600)
    hidden = bundles.trust({"SYSTEM_WGETRC": str(settings)})
    assert Path(hidden.settings).read_text() == f"\nca_certificate = {hidden.bundle}\n"
    bundles.close()
    assert os.listdir(tmp_path / "bundles") == []


def test_every_variable_leads_to_the_file(tmp_path: Path) -> None:
    trust = Trust("/x.pem", "/x.wgetrc", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    environment = for_commands({"PATH": "/bin", "SSL_CERT_FILE": "/etc/theirs"}, trust)
    assert environment == {"PATH": "/bin", **dict.fromkeys(VARIABLES, "/x.pem"), "SYSTEM_WGETRC": "/x.wgetrc"}
    assert {"SSL_CERT_FILE", "CARGO_HTTP_CAINFO", "DENO_CERT", "AWS_CA_BUNDLE"} <= set(environment)


LEFT = """
import os, signal, sys
from pathlib import Path
from app_server.network.trust import Bundles

Bundles(Path(sys.argv[1]), "certificate", {}).trust({})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_file_of_a_run_that_was_killed_is_swept_and_that_of_one_that_lives_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "bundles"
    folder.mkdir()
    killed = subprocess.run([sys.executable, "-c", LEFT, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = set(os.listdir(folder))
    assert len(left) == 2
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    (folder / "ca-bundle-link.pem").symlink_to(outside)
    (folder / "of the user").touch()
    living = Bundles(folder, OWN, {})
    trust = living.trust({})
    kept = {Path(trust.bundle).name, Path(trust.settings).name}
    assert not kept & left
    sweep(folder)
    assert set(os.listdir(folder)) == {*kept, "of the user", "ca-bundle-link.pem"}
    assert outside.read_text() == "not ours"
    living.close()
    sweep(tmp_path / "nonexistent")


async def test_the_proxy_sweeps_when_it_starts_and_removes_its_own_when_it_ends(tmp_path: Path) -> None:
    folder = anyio.Path(tmp_path / "bundles")
    await folder.mkdir()
    await (folder / "ca-bundle-left.pem").touch()
    async with limited(tmp_path, None) as proxy:
        there = {str(path) async for path in folder.iterdir()}
        assert there == {proxy.environment["SSL_CERT_FILE"], proxy.environment["SYSTEM_WGETRC"]}
    assert [path async for path in folder.iterdir()] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="Permission denied"):
        Bundles(tmp_path / "bundles", OWN, {}).trust({})


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bundles").touch()
    with pytest.raises(FileExistsError):
        Bundles(tmp_path / "bundles", OWN, {}).trust({})
