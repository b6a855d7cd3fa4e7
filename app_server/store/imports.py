"""What was taken over from other coding agents, and when."""

import sqlite3
from typing import Final

from msgspec import Struct
from msgspec.structs import astuple

from app_server.store.database import Database


class ImportRow(Struct, frozen=True):
    """One import. `successes` and `failures` are lists of the wire's objects as JSON; milliseconds since 1970."""

    id: str
    provider_id: str | None
    completed_at_ms: int
    successes: str
    failures: str


_COLUMNS: Final = ", ".join(ImportRow.__struct_fields__)


class ImportStore:
    """The history of imports. Its methods raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: ImportRow) -> None:
        """Keep one."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(f"INSERT INTO imports ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", astuple(row))

        await self._database.write(work)

    async def all(self) -> list[ImportRow]:
        """All of them, the latest first."""

        def work(connection: sqlite3.Connection) -> list[ImportRow]:
            found = connection.execute(f"SELECT {_COLUMNS} FROM imports ORDER BY number DESC")
            return [ImportRow(*row) for row in found]

        return await self._database.read(work)
