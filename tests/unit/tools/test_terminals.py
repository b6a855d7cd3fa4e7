"""Terminals: how many a thread has, which make room, how they end, and what they are seen to use."""

import os

import anyio

from app_server.tools.terminals import MOST_TERMINALS, RECENTLY_USED, Terminal, usage
from tests.unit.tools.command_bench import Bench, output_of, session_of


async def fill(commands: Bench, count: int) -> list[Terminal]:
    """So many running commands, each used later than the one before it."""
    sessions: dict[int, int] = {}

    async def start(index: int) -> None:
        report = await commands.run("sleep 86400", call_id=f"call_{index}", yield_time_ms=250)
        sessions[index] = session_of(report)

    async with anyio.create_task_group() as tasks:
        for index in range(count):
            tasks.start_soon(start, index)
    terminals = [commands.terminals.find("thread", sessions[index]) for index in range(count)]
    found = [terminal for terminal in terminals if terminal is not None]
    assert len(found) == count
    for index, terminal in enumerate(found):
        terminal.used_at = float(index)
    return found


async def test_one_too_many_ends_the_one_that_was_used_longest_ago(commands: Bench) -> None:
    terminals = await fill(commands, MOST_TERMINALS)
    terminals[0].used_at = 1_000.0
    session = session_of(await commands.run("sleep 86400", call_id="more", yield_time_ms=250))
    await terminals[1].completed.wait()
    running = commands.terminals.running("thread")
    assert {terminal.number for terminal in running} == {
        session,
        terminals[0].number,
        *(terminal.number for terminal in terminals[2:]),
    }
    assert len(running) == MOST_TERMINALS
    (done,) = commands.clients.of("completed")
    assert (done.id, done.status, done.exit_code) == ("call_1", "failed", -1)
    report = await commands.write(terminals[1].number)
    assert report == f"write_stdin failed: Unknown process id {terminals[1].number}"


async def test_what_has_ended_makes_room_first_but_not_what_was_used_last(commands: Bench) -> None:
    terminals = await fill(commands, MOST_TERMINALS)
    old, recent = terminals[30], terminals[2 - RECENTLY_USED]
    for terminal in (old, recent):
        os.kill(terminal.process.pid, 9)
        await terminal.completed.wait()
    await commands.run("sleep 86400", call_id="more", yield_time_ms=250)
    assert commands.terminals.find("thread", old.number) is None
    assert commands.terminals.find("thread", recent.number) is recent
    assert terminals[0].runs
    await commands.run("sleep 86400", call_id="most", yield_time_ms=250)
    assert commands.terminals.find("thread", recent.number) is recent
    assert not terminals[0].runs


async def test_the_list_is_by_number_and_of_what_runs(commands: Bench) -> None:
    terminals = await fill(commands, 5)
    terminals[2].kill()
    await terminals[2].completed.wait()
    numbers = [terminal.number for terminal in commands.terminals.running("thread")]
    assert numbers == sorted(terminal.number for terminal in (*terminals[:2], *terminals[3:]))
    assert commands.terminals.running("other") == []


async def test_a_killed_command_is_given_no_time_and_keeps_its_output(commands: Bench) -> None:
    script = "trap 'echo asked' TERM; echo begun; (setsid sleep 86400 &); while :; do sleep 86400; done"
    session = session_of(await commands.run(script, yield_time_ms=250))
    terminal = commands.terminals.find("thread", session)
    assert terminal is not None
    terminal.kill()
    await terminal.completed.wait()
    (done,) = commands.clients.of("completed")
    assert (done.status, done.exit_code, done.aggregated_output) == ("failed", -1, "begun\n")
    report = await commands.write(session)
    assert "Process exited with code -1" in report
    assert output_of(report) == ""


async def test_closing_a_thread_ends_its_commands_with_their_trees_and_no_others(commands: Bench) -> None:
    report = await commands.run("sleep 86400 & echo $!; echo $$; wait", yield_time_ms=250)
    pids = [int(word) for word in output_of(report).split()]
    await commands.run("sleep 86400", call_id="call_2", tty=True, yield_time_ms=250)
    commands.turn.thread_id = "other"
    session = session_of(await commands.run("sleep 86400", call_id="call_3", yield_time_ms=250))
    await commands.terminals.close("thread")
    assert {item.id for item in commands.clients.of("completed")} == {"call_1", "call_2"}
    assert still_there(pids) == []
    assert [terminal.number for terminal in commands.terminals.running("other")] == [session]


def still_there(pids: list[int]) -> list[int]:
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


async def test_closing_completes_what_a_call_still_waits_for(commands: Bench) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commands.run, "echo begun; sleep 86400")
        await commands.clients.until(lambda: "begun" in commands.clients.printed)
        await commands.terminals.close("thread")
        assert len(commands.clients.of("completed")) == 1
    assert len(commands.clients.of("completed")) == 1


async def test_what_a_command_uses_is_that_of_its_whole_tree(commands: Bench) -> None:
    work = (
        "import time; x = bytearray(60_000_000); sum(range(3_000_000)); print('ready', flush=True); time.sleep(86400)"
    )
    (commands.cwd / "work.py").write_text(work)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commands.run, "python3 work.py & wait", "call_1")
        await commands.clients.until(lambda: "ready" in commands.clients.printed)
        commands.interrupt()
    (terminal,) = commands.terminals.running("thread")
    used = await anyio.to_thread.run_sync(usage, terminal)
    assert used.pid == terminal.process.pid
    assert used.rss_kb is not None
    assert used.rss_kb > 60_000
    assert used.cpu_percent is not None
    assert used.cpu_percent > 0
