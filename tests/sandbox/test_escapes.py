"""Nothing gets out: every attempt succeeds without the sandbox, and none in it."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app_server.exec.reaper import Reaper
from app_server.sandbox.permissions import PermissionProfile, read_only, workspace_write
from app_server.sandbox.sandbox import Confinement
from tests.sandbox import (
    escapes_files,
    escapes_kernel,
    escapes_network,
    escapes_processes,
    escapes_races,
    escapes_repositories,
    escapes_secrets,
)
from tests.sandbox.attempts import REFUSED, Attempt, Commands, Host, marked, play, shown
from tests.sandbox.backends import BACKENDS, usable_backends

ROOMS = (
    escapes_files,
    escapes_repositories,
    escapes_network,
    escapes_processes,
    escapes_kernel,
    escapes_secrets,
    escapes_races,
)
ATTEMPTS: list[Attempt] = [attempt for room in ROOMS for attempt in room.ATTEMPTS]

ENOUGH = 60


def profile_named(name: str, host: Host) -> PermissionProfile:
    network = name.endswith("with network")
    if name.startswith("read-only"):
        return read_only(network=network)
    return workspace_write([str(host.workspace)], slash_tmp=False, network=network)


@pytest.fixture(scope="module")
async def reaper() -> AsyncIterator[Reaper]:
    async with Reaper() as reaper:
        yield reaper


@pytest.fixture(scope="module")
async def backends() -> dict[str, Confinement | str]:
    return await usable_backends()


@pytest.fixture
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    host = Host(tmp_path / "host", f"escape-{os.getpid()}-{abs(hash(request.node.name)) % 10**9}")
    yield host
    host.close()
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_each_attempt_has_a_name_of_its_own() -> None:
    assert len({attempt.name for attempt in ATTEMPTS}) == len(ATTEMPTS)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
async def test_without_the_sandbox_it_is_possible_to(attempt: Attempt, reaper: Reaper) -> None:
    if (reason := await shown(attempt, reaper)) is not None:
        pytest.skip(f"CANNOT BE SHOWN HERE: {reason}")


CASES = [
    pytest.param(
        backend,
        profile,
        attempt,
        id=f"{attempt.name}-{profile}-{backend}",
        marks=[pytest.mark.xfail(reason=attempt.still_open[backend], strict=True)]
        if backend in attempt.still_open
        else [],
    )
    for backend in BACKENDS
    for attempt in ATTEMPTS
    for profile in attempt.profiles
]


@pytest.mark.parametrize(("backend", "profile", "attempt"), CASES)
async def test_in_the_sandbox_it_is_impossible_to(
    backend: str,
    profile: str,
    attempt: Attempt,
    host: Host,
    reaper: Reaper,
    backends: dict[str, Confinement | str],
) -> None:
    sandbox = backends[backend]
    if isinstance(sandbox, str):
        pytest.skip(f"NO {backend.upper()} HERE, ITS TESTS DO NOT RUN: {sandbox}")
    if (reason := await shown(attempt, reaper)) is not None:
        pytest.skip(f"CANNOT BE SHOWN HERE, AND SO IS NOT TRIED: {reason}")
    runner = Commands(sandbox, reaper, profile_named(profile, host))
    got_out, text = await play(attempt, host, runner)
    assert not got_out, text
    assert "tried" in text or (attempt.unstarted_is_fine and REFUSED in text), text
    assert marked(host.mark) == []


async def test_of_all_attempts_enough_can_be_shown_on_this_machine(reaper: Reaper) -> None:
    possible = [attempt.name for attempt in ATTEMPTS if await shown(attempt, reaper) is None]
    print(f"{len(possible)} of {len(ATTEMPTS)} attempts succeed here without the sandbox")
    assert len(possible) >= ENOUGH
