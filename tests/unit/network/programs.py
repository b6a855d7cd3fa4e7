"""The programs of the machine that tests run, and where they are missing."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest


def needs(program: str) -> pytest.MarkDecorator:
    """Skips a test where the program is not installed."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def needs_nodes_fetch() -> pytest.MarkDecorator:
    """Skips a test where the fetch of node does not go by a proxy of its environment."""
    reason = _why_no_fetch()
    return pytest.mark.skipif(reason is not None, reason=reason or "")


def _why_no_fetch() -> str | None:
    if (node := shutil.which("node")) is None:
        return "node is not installed"
    version = subprocess.run([node, "--version"], capture_output=True, check=True).stdout.decode().strip()
    release = tuple(map(int, version.removeprefix("v").split(".")[:2]))
    known = release >= (24, 5) or (22, 21) <= release < (23, 0)
    return None if known else f"fetch knows NODE_USE_ENV_PROXY since node 22.21 and 24.5, and this is {version}"


FETCH = "fetch(process.argv[1]).then((answer) => answer.text()).then((text) => process.stdout.write(text))"
"""For node: write what is at the URL."""

DENO = "const answer = await fetch(Deno.args[0]); await Deno.stdout.write(await answer.bytes());"
"""The same for deno."""

GO = """
package main

import ("io"; "net/http"; "os")

func main() {
	answer, err := http.Get(os.Args[1])
	if err != nil { panic(err) }
	io.Copy(os.Stdout, answer.Body)
}
"""
"""The same for go."""


def write_index(folder: Path) -> str:
    """A Python index with one package; the value is the name of its file."""
    name = "demo-1.0-py3-none-any.whl"
    index = folder / "simple" / "demo"
    index.mkdir(parents=True)
    (index / "index.html").write_text(f'<a href="{name}">{name}</a>')
    with zipfile.ZipFile(index / name, "w") as wheel:
        wheel.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        wheel.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("demo-1.0.dist-info/RECORD", "")
    return name
