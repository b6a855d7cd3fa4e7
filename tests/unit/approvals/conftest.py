"""A thread whose commands reach for the network."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.approvals.network_room import NetworkRoom, network_room


@pytest.fixture
async def room() -> AsyncIterator[NetworkRoom]:
    async with network_room() as room:
        yield room
