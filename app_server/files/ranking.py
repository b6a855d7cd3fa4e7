"""The best of many paths for a query, found without looking closely at each of them."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import compress, repeat
from operator import neg
from threading import Event

from msgspec import Struct
from msgspec.structs import replace

from app_server.files.fuzzy import (
    EXACT_BONUS,
    NAME_BONUS,
    Fit,
    Query,
    Word,
    bonuses,
    char_class,
    fit,
    fold,
    subsequence,
)
from app_server.files.listing import Breath, Chunk

BEST = 50
"""How many results a search has."""


class Hit(Struct, frozen=True):
    """One result. `root` is the number of its root; `places` are the characters of `path` that the query matched."""

    score: int
    path: str
    root: int
    is_folder: bool
    places: tuple[int, ...]


class _Part(Struct, frozen=True):
    """Some paths of a chunk, by their numbers in it."""

    root: int
    chunk: Chunk
    numbers: list[int]

    def where(self, test: Callable[[str], object]) -> "_Part":
        """Those whose folded path passes."""
        folded = self.chunk.folded
        kept = compress(self.numbers, map(test, [folded[number] for number in self.numbers]))
        return replace(self, numbers=list(kept))

    def but(self, other: "_Part") -> "_Part":
        """Those that are not in the other part."""
        if not other.numbers:
            return self
        without = set(other.numbers)
        return replace(self, numbers=[number for number in self.numbers if number not in without])

    def paths(self) -> list[str]:
        """The paths themselves."""
        return [self.chunk.paths[number] for number in self.numbers]


Scored = Iterator[tuple[_Part, list[int]]]
"""Paths and the score of each."""


def best(chunks: Iterable[tuple[int, Chunk]], query: Query, abandoned: Event, limit: int = BEST) -> list[Hit]:
    """The paths that fit best, best first and then by name. Each chunk comes with the number of its root.

    Of equals that are too many the shorter are taken. Raises Abandoned once `abandoned` is set. Runs in a worker thread
    and lets others run in between.
    """
    breathe = Breath(abandoned)
    parts = [_Part(root, chunk, list(range(len(chunk.paths)))) for root, chunk in chunks]
    scored = _by_tiers(parts, query.wanted[0], limit, breathe) if query.plain else _by_words(parts, query, breathe)
    chosen: list[tuple[int, int, str, int, bool]] = []
    for part, scores in scored:
        paths = part.paths()
        entries = zip(map(neg, scores), map(len, paths), paths, repeat(part.root), repeat(part.chunk.folders))
        if len(chosen) == limit:
            worst = chosen[-1]
            entries = (entry for entry in entries if entry < worst)
        chosen = sorted([*chosen, *entries])[:limit]
        breathe()
    hits = [_hit(path, root, is_folder, query) for _, _, path, root, is_folder in chosen]
    return sorted(hits, key=lambda hit: (-hit.score, hit.path, hit.root))


def _by_words(parts: list[_Part], query: Query, breathe: Breath) -> Scored:
    tests = [(word.test(), word.negated) for word in query.words]
    scores = [_Scores(word, breathe) for word in query.wanted]
    for part in parts:
        left = part
        for test, negated in tests:
            left = left.but(left.where(test)) if negated else left.where(test)
        paths = left.paths()
        sums = [sum(each) for each in zip(*(score.of(paths, part.chunk.ascii) for score in scores), strict=True)]
        yield left, sums if scores else [0] * len(paths)
        breathe()


def _by_tiers(parts: list[_Part], word: Word, limit: int, breathe: Breath) -> Scored:
    """Scores of one plain word. What cannot be among the best `limit` is left out, mostly without being looked at.

    No word fits better than at the beginning of a name, where its score is always the same.
    """
    top = _Scores(word, breathe).of([word.text], False)[0]
    named = re.compile(f"(?s:.*/)?+{subsequence(word.text)}").match
    is_name = re.compile(rf"(?s:.*/)?+{re.escape(word.text)}\Z").match
    names: list[_Part] = []
    others: list[_Part] = []
    left = limit
    for part in parts:
        # Of folders, a name that has the word counts no more than a path.
        has = part.where(is_name if part.chunk.folders else named)
        exact = has if part.chunk.folders else has.where(is_name)
        yield exact, [(EXACT_BONUS if part.chunk.folders else EXACT_BONUS + NAME_BONUS) + top] * len(exact.numbers)
        left -= len(exact.numbers)
        names.append(has.but(exact))
        others.append(part.but(has))
        breathe()
    begins = re.compile(f"(?s:.*/)?+{re.escape(word.text)}").match
    yield from _tier(names, begins, NAME_BONUS, top, left, _Scores(word, breathe, names=True))
    left -= sum(len(part.numbers) for part in names)
    if left > 0:
        anywhere, begins = word.test(), re.compile(f"(?s:.*/)?{re.escape(word.text)}").match
        found: list[_Part] = []
        for part in others:
            found.append(part.where(anywhere))
            breathe()
        yield from _tier(found, begins, 0, top, left, _Scores(word, breathe))


def _tier(
    parts: list[_Part], begins: Callable[[str], object], bonus: int, top: int, left: int, scores: "_Scores"
) -> Scored:
    """Scores of paths of which `left` are wanted, only of those with the best of scores if these are enough."""
    if left <= 0:
        return
    tops: list[_Part] = []
    for part in parts:
        tops.append(part.where(begins))
        scores.breathe()
    enough = sum(len(part.numbers) for part in tops) >= left
    for part in tops if enough else parts:
        known = [top] * len(part.numbers) if enough else scores.of(part.paths(), part.chunk.ascii)
        yield part, [bonus + score for score in known]


class _Scores:
    """Scores of many texts for one word. Texts that differ only in what the word does not care for share one."""

    def __init__(self, word: Word, breathe: Breath, *, names: bool = False) -> None:
        """`names` looks only at what follows the last slash."""
        self.breathe = breathe
        self._word, self._names = word, names
        self._known: dict[bytes, int] = {}
        # In a shape, characters of the word stand for themselves, all others for their class, and NUL for a boundary.
        cared = [code for code in range(1, 128) if chr(code).lower() in word.text]
        codes = [_CLASS_CODE + char_class(chr(code)) for code in range(128)]
        self._shape = bytes([0, *(code if code in cared else codes[code] for code in range(1, 128))]).ljust(256)

    def of(self, paths: list[str], is_ascii: bool) -> list[int]:
        """The score of each path, 0 where the word is not in it."""
        texts = [path[path.rfind("/") + 1 :] for path in paths] if self._names else paths
        if not is_ascii or self._word.kind != "fuzzy":
            return [self._scored(fold(text), map(char_class, text)) for text in texts]
        shapes = "\0".join(texts).encode().translate(self._shape).split(b"\0") if texts else []
        # What stands after the last character of the word does not matter.
        shapes = [shape.rstrip(_CLASS_CODES) for shape in shapes]
        known = self._known
        for shape in set(shapes).difference(known):
            known[shape] = self._of_shape(shape)
        return [known[shape] for shape in shapes]

    def _of_shape(self, shape: bytes) -> int:
        # What stands right before the first character of the word matters, and nothing before that.
        before = len(shape) - len(shape.lstrip(_CLASS_CODES)) - 1
        if before > 0:
            shape = shape[before:]
            if (known := self._known.get(shape)) is not None:
                return known
        self._known[shape] = score = self._scored(shape.lower().decode("latin-1"), shape.translate(_CLASSES))
        return score

    def _scored(self, folded: str, classes: Iterable[int]) -> int:
        self.breathe()
        found = fit(self._word, folded, bonuses(list(classes)))
        return 0 if found is None else found.score


_CLASS_CODE = 0x80
_CLASS_CODES = bytes(range(_CLASS_CODE, 256))
_CLASSES = bytes([*(char_class(chr(code)) for code in range(128)), *(code - _CLASS_CODE for code in _CLASS_CODES)])


def _fit(word: Word, text: str) -> Fit | None:
    return fit(word, fold(text), bonuses(list(map(char_class, text))))


def _hit(path: str, root: int, is_folder: bool, query: Query) -> Hit:
    start = path.rfind("/") + 1
    if query.plain is not None:
        name, word = path[start:], query.wanted[0]
        bonus = EXACT_BONUS if fold(name) == query.plain else 0
        if not is_folder and (found := _fit(word, name)) is not None:
            places = tuple(start + place for place in found.places)
            return Hit(NAME_BONUS + bonus + found.score, path, root, False, places)
    else:
        bonus = 0
    fits = [found for word in query.wanted if (found := _fit(word, path)) is not None]
    places = tuple(sorted({place for found in fits for place in found.places}))
    return Hit(bonus + sum(found.score for found in fits), path, root, is_folder, places)
