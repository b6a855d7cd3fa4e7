"""A daemon with a scripted model behind it, its clients, and what tests say to them about threads and turns."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from tests.support.daemon import Daemon, running_daemon, stdio_daemon
from tests.support.home import make_home
from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import ScriptedModel

Transport = Literal["stdio", "unix", "ws"]


class Stage:
    """One home and its model. `daemon` is None on stdio, where each client has a daemon of its own."""

    def __init__(self, model: ScriptedModel, home: Path, cwd: Path, daemon: Daemon | None) -> None:
        self.model, self.home, self.cwd, self._daemon = model, home, cwd, daemon
        self._clients = AsyncExitStack()

    @property
    def daemon(self) -> Daemon:
        """The listening daemon."""
        assert self._daemon is not None
        return self._daemon

    async def __aenter__(self) -> "Stage":
        return self

    async def __aexit__(self, *failure: Any) -> bool | None:
        return await self._clients.__aexit__(*failure)

    async def client(
        self, name: str = "tester", *, experimental: bool = True, opt_out: Sequence[str] = ()
    ) -> RpcClient:
        """A further client that has said hello; it leaves at the end of the test."""
        client = await self.connect()
        await client.initialize(name, experimental=experimental, opt_out=opt_out)
        return client

    async def connect(self) -> RpcClient:
        """A further client that has said nothing yet."""
        connecting = stdio_daemon(self.home) if self._daemon is None else self._daemon.client()
        client: RpcClient = await self._clients.enter_async_context(connecting)
        return client

    async def thread(self, client: RpcClient, **params: Any) -> str:
        """The id of a new thread in the stage's folder."""
        answer = await client.call("thread/start", {"cwd": str(self.cwd), **params})
        return answer["thread"]["id"]


def listen_on(transport: Transport, home: Path) -> str:
    """The --listen URL for a network transport."""
    return "ws://127.0.0.1:0" if transport == "ws" else f"unix://{home}/socket"


@asynccontextmanager
async def set_stage(
    folder: Path,
    transport: Transport = "ws",
    *,
    more: Callable[[str], str] | None = None,
    settings: dict[str, object] | None = None,
) -> AsyncGenerator[Stage]:
    """A stage of its own; `settings`, and what `more` makes of the model's URL, go into config.toml."""
    async with ScriptedModel() as model:
        home = make_home(folder / "home", model.url, settings=settings, more=more(model.url) if more else "")
        cwd = folder / "project"
        cwd.mkdir(exist_ok=True)
        if transport == "stdio":
            async with Stage(model, home, cwd, None) as stage:
                yield stage
        else:
            async with (
                running_daemon(home, listen_on(transport, home)) as daemon,
                Stage(model, home, cwd, daemon) as stage,
            ):
                yield stage


def text(words: str) -> list[Message]:
    """The input of a turn."""
    return [{"type": "text", "text": words, "text_elements": []}]


async def begin(client: RpcClient, thread_id: str, words: str = "hello", **params: Any) -> str:
    """Start a turn and give its id."""
    answer = await client.call("turn/start", {"threadId": thread_id, "input": text(words), **params})
    return answer["turn"]["id"]


async def ended(client: RpcClient, turn_id: str) -> Message:
    """The turn as its `turn/completed` tells it."""
    return (await client.wait_for(lambda message: is_end(message, turn_id)))["params"]["turn"]


def is_end(message: Message, turn_id: str) -> bool:
    """Whether this is the turn's `turn/completed`."""
    return message.get("method") == "turn/completed" and message["params"]["turn"]["id"] == turn_id


async def run_turn(client: RpcClient, thread_id: str, words: str = "hello", **params: Any) -> Message:
    """Start a turn and wait for its end."""
    return await ended(client, await begin(client, thread_id, words, **params))


async def item_started(client: RpcClient, turn_id: str, kind: str, nth: int = 0) -> Message:
    """The turn's nth item of that type, once it has started."""
    left = nth

    def matches(message: Message) -> bool:
        nonlocal left
        params: Message = message.get("params") or {}
        if message.get("method") != "item/started" or params["turnId"] != turn_id or params["item"]["type"] != kind:
            return False
        left -= 1
        return left < 0

    return (await client.wait_for(matches))["params"]["item"]


def of_turn(client: RpcClient, turn_id: str) -> list[Message]:
    """What the client was told of a turn's items, in order, as method and params."""
    return [
        {"method": message["method"], "params": message["params"]}
        for message in client.notifications()
        if message["params"].get("turnId") == turn_id or message["params"].get("turn", {}).get("id") == turn_id
    ]


def methods_of(client: RpcClient, turn_id: str) -> list[str]:
    """The methods of `of_turn`."""
    return [message["method"] for message in of_turn(client, turn_id)]


def completed_items(client: RpcClient, turn_id: str | None = None) -> list[Message]:
    """The items that the client was told are done."""
    return [
        message["params"]["item"]
        for message in client.notifications("item/completed")
        if turn_id is None or message["params"]["turnId"] == turn_id
    ]


def deltas(client: RpcClient, item_id: str) -> str:
    """The text of an agent message as its deltas told it."""
    return "".join(
        message["params"]["delta"]
        for message in client.notifications("item/agentMessage/delta")
        if message["params"]["itemId"] == item_id
    )


def assert_balanced(client: RpcClient, turn_id: str, *, outlived: bool = False) -> None:
    """Every started item of the turn was completed once and in between; the turn began and ended once.

    With `outlived`, its commands may have ended after it.
    """
    # Token usage is told again to a client that resumes, naming the newest turn.
    told = [message for message in of_turn(client, turn_id) if message["method"] != "thread/tokenUsage/updated"]
    methods = [message["method"] for message in told]
    assert methods.count("turn/started") == 1
    assert methods.count("turn/completed") == 1
    assert methods[0] == "turn/started"
    end = methods.index("turn/completed")
    assert outlived or end == len(methods) - 1
    assert {method.partition("/")[0] for method in methods[end + 1 :]} <= {"item"}
    open_items: list[str] = []
    commands: set[str] = set()
    done: list[str] = []
    for message in told:
        if message["method"] == "turn/completed":
            assert set(open_items) <= commands
        elif message["method"] == "item/started":
            if message["params"]["item"]["type"] == "commandExecution":
                commands.add(message["params"]["item"]["id"])
            open_items.append(message["params"]["item"]["id"])
        elif message["method"] == "item/completed":
            open_items.remove(message["params"]["item"]["id"])
            done.append(message["params"]["item"]["id"])
        elif "itemId" in message["params"]:
            assert message["params"]["itemId"] in open_items, message
    assert open_items == []
    assert len(done) == len(set(done))
