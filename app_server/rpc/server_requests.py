"""Requests that the server makes of clients: the first answer wins, and who comes later is asked again."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import orjson

from app_server.rpc.connection import Connection
from app_server.rpc.outbound import Frame
from protocol.methods import ServerRequest

if TYPE_CHECKING:
    from protocol.wire import Wire

R = TypeVar("R", bound="Wire")


class NoAnswer(Exception):
    """The question ended without a usable answer: it was withdrawn, or the answer was an error or malformed."""


@dataclass(slots=True, eq=False)
class _Question:
    id: int
    topic: str
    frame: Frame
    asked: set[int] = field(default_factory=set[int])
    answer: dict[str, Any] | None = None
    done: anyio.Event = field(default_factory=anyio.Event)

    def ask(self, connection: Connection) -> None:
        if connection.id not in self.asked:
            self.asked.add(connection.id)
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
        resolved: Callable[[int], None],
    ) -> R:
        """Ask every one of `connections` and wait for the first answer.

        `resolved` is called with the request's id as soon as the question is closed, however it ended.
        Raises NoAnswer when it was withdrawn or the first answer is an error or does not fit the response model.
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
        question = _Question(request_id, topic, Frame(None, body, strip))
        self._open[request_id] = question
        try:
            for connection in connections:
                question.ask(connection)
            await question.done.wait()
        finally:
            self._open.pop(request_id, None)
            resolved(request_id)
        answer = question.answer
        if answer is None:
            raise NoAnswer("the question was withdrawn")
        if "error" in answer:
            raise NoAnswer("the client answered with an error")
        try:
            return descriptor.response.model_validate(answer.get("result"))
        except ValidationError as error:
            raise NoAnswer(f"the client's answer does not fit {descriptor.method}") from error

    def resolve(self, connection_id: int, message: dict[str, Any]) -> None:
        """Take an answer. It counts only if that connection was asked and nobody answered before."""
        request_id = message.get("id")
        if not isinstance(request_id, int) or isinstance(request_id, bool):
            return
        question = self._open.get(request_id)
        if question is None or connection_id not in question.asked or question.done.is_set():
            return
        question.answer = message
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
                question.asked.discard(connection_id)

    def withdraw(self, topic: str) -> None:
        """Close every open question of the topic without an answer."""
        for question in self._open.values():
            if question.topic == topic:
                question.done.set()

    def pending(self, topic: str) -> int:
        """How many questions of the topic are open."""
        return sum(question.topic == topic for question in self._open.values())
