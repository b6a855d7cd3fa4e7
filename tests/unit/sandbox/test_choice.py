"""Which backend is chosen, and what users are told of it."""

import sys
from collections.abc import Callable, Mapping, Sequence

import pytest

from app_server.sandbox.choice import Candidate, SandboxReport, StrongestAvailable
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile, read_only
from app_server.sandbox.sandbox import (
    Confinement,
    Sandbox,
    SandboxedCommand,
    SandboxUnavailable,
    Unsupported,
    choose_sandbox,
)


class Fake:
    """A backend that works, and counts how often it was asked whether it does."""

    def __init__(self, name: str) -> None:
        self.name, self.asked = name, 0

    async def available(self) -> None:
        self.asked += 1

    async def wrap(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        profile: PermissionProfile,
        terminal: bool = False,
        proxy_port: int | None = None,
    ) -> SandboxedCommand:
        return SandboxedCommand([self.name, *argv], env)


def giving(sandbox: Sandbox) -> Callable[[], Sandbox]:
    return lambda: sandbox


def missing(reason: str) -> Callable[[], Sandbox]:
    return giving(Unsupported(reason))


async def test_the_first_that_works_is_used_and_probed_once() -> None:
    strong, weak = Fake("strong"), Fake("weak")
    choice = StrongestAvailable([Candidate("strong", giving(strong)), Candidate("weak", giving(weak), ("speed",))])
    for _ in range(2):
        command = await choice.wrap(["ls"], cwd="/", env={}, profile=read_only())
        assert command.argv == ["strong", "ls"]
    assert await choice.report() == SandboxReport("strong")
    assert (await choice.report()).summary is None
    assert (strong.asked, weak.asked) == (1, 0)


async def test_where_the_strong_one_does_not_work_the_next_is_used_and_the_reason_is_told() -> None:
    candidates = [
        Candidate("strong", missing("it is not installed; install it")),
        Candidate("weak", giving(Fake("weak")), ("it is slow", "it is new")),
    ]
    confinement = Confinement(StrongestAvailable(candidates))
    assert (await confinement.wrap(["ls"], cwd="/", env={}, profile=read_only())).argv == ["weak", "ls"]
    report = await confinement.report()
    assert report.summary == "Commands are confined by weak, because strong cannot be used here."
    assert report.details == "strong: it is not installed; install it.\nWith weak it is slow; it is new."


async def test_where_none_works_the_command_is_refused_with_every_remedy_and_asked_again_next_time() -> None:
    found: list[Sandbox] = [Unsupported("there is no a; get a")]
    candidates = [Candidate("a", lambda: found[0]), Candidate("b", missing("there is no b; get b"))]
    choice = StrongestAvailable(candidates)
    with pytest.raises(SandboxUnavailable, match=r"^there is no a; get a; there is no b; get b$"):
        await choice.wrap(["ls"], cwd="/", env={}, profile=read_only())
    report = await choice.report()
    assert report.backend is None
    assert "those that a sandbox policy restricts are refused" in (report.summary or "")
    assert report.details == "a: there is no a; get a.\nb: there is no b; get b."
    found[0] = Fake("a")
    await choice.available()
    assert (await choice.report()).backend == "a"


async def test_a_single_backend_can_be_reported_too() -> None:
    assert await Confinement(Fake("x")).report() == SandboxReport("Fake")
    assert (await Confinement(Unsupported("why")).report()).refused == (("Unsupported", "why"),)


@pytest.mark.parametrize(
    ("platform", "remedy"), [("win32", "run the server in WSL 2"), ("freebsd14", "run the server on Linux or macOS")]
)
async def test_a_system_without_a_backend_refuses_and_says_what_helps(
    platform: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(SandboxUnavailable, match=f"not supported on {platform}; {remedy}.*externalSandbox"):
        await choose_sandbox().wrap(["ls"], cwd="/", env={}, profile=read_only())
    assert (await choose_sandbox().wrap(["ls"], cwd="/", env={}, profile=FULL_ACCESS)).argv == ["ls"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="has another system's programs missing")
@pytest.mark.parametrize(("platform", "first"), [("linux", "bubblewrap"), ("darwin", "Seatbelt")])
async def test_each_system_has_its_own(platform: str, first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("PATH", "/nonexistent")
    report = await choose_sandbox().report()
    assert report.refused[0][0] == first


@pytest.mark.parametrize("port", [-1, 0, 65536])
async def test_a_proxy_without_a_usable_port_is_no_way_out(port: int) -> None:
    with pytest.raises(SandboxUnavailable, match="has no port"):
        await Confinement(Fake("any")).wrap(["ls"], cwd="/", env={}, profile=read_only(), proxy_port=port)
