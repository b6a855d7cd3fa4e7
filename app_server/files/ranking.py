"""The best of many paths for a query, found without looking closely at each of them."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import compress
from threading import Event

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
from app_server.files.listing import Abandoned, Chunk

BEST = 50
"""How many results a search has."""

_BREATH_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Hit:
    """One result. `root` is the number of its root; `places` are the characters of `path` that the query matched."""

    score: int
    path: str
    root: int
    is_folder: bool
    places: tuple[int, ...]


@dataclass(slots=True)
class _Matches:
    """The paths of a chunk that match, by their numbers in it."""

    root: int
    chunk: Chunk
    others: list[int] = field(default_factory=list[int])
    exact: list[int] = field(default_factory=list[int])
    """Those whose name is the query."""
    names: list[int] = field(default_factory=list[int])
    """Files whose name alone matches."""

    def narrowed(self, numbers: list[int], test: Callable[[str], object]) -> Iterator[int]:
        """Those of `numbers` whose folded path passes."""
        folded = self.chunk.folded
        return compress(numbers, map(test, [folded[number] for number in numbers]))


Scored = Iterator[tuple[int, _Matches, int]]
"""Score, chunk and number of paths."""


def best(chunks: Iterable[tuple[int, Chunk]], query: Query, abandoned: Event, limit: int = BEST) -> list[Hit]:
    """The paths that fit best, best first and then by name. Each chunk comes with the number of its root.

    Of equals that are too many the shorter are taken. Raises Abandoned once `abandoned` is set. Runs in a worker thread
    and lets others run in between.
    """
    breathe = _Breath(abandoned)
    match = _matcher(query) if query.plain is None else _plain_matcher(query.plain)
    found: list[_Matches] = []
    for root, chunk in chunks:
        found.append(match(root, chunk))
        breathe()
    scored = _by_tiers(found, query.wanted[0], limit, breathe) if query.plain else _by_words(found, query, breathe)
    entries = ((-score, len(path := one.chunk.paths[number]), path, one.root, one) for score, one, number in scored)
    chosen = nsmallest(limit, entries, key=lambda entry: entry[:4])
    hits = [_hit(path, root, one.chunk.folders, query) for _, _, path, root, one in chosen]
    return sorted(hits, key=lambda hit: (-hit.score, hit.path, hit.root))


class _Breath:
    """Lets other threads run, which one that only computes does not do often enough by itself."""

    def __init__(self, abandoned: Event) -> None:
        self._abandoned, self._last = abandoned, time.monotonic()

    def __call__(self) -> None:
        """Let them, if it is time to. Raises Abandoned."""
        if self._abandoned.is_set():
            raise Abandoned
        if time.monotonic() - self._last > _BREATH_SECONDS:
            time.sleep(0)
            self._last = time.monotonic()


# Which paths match


def _matcher(query: Query) -> Callable[[int, Chunk], _Matches]:
    tests = [(word.test(), word.negated) for word in query.words]

    def match(root: int, chunk: Chunk) -> _Matches:
        found = _Matches(root, chunk, list(range(len(chunk.paths))))
        for test, negated in tests:
            kept: Callable[[str], object] = (lambda line, test=test: not test(line)) if negated else test
            found.others = list(found.narrowed(found.others, kept))
        return found

    return match


def _plain_matcher(plain: str) -> Callable[[int, Chunk], _Matches]:
    anywhere = re.compile(subsequence(plain)).match
    in_name = re.compile(f"(?s:.*/)?+{subsequence(plain)}").match
    name_is = re.compile(rf"(?s:.*/)?+{re.escape(plain)}\Z").match

    def match(root: int, chunk: Chunk) -> _Matches:
        numbers = list(compress(range(len(chunk.folded)), map(anywhere, chunk.folded)))
        found = _Matches(root, chunk, numbers)
        if numbers:
            found.exact = list(found.narrowed(numbers, name_is))
            found.others = _but(numbers, found.exact)
            if not chunk.folders:
                found.names = list(found.narrowed(found.others, in_name))
                found.others = _but(found.others, found.names)
        return found

    return match


def _but(numbers: list[int], others: list[int]) -> list[int]:
    if not others:
        return numbers
    without = set(others)
    return [number for number in numbers if number not in without]


# How well they fit


def _by_words(found: list[_Matches], query: Query, breathe: _Breath) -> Scored:
    scores = [_Scores(word, breathe) for word in query.wanted]
    for one in found:
        paths = [one.chunk.paths[number] for number in one.others]
        sums = map(sum, zip(*(score.of(paths, one.chunk.ascii) for score in scores), strict=True))
        yield from zip(sums if scores else [0] * len(paths), [one] * len(paths), one.others, strict=True)


def _by_tiers(found: list[_Matches], word: Word, limit: int, breathe: _Breath) -> Scored:
    """Scores of one plain word. What cannot be among the best `limit` is left out, mostly without being scored.

    No word fits better than at the beginning of a name, where its score is always the same.
    """
    top = _Scores(word, breathe).of([word.text], False)[0]
    left = limit
    for one in found:
        bonus = EXACT_BONUS if one.chunk.folders else EXACT_BONUS + NAME_BONUS
        yield from ((bonus + top, one, number) for number in one.exact)
        left -= len(one.exact)
    in_names = [(one, one.names) for one in found if one.names]
    heads = re.compile(f"(?s:.*/)?+{re.escape(word.text)}").match
    yield from _tier(in_names, heads, top, NAME_BONUS, left, _Scores(word, breathe, names=True))
    left -= sum(len(numbers) for _, numbers in in_names)
    others = [(one, one.others) for one in found if one.others]
    if left > 0:
        starts = re.compile(f"(?s:.*/)?{re.escape(word.text)}").match
        yield from _tier(others, starts, top, 0, left, _Scores(word, breathe))


def _tier(
    found: list[tuple[_Matches, list[int]]],
    at_top: Callable[[str], object],
    top: int,
    bonus: int,
    left: int,
    scores: "_Scores",
) -> Scored:
    if left <= 0:
        return
    tops = [(one, list(one.narrowed(numbers, at_top))) for one, numbers in found]
    if sum(len(numbers) for _, numbers in tops) >= left:
        for one, numbers in tops:
            yield from ((bonus + top, one, number) for number in numbers)
        return
    for one, numbers in found:
        paths = [one.chunk.paths[number] for number in numbers]
        yield from (
            (bonus + score, one, number)
            for score, number in zip(scores.of(paths, one.chunk.ascii), numbers, strict=True)
        )


class _Scores:
    """Scores of many texts for one word. Texts that differ only in what the word does not care for share one."""

    def __init__(self, word: Word, breathe: _Breath, *, names: bool = False) -> None:
        """`names` looks only at what follows the last slash."""
        self._word, self._breathe, self._names = word, breathe, names
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
        return list(map(self._of_shape, shapes))

    def _of_shape(self, shape: bytes) -> int:
        # What stands right before the first character of the word matters, and nothing before that.
        before = len(shape) - len(shape.lstrip(_CLASS_CODES)) - 1
        shape = shape[max(0, before) :].rstrip(_CLASS_CODES)
        score = self._known.get(shape)
        if score is None:
            score = self._scored(shape.lower().decode("latin-1"), shape.translate(_CLASSES))
            self._known[shape] = score
        return score

    def _scored(self, folded: str, classes: Iterable[int]) -> int:
        self._breathe()
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
