"""Limited mode with the real program: what a command asks for within TLS is judged, and a refusal ends the command."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.support.daemon import running_daemon
from tests.support.home import make_home
from tests.support.hosts import hosts_file, needs_hosts
from tests.support.networked import HOSTS, SETTINGS, answer, asked, done, needs_curl, questions, rules, run
from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import ScriptedModel
from tests.support.stage import Stage, begin, ended, run_turn
from tests.unit.network.proxy_bench import Origin
from tests.unit.network.tls_bench import TestAuthority, serving_tls

pytestmark = [needs_hosts, needs_curl]


@pytest.fixture(name="authority")
def make_authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


@asynccontextmanager
async def limited(folder: Path, authority: TestAuthority) -> AsyncGenerator[tuple[Stage, RpcClient]]:
    """A daemon in limited mode, which trusts the servers of a test."""
    async with ScriptedModel() as model:
        more = rules('mode = "limited"')
        home = make_home(folder / "home", model.url, settings=SETTINGS, more=more)
        cwd = folder / "project"
        cwd.mkdir()
        variables = {**hosts_file(folder / "hosts", HOSTS), "SSL_CERT_FILE": str(authority.file)}
        async with running_daemon(home, **variables) as daemon, Stage(model, home, cwd, daemon) as stage:
            yield stage, await stage.client()


async def outcome(stage: Stage, client: RpcClient, cmd: str) -> Message:
    """The item of a command in a new thread."""
    thread = await stage.thread(client)
    call = f"call_{len(stage.model.requests)}"
    stage.model.script(run(cmd, call))
    await run_turn(client, thread)
    return await done(client, call)


async def test_reading_goes_and_writing_ends_the_command(tmp_path: Path, authority: TestAuthority) -> None:
    origin = Origin()
    async with (
        serving_tls(origin, authority.context("listed.test")) as port,
        limited(tmp_path, authority) as (stage, client),
    ):
        url = f"https://listed.test:{port}/secret-path"
        item = await outcome(stage, client, f"curl -sS {url} {url}")
        assert (item["status"], item["aggregatedOutput"]) == ("completed", "okok")
        item = await outcome(stage, client, f"curl -sS -d x {url}; sleep 86400")
        assert (item["status"], item["exitCode"]) == ("failed", -1)
        listed = await client.call("turnloom/network/decisions/list", {})
        newest = listed["data"][0]
        assert (newest["host"], newest["protocol"], newest["reason"]) == (
            "listed.test",
            "https_connect",
            "method_not_allowed",
        )
        assert "secret-path" not in str(listed)
    assert {head.partition(b" ")[0] for head in origin.requests} == {b"GET"}


async def test_one_question_is_asked_for_a_connection(tmp_path: Path, authority: TestAuthority) -> None:
    async with (
        serving_tls(Origin(), authority.context("n1.test")) as port,
        limited(tmp_path, authority) as (stage, client),
    ):
        url = f"https://n1.test:{port}/"
        thread = await stage.thread(client)
        stage.model.script(run(f"curl -sS {url} {url}"))
        turn = await begin(client, thread)
        await answer(client, await asked(client), "accept")
        await ended(client, turn)
        item = await done(client)
        assert (item["status"], item["aggregatedOutput"]) == ("completed", "okok")
        assert len(questions(client)) == 1


async def test_the_certificates_are_gone_with_the_program(tmp_path: Path, authority: TestAuthority) -> None:
    async with limited(tmp_path, authority) as (stage, client):
        item = await outcome(stage, client, "ls -l $SSL_CERT_FILE && (echo x >>$SSL_CERT_FILE) 2>/dev/null; true")
        assert item["aggregatedOutput"].startswith("-rw-r--r--")
        folder = anyio.Path(tmp_path / "home" / "proxy")
        assert len([path async for path in folder.iterdir()]) == 2
    assert [path async for path in folder.iterdir()] == []
