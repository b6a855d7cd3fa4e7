"""A command as one line of text, quoted as clients of the reference know it."""

import re
from collections.abc import Iterable

_SAFE = re.compile(r"[A-Za-z0-9+./:@\]_-]+")
_SINGLE = re.compile(r"[^'\\^]+")

# How far each style of quoting reaches, plainest first; a caret is safe from history only as the first character
# between single quotes.
_SINGLE_PIECE = re.compile(r"\^?[^'\\^]*")
_DOUBLE_PIECE = re.compile(r"[^`$!^]*")


def join(argv: Iterable[str]) -> str:
    """The words with spaces between, each quoted where a shell would not take it as it is."""
    return " ".join(map(quote, argv))


def quote(word: str) -> str:
    """The word as a POSIX shell has to be given it."""
    if _SAFE.fullmatch(word):
        return word
    if not word or _SINGLE.fullmatch(word):
        return f"'{word}'"
    pieces: list[str] = []
    start = 0
    while start < len(word):
        bare, single, double = (
            len(match[0]) if (match := piece.match(word, start)) else 0
            for piece in (_SAFE, _SINGLE_PIECE, _DOUBLE_PIECE)
        )
        length = max(bare, single, double)
        text = word[start : start + length]
        if length == bare:
            pieces.append(text)
        elif length == single:
            pieces.append(f"'{text}'")
        else:
            pieces.append('"' + re.sub(r'(["\\])', r"\\\1", text) + '"')
        start += length
    return "".join(pieces)
