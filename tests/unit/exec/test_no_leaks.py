"""Nothing of a command stays behind: no task, no process, no descriptor; also when the daemon is killed."""

import asyncio
import os
import sys
import textwrap
from pathlib import Path

import anyio

from app_server.exec.client_commands import CommandRequest
from app_server.exec.proctree import children
from app_server.exec.pty import Size
from app_server.exec.reaper import Reaper
from app_server.exec.sessions import CommandSessions
from app_server.sandbox.permissions import FULL_ACCESS
from app_server.sandbox.sandbox import Unsandboxed
from tests.unit.exec.conftest import Runner, descriptors, is_alive, pids


class Silent:
    def push_bytes(self, method: str | None, body: bytes) -> None:
        pass

    async def drained(self) -> None:
        pass


def state() -> tuple[set[str], list[int], int]:
    """Descriptors, children and the number of tasks of this process."""
    return descriptors(), sorted(children(os.getpid())), len(asyncio.all_tasks())


async def test_two_hundred_commands_of_all_kinds_leave_nothing(reaper: Reaper, tmp_path: Path) -> None:
    sessions = CommandSessions(Unsandboxed(), reaper)

    def wanted(script: str, number: int, **options: object) -> CommandRequest:
        return CommandRequest(
            command=["/bin/sh", "-c", script],
            profile=FULL_ACCESS,
            cwd=str(tmp_path),
            process_id=f"p{number}",
            **options,  # type: ignore[arg-type]  # a table of keyword arguments
        )

    scripts: list[tuple[str, dict[str, object]]] = [
        ("echo out", {}),
        ("exit 7", {"stream_output": True}),
        ("sleep 60", {"timeout_ms": 5}),
        ("sleep 60", {"tty": True, "timeout_ms": 5}),
        ("stty size", {"tty": True, "size": Size(3, 4)}),
        ("cat", {"stream_stdin": True, "timeout_ms": 5}),
        ("setsid sleep 1000 >/dev/null 2>&1 </dev/null &", {}),
        ("setsid sh -c 'trap \"\" TERM; sleep 1000' & sleep 1000", {"timeout_ms": 20}),
        ("kill -9 $$", {}),
        ("head -c 200000 /dev/zero", {"output_bytes_cap": 10}),
    ]

    async def run_all(first: int) -> None:
        async with anyio.create_task_group() as group:
            for offset, (script, options) in enumerate(scripts):
                group.start_soon(sessions.run, 1, Silent(), wanted(script, first + offset, **options))

    await run_all(0)
    before = state()
    for round_number in range(1, 19):
        await run_all(round_number * len(scripts))
    # And some that are cut off in the middle.
    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(sessions.run, 2, Silent(), wanted("setsid sleep 1000 & sleep 1000", 1000 + number))
        await anyio.wait_all_tasks_blocked()
        await sessions.close_connection(2)
    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(sessions.run, 3, Silent(), wanted("sleep 1000", 2000 + number))
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert state() == before


async def test_closing_the_reaper_leaves_no_helper(tmp_path: Path) -> None:
    before = state()
    async with Reaper() as reaper:
        await Runner(reaper, tmp_path).output("/bin/true")
        assert len(children(os.getpid())) == len(before[1]) + 1
    assert state() == before


async def test_when_the_daemon_is_killed_its_commands_die_with_it() -> None:
    daemon = textwrap.dedent(
        """
        import os
        from pathlib import Path

        import anyio

        from app_server.exec.reaper import Reaper
        from tests.unit.exec.conftest import Runner


        async def main() -> None:
            async with Reaper() as reaper:
                runner = Runner(reaper, Path("/"))
                await runner.output("/bin/true")
                sleeper = "sh -c 'echo $$; exec sleep 1000'"
                script = f"echo $$; setsid {sleeper} & env -i {sleeper} & exec sleep 1000"
                async with runner.shell(script) as process:
                    seen = b""
                    while seen.count(b"\\n") < 3:
                        seen += (await process.read())[1]
                    os.write(1, seen)
                    await anyio.sleep_forever()


        anyio.run(main)
        """
    )
    async with await anyio.open_process([sys.executable, "-c", daemon], stdin=None, stderr=None) as process:
        try:
            assert process.stdout is not None
            commands = pids(await process.stdout.receive(), 3)
            alive = [is_alive(pid) for pid in commands]
        finally:
            process.kill()
        assert alive == [True] * 3
        await process.wait()
        with anyio.fail_after(10):
            while any(is_alive(pid) for pid in commands):  # noqa: ASYNC110  # they are no children of ours
                await anyio.sleep(0.01)
