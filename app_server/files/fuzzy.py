"""What a query for files means, which paths it finds, and how well each fits.

The scale is that of fzf and its relatives: 16 for a character, more where a word begins and for characters that stand
together, less for gaps. A query of one plain word whose characters all are in the name of a file counts for that name
alone, and 65536 more; a name that is the query, 131072 more.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

from msgspec import Struct

NAME_BONUS = 65_536
"""For a file whose name alone has all characters of the query."""
EXACT_BONUS = 131_072
"""For a name that is the query, of a file or folder."""

_MATCH = 16
_GAP = 3
"""What the first character of a gap costs; each further one costs 1."""
_TOGETHER = 4
_AFTER_SLASH, _WORD, _CAMEL = 9, 8, 5
_FIRST = 2
"""How often the bonus of the first character counts."""

_SPACE, _OTHER, _SLASH, _LOWER, _UPPER, _LETTER, _DIGIT = range(7)

Kind = Literal["fuzzy", "substring", "prefix", "suffix", "exact"]

_LATIN = re.compile("[\N{NO-BREAK SPACE}-\u024f\u1e00-\u1eff]")


class Word(Struct, frozen=True):
    """One word of a query, folded. `negated` words exclude what they match."""

    kind: Kind
    text: str
    negated: bool

    def test(self) -> Callable[[str], object]:
        """Tells whether a folded path has this word in it."""
        text = re.escape(self.text)
        if self.kind == "fuzzy":
            return re.compile(subsequence(self.text)).match
        if self.kind == "substring":
            return re.compile(text).search
        if self.kind == "suffix":
            return re.compile(rf"{text}\Z").search
        return re.compile(text if self.kind == "prefix" else rf"{text}\Z").match


class Query(Struct, frozen=True):
    """All words must match. `plain` is the only word of a query that may match names of files by themselves."""

    words: tuple[Word, ...]
    plain: str | None

    @property
    def wanted(self) -> tuple[Word, ...]:
        """The words that must be found."""
        return tuple(word for word in self.words if not word.negated)


def parse(query: str) -> Query:
    """Split a query at spaces. `'word` is found as it stands, `^word` at the start of the path, `word$` at its end,
    and `!word` nowhere; a backslash takes away the meaning of the character after it."""
    words = [word for text in re.findall(r"(?:\\\s|\S)+", query) if (word := _word(text)).text]
    only = query.strip()
    special = re.search(r"[\s/\\]|^['^!]|\$$", only)
    return Query(tuple(words), fold(only) if words and special is None else None)


def _word(text: str) -> Word:
    negated = text.startswith("!")
    text = text[negated:]
    kind: Kind = "fuzzy"
    if text.startswith(("'", "^")):
        kind = "substring" if text[0] == "'" else "prefix"
        text = text[1:]
    elif text.startswith(("\\'", "\\^", "\\!")):
        text = text[1:]
    if text.endswith("\\$"):
        text = text[:-2] + "$"
    elif text.endswith("$") and kind != "substring":
        kind = "exact" if kind == "prefix" else "suffix"
        text = text[:-1]
    if negated and kind == "fuzzy":
        kind = "substring"
    return Word(kind, fold(re.sub(r"\\(\s)", r"\1", text)), negated)


def fold(text: str) -> str:
    """`text` without case and, in Latin script, without accents; each character stays one character."""
    if text.isascii():
        return text.lower()
    return "".join(map(_folded, text))


@lru_cache(maxsize=4096)
def _folded(char: str) -> str:
    lower = char.lower()
    base = unicodedata.normalize("NFD", lower)[0] if _LATIN.match(char) else lower
    if base == "\N{LATIN SMALL LETTER SHARP S}":
        return "s"
    return base if len(base) == 1 else char


def subsequence(text: str) -> str:
    """A regular expression that matches, at its start, what has all characters of `text` in this order."""
    # Nothing that was passed over is ever given back: the first place of each character is as good as any other.
    return "".join(f"[^{escaped}]*+{escaped}" for escaped in map(re.escape, text))


def char_class(char: str) -> int:
    """What kind of character it is, for what begins a word."""
    if char == "/":
        return _SLASH
    if char.isspace():
        return _SPACE
    if char.islower():
        return _LOWER
    if char.isupper():
        return _UPPER
    if char.isnumeric():
        return _DIGIT
    return _LETTER if char.isalpha() else _OTHER


def bonus(before: int, here: int) -> int:
    """What a character is worth beyond a match for what stands before it."""
    if here > _SLASH:
        if before == _SLASH:
            return _AFTER_SLASH
        if before < _SLASH:
            return _WORD
    if (before == _LOWER and here == _UPPER) or (before != _DIGIT and here == _DIGIT):
        return _CAMEL
    return _WORD if here < _SLASH else 0


def bonuses(classes: Sequence[int]) -> list[int]:
    """The bonus of each character of a text with these classes, as if a slash stood before it."""
    return [_BONUS[before][here] for before, here in zip((_SLASH, *classes), classes, strict=False)]


_BONUS = tuple(tuple(bonus(before, here) for here in range(7)) for before in range(7))


class Fit(Struct, frozen=True):
    """How well a word fits, and at which characters."""

    score: int
    places: tuple[int, ...]


def fit(word: Word, folded: str, worth: Sequence[int]) -> Fit | None:
    """The best way in which `word` is in the text, or None. `worth` are the bonuses of its characters."""
    if word.kind == "fuzzy":
        return _best_fuzzy(word.text, folded, worth)
    size = len(word.text)
    starts: list[int] = []
    if word.kind == "substring":
        start = folded.find(word.text)
        while start >= 0:
            starts.append(start)
            start = folded.find(word.text, start + 1)
    elif word.kind == "suffix" and folded.endswith(word.text):
        starts.append(len(folded) - size)
    elif folded == word.text if word.kind == "exact" else folded.startswith(word.text):
        starts.append(0)
    fits = [Fit(_together(worth[start : start + size]), tuple(range(start, start + size))) for start in starts]
    return max(fits, key=lambda found: found.score, default=None)


def _together(worth: Sequence[int]) -> int:
    """The score of characters that stand together and have these bonuses."""
    first, *others = worth
    score, held = _MATCH + _FIRST * first, first
    for value in others:
        held = _held(held, value)
        score += _MATCH + max(held, value)
    return score


def _held(held: int, value: int) -> int:
    """The bonus of a run of characters, which the character that is added may raise."""
    held = max(held, _TOGETHER)
    return value if value >= _WORD and value > held else held


def _best_fuzzy(text: str, folded: str, worth: Sequence[int]) -> Fit | None:
    """Dynamic programming over the places of each character of `text`, with the cost of gaps."""
    if len(text) == 1:
        return _best_place(text, folded, worth)
    # Of each place: the score up to there, the bonus of its run, and which place of the row before it comes after.
    rows: list[tuple[list[int], list[int], list[int], list[int]]] = []
    least = 0
    for index, char in enumerate(text):
        places = _places(folded, char, least)
        if not places:
            return None
        least = places[0] + 1
        if index == 0:
            helds = [worth[place] for place in places]
            rows.append((places, [_MATCH + _FIRST * value for value in helds], helds, [-1] * len(places)))
        else:
            rows.append(_next_row(rows[-1], places, worth))
    places, scores, _, _ = rows[-1]
    best = max(scores)
    at = len(scores) - 1 - scores[::-1].index(best)
    found: list[int] = []
    for places, _, _, before in reversed(rows):
        found.append(places[at])
        at = before[at]
    return Fit(best, tuple(reversed(found)))


def _best_place(char: str, folded: str, worth: Sequence[int]) -> Fit | None:
    """The first place where a word begins, else the first of the best."""
    places = _places(folded, char, 0)
    if not places:
        return None
    place = next((place for place in places if worth[place] >= _WORD), max(places, key=lambda place: worth[place]))
    return Fit(_MATCH + _FIRST * worth[place], (place,))


def _places(folded: str, char: str, start: int) -> list[int]:
    places: list[int] = []
    place = folded.find(char, start)
    while place >= 0:
        places.append(place)
        place = folded.find(char, place + 1)
    return places


def _next_row(
    row: tuple[list[int], list[int], list[int], list[int]], places: list[int], worth: Sequence[int]
) -> tuple[list[int], list[int], list[int], list[int]]:
    earlier, earlier_scores, earlier_helds, _ = row
    scores: list[int] = []
    helds: list[int] = []
    before: list[int] = []
    # The best start of a gap so far, by its score and place: all cost the same for each further character.
    reach, reached, following = -1, 0, 0
    for place in places:
        while following < len(earlier) and earlier[following] < place - 1:
            gain = earlier_scores[following] + earlier[following]
            if gain > reach:
                reach, reached = gain, following
            following += 1
        value = worth[place]
        apart = max(0, reach + 2 - _GAP - place) + value
        together, held = -1, value
        if following < len(earlier) and earlier[following] == place - 1:
            held = _held(earlier_helds[following], value)
            together = earlier_scores[following] + max(held, value)
        if together > apart:
            scores.append(together + _MATCH)
            helds.append(held)
            before.append(following)
        else:
            scores.append(apart + _MATCH)
            helds.append(value)
            before.append(reached)
    return places, scores, helds, before
