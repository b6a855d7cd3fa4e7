"""Finding the hunks of a patch in a file, and changing just what they change."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from msgspec import Struct

from app_server.tools.patch import Hunk, HunkLine

SOUGHT_LINES = 40
"""How many of the lines that were not found an error shows."""

BYTE_ORDER_MARK = "\ufeff"

_PUNCTUATION = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
        "\u2026": "...",
        "\u200b": "",
        "\ufeff": "",
    }
)


class HunkError(Exception):
    """A hunk does not fit; the message names the hunk and shows the lines that were sought."""


def apply_hunks(content: str, hunks: Sequence[Hunk]) -> str:
    """`content` with the hunks applied in order. Raises HunkError, and then nothing was changed.

    What a hunk does not change stays as it is, to the byte: also lines that matched only loosely, line endings, and
    whether the file ends with a newline. New lines get the ending that most lines have.
    """
    mark = BYTE_ORDER_MARK if content.startswith(BYTE_ORDER_MARK) else ""
    lines = content.removeprefix(mark).split("\n")
    ends_open = lines[-1] != ""
    if not ends_open:
        lines.pop()
    finder = _Finder([line.removesuffix("\r") for line in lines] if "\r" in content else lines)
    with_returns = content.count("\r\n")
    usual = "\r" if with_returns > content.count("\n") - with_returns else ""
    result: list[str] = []
    position = 0
    for number, hunk in enumerate(hunks, 1):
        place = _locate(finder, hunk, position, f"hunk {number} (line {hunk.line} of the patch)")
        result += lines[position : place.start]
        position = place.start
        indent = _missing_indent(place.lines, finder.lines, place.start) if place.loosely else ""
        # Where all lines of a hunk end with a carriage return, it is the patch's line ending and none of the file.
        foreign = all(line.text.endswith("\r") or line.untagged for line in place.lines)
        for tag, text, _ in place.lines:
            if tag == "+":
                new = (text.removesuffix("\r") if usual or foreign else text) + usual
                result.append(indent + new if text.strip() else new)
            else:
                if tag == " ":
                    result.append(lines[position])
                position += 1
                if ends_open and position == len(lines) and tag == " ":
                    # If others follow, the line that had no newline gets one.
                    result[-1] += usual
    result += lines[position:]
    if not result:
        return ""
    if not ends_open:
        return mark + "\n".join([*result, ""])
    result[-1] = result[-1].removesuffix("\r")
    return mark + "\n".join(result)


class _Place(NamedTuple):
    """Where a hunk was found, and those of its lines that count."""

    start: int
    lines: Sequence[HunkLine]
    loosely: bool


def _locate(finder: "_Finder", hunk: Hunk, position: int, name: str) -> _Place:
    start = position
    after: int | None = None
    for context in hunk.contexts:
        found = finder.find_context(context, start)
        if found is None:
            earlier = finder.find_context(context, 0) is not None
            raise HunkError(
                f"{name}: the line after '@@' was not found"
                + (_earlier("It comes", position) if earlier else ".")
                + f" Sought:\n{context}"
            )
        after, start = found, found + 1
    trimmed = _without_trailing_blanks(hunk.lines)
    only_adds = all(line.tag == "+" for line in trimmed)
    for lines in (trimmed,) if only_adds else (hunk.lines, trimmed):
        sought = [line.text for line in lines if line.tag != "+"]
        if not sought:
            # Nothing says where but the context; without one, it is the end of the file.
            return _Place(start if after is not None and not hunk.at_end else len(finder.lines), lines, loosely=False)
        # The line after `@@` may be repeated as the first of the hunk.
        starts = (start,) if after is None else (start, after)
        for begin in starts:
            if (found_at := finder.find(sought, begin, at_end=hunk.at_end)) is not None:
                return _Place(found_at.line, lines, found_at.loosely)
    sought = [line.text for line in hunk.lines if line.tag != "+"]
    raise HunkError(f"{name}: these lines were not found{_hint(finder, sought, hunk, start)} Sought:\n{_shown(sought)}")


def _hint(finder: "_Finder", sought: Sequence[str], hunk: Hunk, start: int) -> str:
    if hunk.at_end and finder.find(sought, start, at_end=False) is not None:
        return " at the end of the file; they come before it."
    if start and finder.find(sought, 0, at_end=False) is not None:
        return _earlier("They come", start)
    return "."


def _earlier(who: str, start: int) -> str:
    return f" after line {start} of the file. {who} earlier: hunks must be in the order of the file."


def _shown(lines: Sequence[str]) -> str:
    shown = list(lines[:SOUGHT_LINES])
    if len(lines) > SOUGHT_LINES:
        shown.append(f"(and {len(lines) - SOUGHT_LINES} more lines)")
    return "\n".join(shown)


def _without_trailing_blanks(lines: Sequence[HunkLine]) -> Sequence[HunkLine]:
    end = len(lines)
    while end and lines[end - 1].untagged:
        end -= 1
    return lines[:end]


def _missing_indent(hunk: Sequence[HunkLine], file: Sequence[str], start: int) -> str:
    """What stands before every line in the file and before none in the patch; only if lines that go agree on it."""
    indents: set[str] = set()
    removes = False
    for offset, line in enumerate(line for line in hunk if line.tag != "+"):
        here = file[start + offset]
        if line.text.strip() and here.strip():
            removes = removes or line.tag == "-"
            text = line.text.rstrip()
            indents.add(here.rstrip().removesuffix(text) if here.rstrip().endswith(text) else "?")
    indent = indents.pop() if removes and len(indents) == 1 else ""
    return "" if indent.strip() else indent


class _Found(NamedTuple):
    line: int
    loosely: bool


class _Level(Struct, frozen=True):
    """The file as one kind of matching sees it: each line in its plain form, and all as one text to search in."""

    lines: Sequence[str]
    text: str
    sizes: Sequence[int]
    """How many characters all lines before each one have."""


class _Finder:
    """Looks for lines in a file: as they are, then without what ends them, then with loose white space and signs."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self._levels: dict[int, _Level] = {}

    def find(self, sought: Sequence[str], start: int, *, at_end: bool) -> _Found | None:
        """The first place from `start` on, or just the end of the file, where the lines stand."""
        for number, plain in enumerate(_PLAIN):
            level = self._level(number)
            wanted = [plain(line) for line in sought]
            if at_end:
                index = len(self.lines) - len(wanted)
                if index >= start and level.lines[index:] == wanted:
                    return _Found(index, number >= _LOOSE)
            elif start <= len(self.lines):
                # One newline stands before each line, and one after the last.
                begin = level.sizes[start] + start
                at = level.text.find("\n" + "\n".join(wanted) + "\n", begin)
                if at >= 0:
                    return _Found(start + level.text.count("\n", begin, at), number >= _LOOSE)
        return None

    def find_context(self, context: str, start: int) -> int | None:
        """The first line from `start` on that is, or at last begins with, the given one."""
        if (found := self.find([context], start, at_end=False)) is not None:
            return found.line
        wanted = context.strip()
        lines = self.lines
        return next((index for index in range(start, len(lines)) if lines[index].lstrip().startswith(wanted)), None)

    def _level(self, number: int) -> _Level:
        if number not in self._levels:
            plain = _PLAIN[number]
            lines = [plain(line) for line in self.lines] if number else self.lines
            sizes = list(accumulate(map(len, lines), initial=0))
            self._levels[number] = _Level(lines, "\n".join(["", *lines, ""]), sizes)
        return self._levels[number]


def _exactly(line: str) -> str:
    return line


def _without_white_space(line: str) -> str:
    return " ".join(line.split())


def _with_plain_signs(line: str) -> str:
    return " ".join(line.translate(_PUNCTUATION).split())


_PLAIN: tuple[Callable[[str], str], ...] = (_exactly, str.rstrip, _without_white_space, _with_plain_signs)
_LOOSE = 2
"""From here on a line may have matched with another indentation."""
