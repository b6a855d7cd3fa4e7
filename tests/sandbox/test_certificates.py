"""Under limited mode a confined command reads over HTTPS, and can read but not replace whom its programs trust."""

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from app_server.exec.launch import launch
from app_server.sandbox.permissions import CERTIFICATES_NAME, PermissionProfile, Secrets, read_only, workspace_write
from app_server.sandbox.sandbox import Confinement, SandboxUnavailable
from tests.sandbox.backends import BACKENDS, backend_named
from tests.sandbox.conftest import Jail, Ran
from tests.unit.network.proxy_bench import Bench, Origin
from tests.unit.network.tls_bench import HOST, TestAuthority, limited, serving_tls

Profiles = dict[str, Callable[[Path, Path], PermissionProfile]]

PROFILES: Profiles = {
    "read-only": lambda _home, _workspace: read_only(),
    "workspace": lambda _home, workspace: workspace_write([str(workspace)]),
    "around the home": lambda home, _workspace: workspace_write([str(home.parent)]),
    "the home itself": lambda home, _workspace: workspace_write([str(home)]),
    "everything": lambda _home, _workspace: workspace_write(["/"]),
    "little is readable": lambda _home, workspace: PermissionProfile(
        "restricted", network=False, readable_roots=(str(workspace),)
    ),
}

SCRIPT = """
cat "$SSL_CERT_FILE" >/dev/null && echo readable
(echo more >>"$SSL_CERT_FILE") 2>/dev/null && echo appended
rm -f "$SSL_CERT_FILE" 2>/dev/null && echo removed
mv "{folder}" "{folder}.old" 2>/dev/null && echo moved
touch "{folder}/ca-bundle-more.pem" 2>/dev/null && echo added
curl -sS {url} && echo
curl -sS -o /dev/null -w '%{{http_code}}\\n' -d x {url}
"""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", PROFILES)
async def test_the_certificates_are_there_and_stay_as_they_are(
    jail: Jail, tmp_path: Path, backend: str, kind: str
) -> None:
    sandbox = backend_named(backend)
    try:
        await sandbox.available()
    except SandboxUnavailable as error:
        pytest.skip(f"{backend} DOES NOT WORK HERE: {error}")
    authority, origin = TestAuthority(tmp_path), Origin()
    home = tmp_path / "base" / "home"
    (home / "turnloom").mkdir(parents=True)
    async with (
        serving_tls(origin, authority.context(HOST)) as port,
        limited(home, authority, folder=CERTIFICATES_NAME) as proxy,
    ):
        profile = replace(PROFILES[kind](home, jail.workspace), proxy=proxy.settings)
        script = SCRIPT.format(folder=home / CERTIFICATES_NAME, url=f"https://{HOST}:{port}/")
        ran = await run(Confinement(sandbox, Secrets(home)), jail, proxy, profile, script)
        text = await anyio.Path(proxy.environment["SSL_CERT_FILE"]).read_text()
    assert (ran.out, ran.err) == ("readable\nok\n403\n", "")
    assert text.endswith("-----END CERTIFICATE-----\n")


async def run(sandbox: Confinement, jail: Jail, proxy: Bench, profile: PermissionProfile, script: str) -> Ran:
    async with await launch(
        sandbox,
        ["/bin/sh", "-c", script],
        cwd=str(jail.workspace),
        env={"PATH": os.environ["PATH"], **proxy.environment},
        profile=profile,
        reaper=jail.reaper,
        proxy_port=proxy.egress.port,
        serve=proxy.egress.serve,
    ) as process:
        return await jail.ended(process)
