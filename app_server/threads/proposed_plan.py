"""A plan within a message: what the model writes between two marker lines in plan mode becomes an item of its own."""

from collections.abc import Iterator
from typing import Literal

OPENING, CLOSING = "<proposed_plan>", "</proposed_plan>"

Part = Literal["message", "plan"]


class PlanSplitter:
    """Sorts streamed text into message and plan. The marker lines themselves belong to neither.

    A marker counts only on a line of its own; what could still become one is held back until the line goes on.
    """

    def __init__(self) -> None:
        self._part: Part = "message"
        self._line = ""
        self._passed = False
        """Whether the present line has begun with something that is no marker."""

    def feed(self, text: str) -> Iterator[tuple[Part, str]]:
        """The pieces that `text` completes, in order."""
        for piece in text.splitlines(keepends=True):
            self._line += piece
            ended = piece.endswith("\n")
            if self._passed:
                yield from self._give()
            elif ended:
                if self._line.strip() == self._marker:
                    self._part = "plan" if self._part == "message" else "message"
                    self._line = ""
                else:
                    yield from self._give()
            elif not self._marker.startswith(self._line.strip()):
                self._passed = True
                yield from self._give()
            if ended:
                self._passed = False

    def finish(self) -> Iterator[tuple[Part, str]]:
        """What was held back at the end of the message; a marker needs no end of line there."""
        if self._line.strip() == self._marker:
            self._line = ""
        yield from self._give()

    @property
    def _marker(self) -> str:
        return OPENING if self._part == "message" else CLOSING

    def _give(self) -> Iterator[tuple[Part, str]]:
        line, self._line = self._line, ""
        if line:
            yield self._part, line


def split(text: str) -> tuple[str, str | None]:
    """A whole message as (the message without its plan, the plan or None)."""
    splitter = PlanSplitter()
    parts: dict[Part, list[str]] = {"message": [], "plan": []}
    seen_plan = False
    for part, piece in (*splitter.feed(text), *splitter.finish()):
        parts[part].append(piece)
        seen_plan = seen_plan or part == "plan"
    return "".join(parts["message"]), "".join(parts["plan"]) if seen_plan else None
