"""Requests that the server makes of clients: the first answer wins, and who comes later is asked again."""

from collections.abc import Callable, Iterable
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import anyio
import orjson
from msgspec import Struct, field

from app_server.rpc.connection import Connection
from app_server.rpc.outbound import Frame
from protocol.jsonrpc import METHOD_NOT_FOUND
from protocol.methods import ServerRequest

if TYPE_CHECKING:
    from protocol.wire import Wire

R = TypeVar("R", bound="Wire")


class NoAnswer(Exception):
    """The question ended without a usable answer: it was withdrawn, or the answer was an error or malformed."""


class Answer(Struct, Generic[R], frozen=True):
    """What a client answered."""

    response: R
    connection: Connection

    @property
    def client(self) -> str:
        """The client's name, with the number of its connection."""
        return _name(self.connection)


class _Question(Struct, eq=False):
    id: int
    topic: str
    method: str
    frame: Frame
    closed: Callable[[], None]
    asked: dict[int, Connection] = field(default_factory=dict[int, Connection])
    """The connections whose answer counts, by id."""
    answer: tuple[dict[str, Any], Connection] | None = None
    done: anyio.Event = field(default_factory=anyio.Event)

    def ask(self, connection: Connection) -> None:
        if connection.id not in self.asked:
            self.asked[connection.id] = connection
            connection.push(self.frame)


class ServerRequests:
    """Open questions. Each belongs to a topic (a thread's id) and outlives the clients that were asked."""

    def __init__(self) -> None:
        self._ids = count()
        self._open: dict[int, _Question] = {}

    async def ask(
        self,
        descriptor: ServerRequest[Any, R],
        params: "Wire",
        topic: str,
        connections: Iterable[Connection],
        *,
        opened: Callable[[], None],
        resolved: Callable[[int], None],
    ) -> Answer[R]:
        """Ask every one of `connections` and wait for the first answer.

        `opened` is called before anybody is asked, `resolved` with the request's id as soon as the question is closed,
        however it ended. Raises NoAnswer when it was withdrawn, or when the first answer is an error or does not
        fit the response model.
        """
        from pydantic import ValidationError

        from app_server.rpc.experimental import stripper

        request_id = next(self._ids)
        body = b'{"id":%d,"method":%b,"params":%b}' % (
            request_id,
            orjson.dumps(descriptor.method),
            params.model_dump_json().encode(),
        )
        strip = stripper(descriptor.params, "params")

        def close() -> None:
            if self._open.pop(request_id, None) is not None:
                resolved(request_id)

        question = _Question(request_id, topic, descriptor.method, Frame(None, body, strip), close)
        self._open[request_id] = question
        try:
            opened()
            for connection in connections:
                question.ask(connection)
            await question.done.wait()
        finally:
            close()
        if question.answer is None:
            raise NoAnswer("the question was withdrawn")
        answer, connection = question.answer
        if "error" in answer:
            raise NoAnswer(f"{_name(connection)} answered with an error")
        try:
            return Answer(descriptor.response.model_validate(answer.get("result")), connection)
        except ValidationError as error:
            raise NoAnswer(f"the answer of {_name(connection)} does not fit {descriptor.method}") from error

    def resolve(self, connection_id: int, message: dict[str, Any]) -> None:
        """Take an answer. It counts only if that connection was asked and nobody answered before."""
        request_id = message.get("id")
        if not isinstance(request_id, int) or isinstance(request_id, bool):
            return
        question = self._open.get(request_id)
        if question is None or connection_id not in question.asked or question.done.is_set():
            return
        if len(question.asked) > 1 and _does_not_know(message):
            # A client that cannot ask its user does not speak for one that can.
            del question.asked[connection_id]
            return
        question.answer = message, question.asked[connection_id]
        question.done.set()

    def replay(self, topic: str, connection: Connection) -> None:
        """Ask a client that has just joined the topic everything that is still open."""
        for question in self._open.values():
            if question.topic == topic and not question.done.is_set():
                question.ask(connection)

    def forget(self, topic: str, connection_id: int) -> None:
        """A client left the topic: its answer no longer counts."""
        for question in self._open.values():
            if question.topic == topic:
                question.asked.pop(connection_id, None)

    def withdraw(self, topic: str) -> None:
        """Close every open question of the topic without an answer. Its end is told before this returns."""
        for question in [question for question in self._open.values() if question.topic == topic]:
            question.done.set()
            question.closed()

    @property
    def open_count(self) -> int:
        """How many requests wait for an answer."""
        return len(self._open)

    def pending(self, topic: str) -> set[str]:
        """The methods of the topic's open questions."""
        return {question.method for question in self._open.values() if question.topic == topic}


def _name(connection: Connection) -> str:
    client = connection.client
    known = "unknown" if client is None else f"{client.name} {client.version}"
    return f"{known} (connection {connection.id})"


def _does_not_know(message: dict[str, Any]) -> bool:
    error = message.get("error")
    return isinstance(error, dict) and cast("dict[str, Any]", error).get("code") == METHOD_NOT_FOUND
