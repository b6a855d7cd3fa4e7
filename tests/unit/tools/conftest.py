"""Benches for tools."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from app_server.exec.reaper import Reaper
from tests.unit.tools.command_bench import Bench


@pytest.fixture
async def commands(tmp_path: Path) -> AsyncIterator[Bench]:
    """exec_command and write_stdin in a folder of their own; whatever runs is ended after the test."""
    async with Reaper() as reaper, anyio.create_task_group() as tasks:
        bench = Bench(tmp_path, reaper, tasks)
        yield bench
        await bench.terminals.shutdown()
