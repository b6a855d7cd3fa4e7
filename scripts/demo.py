"""Shows the main job on a terminal: one daemon, two clients on websockets, one thread, a command in the sandbox."""

import asyncio
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

QUESTION = "What are you?"
COMMAND = "echo 'a note' > note.txt && cat note.txt; touch /var/tmp/outside || echo '(the sandbox said no)'"
FOLLOWED = re.compile("^(turn|item|thread/(status|tokenUsage))/")
"""The notifications that everybody who follows a thread gets."""

_colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
Message = dict[str, Any]


def paint(text: str, code: str) -> str:
    """`text` in a colour, on a terminal."""
    return f"\033[{code}m{text}\033[0m" if _colours else text


def say(who: str, text: str, code: str = "0") -> None:
    """One labelled line."""
    print(f"{paint(f'{who:>8} |', '2')} {paint(text, code)}", flush=True)


def title(text: str) -> None:
    """What comes next."""
    print(f"\n{paint(text, '1')}", flush=True)


class Client:
    """A JSON-RPC client over one websocket: requests, answers, and a queue of notifications."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self.notifications: asyncio.Queue[Message] = asyncio.Queue()

    async def read(self) -> None:
        """Sort what the daemon sends, until it closes the connection."""
        async for frame in self._socket:
            message: Message = frame.json()
            if "method" in message:
                self.notifications.put_nowait(message)
            else:
                self._waiting.pop(message["id"]).set_result(message)
        for answer in self._waiting.values():
            answer.set_exception(ConnectionError("the daemon closed the connection"))

    async def call(self, method: str, params: Message) -> Message:
        """The result of a request."""
        request_id = next(self._ids)
        answer = self._waiting[request_id] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": request_id, "method": method, "params": params})
        message = await answer
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        return message["result"]

    async def turn(self) -> AsyncIterator[Message]:
        """The notifications of one turn of the thread, up to its end."""
        while True:
            message = await self.notifications.get()
            if FOLLOWED.match(message["method"]):
                yield message
            if message["method"] == "turn/completed":
                return


@asynccontextmanager
async def connected(url: str, name: str) -> AsyncIterator[Client]:
    """A client that has said hello."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
        client = Client(socket)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(client.read())
            hello = await client.call("initialize", {"clientInfo": {"name": name, "version": "1.0.0"}})
            say(name, f"connected; the daemon says it is {hello['userAgent']}")
            yield client
            reading.cancel()


@asynccontextmanager
async def daemon(home: Path) -> AsyncIterator[str]:
    """A daemon on a free port with the demo model. Gives its URL and stops it at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app_server", "app-server", "--listen", "ws://127.0.0.1:0"),
        *("-c", 'model_provider="demo"'),
        env={**os.environ, "CODEX_HOME": str(home)},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    said = ""
    while not (found := re.search(r"listening on (ws://\S+)", said)):
        line = await process.stderr.readline()
        if not line:
            raise RuntimeError(f"the daemon did not start: {said}")
        said += line.decode()
    say("daemon", f"turnloom app-server is listening on {found[1]} (process {process.pid})")
    try:
        yield found[1]
    finally:
        process.terminate()
        say("daemon", f"told to stop; it ended with status {await process.wait()}")


async def show_turn(client: Client, thread_id: str, text: str) -> list[Message]:
    """Start a turn and print it as it happens. Gives its events."""
    for line in text.splitlines():
        say("you", line, "36")
    await client.call("turn/start", {"threadId": thread_id, "input": [{"type": "text", "text": text}]})
    seen: list[Message] = []
    writing = False
    async for message in client.turn():
        seen.append(message)
        method, params = message["method"], message["params"]
        if method in ("item/agentMessage/delta", "item/reasoning/summaryTextDelta"):
            if not writing:
                label = "model" if method == "item/agentMessage/delta" else "thinking"
                print(paint(f"{label:>8} |", "2"), end=" ", flush=True)
            writing = True
            print(
                paint(params["delta"], "32" if "agent" in method else "3").replace("\n", f"\n{'|':>10} "),
                end="",
                flush=True,
            )
        elif writing:
            writing = False
            print()
        if method == "item/started" and params["item"]["type"] == "commandExecution":
            say("sandbox", f"$ {params['item']['command']}", "33")
        elif method == "item/completed" and params["item"]["type"] == "commandExecution":
            for line in (params["item"]["aggregatedOutput"] or "").splitlines():
                say("sandbox", line, "33")
            say("sandbox", f"{params['item']['status']}, exit status {params['item']['exitCode']}", "33")
        elif method == "turn/completed":
            say("turn", f"{params['turn']['status']} in {params['turn']['durationMs']} ms", "2")
    return seen


def summary(events: list[Message]) -> str:
    """Methods in order; repeated ones counted."""
    runs: list[list[Any]] = []
    for event in events:
        if runs and runs[-1][0] == event["method"]:
            runs[-1][1] += 1
        else:
            runs.append([event["method"], 1])
    return ", ".join(name if times == 1 else f"{times} x {name}" for name, times in runs)


async def main(home: Path, project: Path) -> int:
    """Run the demo; 0 if both clients saw the same."""
    title("One daemon, two clients on websockets. The model is a script: no account, no network.")
    async with daemon(home) as url, connected(url, "editor") as editor, connected(url, "onlooker") as onlooker:
        title("The editor starts a thread; the onlooker follows it.")
        params = {"cwd": str(project), "sandbox": "workspace-write", "approvalPolicy": "never"}
        thread_id = (await editor.call("thread/start", params))["thread"]["id"]
        say("editor", f"started thread {thread_id} in {project}")
        await onlooker.call("thread/resume", {"threadId": thread_id})
        say("onlooker", "follows it")

        title("A question; the answer is streamed.")
        seen = await show_turn(editor, thread_id, QUESTION)
        title("A command, run in the sandbox: it may write in the project and nowhere else.")
        seen += await show_turn(editor, thread_id, f"Please run this.\nrun: {COMMAND}")

        title("What the onlooker saw meanwhile.")
        watched = [event async for event in onlooker.turn()] + [event async for event in onlooker.turn()]
        say("onlooker", summary(watched))
        same = watched == seen
        say(
            "onlooker",
            f"{len(watched)} events, {'the same as the editor, in the same order' if same else 'NOT THE SAME'}",
        )
    title("Connect your own client.")
    print(
        "  an editor or SDK that starts its server:   turnloom app-server   (in .venv/bin)\n"
        "  the terminal UI, and any number of others:  turnloom app-server --listen ws://127.0.0.1:8765\n"
        "                                              codex --remote ws://127.0.0.1:8765\n"
        "  without a model account:                    add -c model_provider='\"demo\"'\n"
        "  More: README.md"
    )
    return 0 if same else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="turnloom-demo-") as folder:
        folders = Path(folder, "home"), Path(folder, "project")
        for each in folders:
            each.mkdir()
        sys.exit(asyncio.run(main(*folders)))
