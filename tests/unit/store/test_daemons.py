import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from app_server.store.daemons import Daemon
from app_server.store.errors import StoreError, ThreadInUse
from tests.unit.store.homes import add_thread, item, opened, thread, turn

_HOLDER = """
import sys, anyio
from pathlib import Path
from app_server.store.daemons import Daemon

async def main():
    async with Daemon(Path(sys.argv[1]), "unix:///run/x.sock") as daemon:
        print(daemon.id, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


class _Holder:
    """A daemon in another process."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", _HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.id = self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


async def test_a_killed_daemon_is_dead_at_once_and_its_file_goes_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "daemons"
    holder = await anyio.to_thread.run_sync(_Holder, folder)
    async with Daemon(folder, "stdio://") as daemon:
        assert daemon.is_alive(holder.id)
        assert [(info.pid, info.listen) for info in await daemon.others()] == [
            (holder.process.pid, "unix:///run/x.sock")
        ]
        await anyio.to_thread.run_sync(holder.kill)
        assert not daemon.is_alive(holder.id)
        assert await daemon.others() == []
        assert _files(folder) == sorted([f"{holder.id}.lock", f"{daemon.id}.lock"])
        async with Daemon(folder, "off") as second:
            assert _files(folder) == sorted([f"{second.id}.lock", f"{daemon.id}.lock"])
    assert _files(folder) == []


async def test_asking_whether_a_dead_daemon_lives_does_not_make_it_seem_alive(tmp_path: Path) -> None:
    holder = await anyio.to_thread.run_sync(_Holder, tmp_path)
    await anyio.to_thread.run_sync(holder.kill)
    daemon = Daemon(tmp_path, "off")

    def ask() -> list[bool]:
        return [daemon.is_alive(holder.id) for _ in range(300)]

    answers: list[bool] = []

    async def ask_in_thread() -> None:
        answers.extend(await anyio.to_thread.run_sync(ask))

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(ask_in_thread)
    assert set(answers) == {False}


async def test_a_folder_that_cannot_hold_the_lock_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/daemons cannot hold this daemon's lock file: Not a directory"):
        async with Daemon(tmp_path / "file" / "daemons", "off"):
            pass


async def test_a_live_daemon_s_thread_can_be_read_but_not_written_by_another(tmp_path: Path) -> None:
    async with opened(tmp_path, "ws://127.0.0.1:4500") as first, opened(tmp_path) as second:
        row = await add_thread(first.store)
        assert (await second.store.get(row.id)).owner == first.daemon.id
        assert len((await second.store.items(row.id)).rows) == 2
        for attempt in (
            second.store.claim(row.id),
            second.store.append(row.id, items=[item("t0", "x")]),
            second.store.update(row.id, {"name": "x"}),
            second.store.archive(row.id),
            second.store.delete(row.id),
        ):
            with pytest.raises(ThreadInUse) as raised:
                await attempt
            assert (raised.value.pid, raised.value.address) == (os.getpid(), "ws://127.0.0.1:4500")
            assert f"pid {os.getpid()}, listening on ws://127.0.0.1:4500" in str(raised.value)
        assert (await second.store.items(row.id)).rows == (await first.store.items(row.id)).rows
        # A copy is the second's own.
        await second.store.fork(row.id, copy := thread())
        await second.store.append(copy.id, items=[item("t0", "x")])


async def test_a_released_thread_can_be_claimed_by_another(tmp_path: Path) -> None:
    async with opened(tmp_path) as first, opened(tmp_path) as second:
        row = await add_thread(first.store)
        await second.store.release(row.id)  # not its own: nothing happens
        assert (await first.store.get(row.id)).owner == first.daemon.id
        await first.store.release(row.id)
        await second.store.claim(row.id)
        with pytest.raises(ThreadInUse):
            await first.store.append(row.id, turn=turn("t1"))


async def test_appending_to_a_free_thread_claims_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as first, opened(tmp_path) as second:
        row = await add_thread(first.store)
        await first.store.release(row.id)
        await second.store.append(row.id, turn=turn("t1"))
        assert (await second.store.get(row.id)).owner == second.daemon.id
        with pytest.raises(ThreadInUse):
            await first.store.append(row.id, turn=turn("t2"))


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
