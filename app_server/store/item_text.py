"""The text of stored items that a search looks through."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson

HEAD: Final = 24_000
TAIL: Final = 8_000
"""Of a longer text, characters at its beginning and at its end that are looked through. What is indexed must be told
again in the same words when it is taken out of the index: whoever changes these, or what text an item has, starts the
index anew in a step of the schema."""

Item = dict[str, Any]  # Any: JSON of every shape


def text_of(kind: str, payload: bytes) -> str:
    """What the item says, as one line of words; "" for an item without words, or of a kind unknown here."""
    read = _TEXTS.get(kind)
    if read is None:
        return ""
    try:
        item: Item = orjson.loads(payload)
        pieces = [piece for piece in read(item) if isinstance(piece, str)]
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        return ""
    text = "\n".join(pieces)
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]}\n{text[-TAIL:]}"
    return " ".join(text.split())


def occurrences(text: str, term: str) -> Iterator[tuple[int, int]]:
    """Where `term`, which is folded, stands in the text: beginnings and ends, from left to right, without overlaps."""
    folded = text.casefold()
    places = None
    if len(folded) != len(text):
        # Folding makes two characters of some. Each of them stands where the one stands that it was made of.
        places = [place for place, character in enumerate(text) for _ in character.casefold()]
        places.append(len(text))
    start = folded.find(term)
    while start >= 0:
        end = start + len(term)
        yield (start, end) if places is None else (places[start], places[end - 1] + 1)
        start = folded.find(term, end)


def fold(term: str) -> str:
    """A text to look for as it is compared: without regard to case, its runs of blanks as one."""
    return " ".join(term.split()).casefold()


def _user_message(item: Item) -> Iterator[Any]:
    for part in item.get("content") or ():
        yield part.get("text")
        yield part.get("name")


def _changes(item: Item) -> Iterator[Any]:
    for change in item.get("changes") or ():
        yield change.get("path")
        yield change.get("diff")


def _tool_call(item: Item) -> Iterator[Any]:
    yield item.get("server") or item.get("namespace")
    yield item.get("tool")
    yield from _strings(item.get("arguments"))
    yield from _strings(item.get("result"))
    yield from _strings(item.get("contentItems"))
    yield from _strings(item.get("error"))


def _output(item: Item) -> Iterator[Any]:
    yield item.get("name")
    yield from _strings(item.get("output"))


def _strings(value: Any, key: str = "") -> Iterator[str]:
    """Every text within JSON but those that nobody looks for: images, other data, and what kind of thing each is."""
    if isinstance(value, str):
        if key not in {"data", "imageUrl", "image_url", "blob", "type", "mimeType"}:
            yield value
    elif isinstance(value, list):
        for one in value:  # pyright: ignore[reportUnknownVariableType] JSON
            yield from _strings(one, key)
    elif isinstance(value, dict):
        for name, one in value.items():  # pyright: ignore[reportUnknownVariableType] JSON
            yield from _strings(one, str(name))  # pyright: ignore[reportUnknownArgumentType] JSON


def _members(*names: str) -> Callable[[Item], Iterator[Any]]:
    def read(item: Item) -> Iterator[Any]:
        for name in names:
            value = item.get(name)
            if isinstance(value, list):
                yield from value
            else:
                yield value

    return read


_TEXTS: Final[dict[str, Callable[[Item], Iterator[Any]]]] = {
    "userMessage": _user_message,
    "agentMessage": _members("text"),
    "plan": _members("text"),
    "reasoning": _members("summary"),
    "commandExecution": _members("command", "aggregatedOutput"),
    "fileChange": _changes,
    "mcpToolCall": _tool_call,
    "dynamicToolCall": _tool_call,
    "functionCallOutput": _output,
    "collabAgentToolCall": _members("prompt"),
    "webSearch": _members("query"),
    "imageView": _members("path"),
    "imageGeneration": _members("revisedPrompt", "savedPath"),
    "enteredReviewMode": _members("review"),
    "exitedReviewMode": _members("review"),
}
