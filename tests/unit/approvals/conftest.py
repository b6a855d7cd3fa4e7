"""A thread whose commands reach for the network."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app_server.store.decisions import DecisionLog
from tests.unit.approvals.network_room import NetworkRoom, network_room
from tests.unit.store.homes import opened


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[NetworkRoom]:
    async with opened(tmp_path) as home, network_room(DecisionLog(home.database)) as room:
        yield room
