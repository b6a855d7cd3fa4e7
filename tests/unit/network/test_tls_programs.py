"""Real programs read over HTTPS in limited mode, each told of the proxy's certificate in its own way."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import anyio.to_thread
import pytest

from tests.unit.network.programs import DENO, FETCH, GO, needs, needs_nodes_fetch, write_index
from tests.unit.network.tls_bench import HOST, TestAuthority, limited, run, serving_files


@pytest.fixture(name="authority")
def make_authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


URLLIB = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())"
REQUESTS = "import sys; from pip._vendor import requests; sys.stdout.write(requests.get(sys.argv[1]).text)"


@pytest.mark.parametrize("code", [URLLIB, REQUESTS], ids=["urllib", "requests"])
async def test_python_reads(tmp_path: Path, authority: TestAuthority, files: Path, code: str) -> None:
    if code == REQUESTS:
        pytest.importorskip("pip._vendor.requests", reason="pip is not installed")
    with serving_files(files, authority.context(HOST)) as port:
        async with limited(tmp_path, authority) as proxy:
            done = await run(proxy, sys.executable, "-c", code, f"https://{HOST}:{port}/text")
    assert (done.stdout, done.stderr) == (b"hello", b"")


NODE = """
const http = require("node:http"), tls = require("node:tls");
const target = new URL(process.argv[1]), proxy = new URL(process.env.HTTPS_PROXY);
const authorization = "Basic " + Buffer.from(`${proxy.username}:${proxy.password}`).toString("base64");
const headers = { Host: target.host, "Proxy-Authorization": authorization };
const asked = http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: target.host, headers });
asked.on("connect", (_, socket) => {
  const secure = tls.connect({ socket, servername: target.hostname }, () => {
    secure.write(`GET ${target.pathname} HTTP/1.1\\r\\nHost: ${target.host}\\r\\nConnection: close\\r\\n\\r\\n`);
  });
  secure.pipe(process.stdout);
});
asked.end();
"""


@needs("node")
async def test_node_reads(tmp_path: Path, authority: TestAuthority, files: Path) -> None:
    """With its own TLS, which looks at NODE_EXTRA_CA_CERTS."""
    with serving_files(files, authority.context(HOST)) as port:
        async with limited(tmp_path, authority) as proxy:
            done = await run(proxy, "node", "-e", NODE, f"https://{HOST}:{port}/text")
    assert (done.stdout.endswith(b"\r\n\r\nhello"), done.stderr) == (True, b"")


@needs_nodes_fetch()
async def test_nodes_fetch_reads(tmp_path: Path, authority: TestAuthority, files: Path) -> None:
    with serving_files(files, authority.context(HOST)) as port:
        async with limited(tmp_path, authority) as proxy:
            done = await run(proxy, "node", "-e", FETCH, f"https://{HOST}:{port}/text")
    assert (done.stdout, done.stderr) == (b"hello", b"")


@needs("deno")
async def test_deno_reads(tmp_path: Path, authority: TestAuthority, files: Path, home: Path) -> None:
    (home / "read.js").write_text(DENO)
    with serving_files(files, authority.context(HOST)) as port:
        async with limited(tmp_path, authority) as proxy:
            done = await run(proxy, "deno", "run", "-q", "-A", "read.js", f"https://{HOST}:{port}/text", cwd=home)
    assert (done.stdout, done.stderr) == (b"hello", b"")


@needs("go")
@pytest.mark.timeout(300)  # it compiles its library first
async def test_go_reads(tmp_path: Path, authority: TestAuthority, files: Path, home: Path) -> None:
    (home / "read.go").write_text(GO)
    with serving_files(files, authority.context(HOST)) as port:
        async with limited(tmp_path, authority) as proxy:
            done = await run(proxy, "go", "run", "read.go", f"https://{HOST}:{port}/text", cwd=home)
    assert (done.stdout, done.stderr) == (b"hello", b"")


@needs("uv")
async def test_uv_installs(tmp_path: Path, authority: TestAuthority, files: Path, home: Path) -> None:
    write_index(files)
    with serving_files(files, authority.context(HOST)) as port:
        async with limited(tmp_path, authority) as proxy:
            index = ("--index-url", f"https://{HOST}:{port}/simple/")
            done = await run(proxy, "uv", "pip", "install", "-q", "--target", "here", *index, "demo", cwd=home)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (home / "here" / "demo-1.0.dist-info").is_dir()


@needs("wget")
async def test_wget_reads(tmp_path: Path, authority: TestAuthority, files: Path, home: Path) -> None:
    with serving_files(files, authority.context(HOST)) as port:
        async with limited(tmp_path, authority) as proxy:
            done = await run(proxy, "wget", "-q", "-O", "-", f"https://{HOST}:{port}/text", cwd=home)
    assert (done.stdout, done.stderr) == (b"hello", b"")


@needs("git")
async def test_git_clones(tmp_path: Path, authority: TestAuthority, files: Path, home: Path) -> None:
    """From a server of plain files, since others want a POST."""

    def make() -> None:
        work = tmp_path / "work"
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.test"]
        for command in (
            ["init", "-q", str(work)],
            ["-C", str(work), *identity, "commit", "-q", "--allow-empty", "-m", "first"],
            ["clone", "-q", "--bare", str(work), str(files / "one.git")],
            ["-C", str(files / "one.git"), "update-server-info"],
        ):
            subprocess.run(["git", *command], check=True, env={"HOME": str(home), "PATH": os.environ["PATH"]})

    await anyio.to_thread.run_sync(make)
    with serving_files(files, authority.context(HOST)) as port:
        async with limited(tmp_path, authority) as proxy:
            url = f"https://{HOST}:{port}/one.git"
            done = await run(proxy, "git", "clone", "-q", url, "copy", cwd=home)
            pushed = await run(proxy, "git", "-C", "copy", "push", "-q", url, "HEAD:other", cwd=home)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (home / "copy" / ".git" / "refs" / "remotes" / "origin").is_dir()
    assert pushed.returncode != 0


async def test_pip_downloads(tmp_path: Path, authority: TestAuthority, files: Path, home: Path) -> None:
    pytest.importorskip("pip", reason="pip is not installed")
    name = write_index(files)
    with serving_files(files, authority.context(HOST)) as port:
        async with limited(tmp_path, authority) as proxy:
            url = f"https://{HOST}:{port}/simple/"
            command = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check")
            done = await run(proxy, *command, "--index-url", url, "demo", cwd=home, PIP_CONFIG_FILE=os.devnull)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (home / name).read_bytes() == (files / "simple" / "demo" / name).read_bytes()


@needs("npm")
async def test_npm_packs(tmp_path: Path, authority: TestAuthority, files: Path, home: Path) -> None:
    package = BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/package.json")
        text = json.dumps({"name": "demo", "version": "1.0.0"}).encode()
        member.size = len(text)
        archive.addfile(member, BytesIO(text))
    (files / "demo.tgz").write_bytes(package.getvalue())
    digest = hashlib.sha1(package.getvalue(), usedforsecurity=False).hexdigest()
    with serving_files(files, authority.context(HOST)) as port:
        dist = {"tarball": f"https://{HOST}:{port}/demo.tgz", "shasum": digest}
        version = {"name": "demo", "version": "1.0.0", "dist": dist}
        known = {"name": "demo", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        (files / "demo").write_text(json.dumps(known))
        async with limited(tmp_path, authority) as proxy:
            registry = f"https://{HOST}:{port}/"
            done = await run(
                proxy, "npm", "pack", "demo", "--silent", "--no-update-notifier", "--registry", registry, cwd=home
            )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (home / "demo-1.0.0.tgz").read_bytes() == package.getvalue()


@needs("cargo")
async def test_cargo_fetches(tmp_path: Path, authority: TestAuthority, files: Path, home: Path) -> None:
    crate = BytesIO()
    with tarfile.open(fileobj=crate, mode="w:gz") as archive:
        for name, text in {
            "Cargo.toml": '[package]\nname = "demo"\nversion = "1.0.0"\n[lib]\npath = "lib.rs"\n',
            "lib.rs": "",
        }.items():
            member = tarfile.TarInfo(f"demo-1.0.0/{name}")
            member.size = len(text)
            archive.addfile(member, BytesIO(text.encode()))
    digest = hashlib.sha256(crate.getvalue()).hexdigest()
    entry: dict[str, object] = {
        "name": "demo",
        "vers": "1.0.0",
        "deps": [],
        "cksum": digest,
        "features": {},
        "yanked": False,
    }
    (files / "index" / "de" / "mo").mkdir(parents=True)
    (files / "index" / "de" / "mo" / "demo").write_text(json.dumps(entry) + "\n")
    (files / "demo-1.0.0.crate").write_bytes(crate.getvalue())
    project = home / "project"
    (project / ".cargo").mkdir(parents=True)
    (project / "lib.rs").touch()
    (project / "Cargo.toml").write_text(
        '[package]\nname = "project"\nversion = "1.0.0"\n[lib]\npath = "lib.rs"\n[dependencies]\n'
        'demo = { version = "1", registry = "local" }\n'
    )
    with serving_files(files, authority.context(HOST)) as port:
        download = f"https://{HOST}:{port}/{{crate}}-{{version}}.crate"
        (files / "index" / "config.json").write_text(json.dumps({"dl": download}))
        (project / ".cargo" / "config.toml").write_text(
            f'[registries.local]\nindex = "sparse+https://{HOST}:{port}/index/"\n'
        )
        async with limited(tmp_path, authority) as proxy:
            toolchains = os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup"))
            more = {"CARGO_HOME": str(home / "cargo"), "RUSTUP_HOME": toolchains}
            done = await run(proxy, "cargo", "fetch", "-q", cwd=project, **more)
    assert (done.returncode, done.stderr) == (0, b"")
    assert digest in (project / "Cargo.lock").read_text()
