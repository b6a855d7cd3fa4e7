"""Unified diffs of texts, in a time that does not explode on large ones."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from io import StringIO
from itertools import pairwise
from typing import NamedTuple

EXACT_CELLS = 40_000
"""Up to this product of their lengths two pieces are compared in full; beyond it they are divided first."""

WORK = 4_000_000
"""How much comparing one diff may cost, in such cells; what is left then is shown as replaced as a whole."""

NO_NEWLINE = "\\ No newline at end of file\n"

Opcode = tuple[bool, int, int, int, int]
"""Whether these lines are the same, and where they are: old from and to, new from and to."""

Match = tuple[int, int, int]
"""A run of equal lines: where it begins in the old and in the new ones, and how many they are."""


class _Piece(NamedTuple):
    old_from: int
    old_to: int
    new_from: int
    new_to: int


def unified_diff(old: str, new: str, context: int) -> str:
    """The hunks that turn `old` into `new`, with that many lines around each change; no file headers."""
    old_lines, new_lines = split_lines(old), split_lines(new)
    parts: list[str] = []
    for group in _grouped(opcodes(old_lines, new_lines), context):
        first, last = group[0], group[-1]
        parts.append(f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@\n")
        for same, old_from, old_to, new_from, new_to in group:
            if same:
                parts += [_line(" ", line) for line in old_lines[old_from:old_to]]
            else:
                parts += [_line("-", line) for line in old_lines[old_from:old_to]]
                parts += [_line("+", line) for line in new_lines[new_from:new_to]]
    return "".join(parts)


def split_lines(text: str) -> list[str]:
    """The lines with their newlines; nothing but a newline ends a line."""
    return StringIO(text, newline="\n").readlines()


def opcodes(old: Sequence[str], new: Sequence[str]) -> list[Opcode]:
    """How to get from the one to the other, without gaps; same and changed pieces take turns."""
    codes: list[Opcode] = []
    at_old = at_new = 0
    for old_from, new_from, size in [*_matches(old, new), (len(old), len(new), 0)]:
        if at_old < old_from or at_new < new_from:
            codes.append((False, at_old, old_from, at_new, new_from))
        elif codes and size:
            _, same_from, _, same_new_from, _ = codes.pop()
            at_old, at_new = old_from + size, new_from + size
            codes.append((True, same_from, at_old, same_new_from, at_new))
            continue
        at_old, at_new = old_from + size, new_from + size
        if size:
            codes.append((True, old_from, at_old, new_from, at_new))
    return codes


def _matches(old: Sequence[str], new: Sequence[str]) -> list[Match]:
    """Runs of equal lines, in order."""
    matches: list[Match] = []
    work = WORK
    # Pieces that are still to be compared, and runs that are found already, the next one last.
    waiting: list[_Piece | Match] = [_Piece(0, len(old), 0, len(new))]
    while waiting:
        piece = waiting.pop()
        if not isinstance(piece, _Piece):
            matches.append(piece)
            continue
        old_from, old_to, new_from, new_to = piece
        begin = _common_begin(old, new, piece)
        if begin:
            matches.append((old_from, new_from, begin))
            old_from, new_from = old_from + begin, new_from + begin
        end = _common_end(old, new, _Piece(old_from, old_to, new_from, new_to))
        if end:
            old_to, new_to = old_to - end, new_to - end
            waiting.append((old_to, new_to, end))
        cells = (old_to - old_from) * (new_to - new_from)
        work -= min(cells, EXACT_CELLS) + (old_to - old_from) + (new_to - new_from)
        if not cells or work < 0:
            continue
        if cells <= EXACT_CELLS:
            matcher = SequenceMatcher(None, old[old_from:old_to], new[new_from:new_to], autojunk=False)
            blocks = matcher.get_matching_blocks()
            matches += [(old_from + block.a, new_from + block.b, block.size) for block in blocks if block.size]
            continue
        runs = _anchors(old, new, _Piece(old_from, old_to, new_from, new_to))
        for at_old, at_new, size in reversed(runs):
            waiting.append(_Piece(at_old + size, old_to, at_new + size, new_to))
            waiting.append((at_old, at_new, size))
            old_to, new_to = at_old, at_new
        if runs:
            waiting.append(_Piece(old_from, old_to, new_from, new_to))
    return matches


def _common_begin(old: Sequence[str], new: Sequence[str], piece: _Piece) -> int:
    """How many lines two pieces begin with in common. Compares slices, which is fast, and halves where they differ."""
    most = min(piece.old_to - piece.old_from, piece.new_to - piece.new_from)
    count, step = 0, 1
    while step and count < most:
        step = min(step, most - count)
        at_old, at_new = piece.old_from + count, piece.new_from + count
        if old[at_old : at_old + step] == new[at_new : at_new + step]:
            count += step
            step *= 2
        else:
            step //= 2
            most = min(most, count + 2 * step + 1)
    return count


def _common_end(old: Sequence[str], new: Sequence[str], piece: _Piece) -> int:
    """How many lines two pieces end with in common."""
    most = min(piece.old_to - piece.old_from, piece.new_to - piece.new_from)
    count, step = 0, 1
    while step and count < most:
        step = min(step, most - count)
        at_old, at_new = piece.old_to - count, piece.new_to - count
        if old[at_old - step : at_old] == new[at_new - step : at_new]:
            count += step
            step *= 2
        else:
            step //= 2
            most = min(most, count + 2 * step + 1)
    return count


def _anchors(old: Sequence[str], new: Sequence[str], piece: _Piece) -> list[Match]:
    """Lines that stand once in either piece, as many as come in the same order, in runs."""
    old_lines, new_lines = old[piece.old_from : piece.old_to], new[piece.new_from : piece.new_to]
    in_old, in_new = Counter(old_lines), Counter(new_lines)
    places = {line: place for place, line in enumerate(new_lines) if in_new[line] == 1}
    pairs = [(place, places[line]) for place, line in enumerate(old_lines) if in_old[line] == 1 and line in places]
    runs: list[Match] = []
    for in_old_piece, in_new_piece in _rising(pairs):
        at_old, at_new = in_old_piece + piece.old_from, in_new_piece + piece.new_from
        if runs and runs[-1][0] + runs[-1][2] == at_old and runs[-1][1] + runs[-1][2] == at_new:
            runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((at_old, at_new, 1))
    return runs


def _rising(pairs: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """The longest series of pairs that rises in both, by patience sorting; `pairs` rise in the first."""
    if all(left[1] < right[1] for left, right in pairwise(pairs)):
        return pairs
    tops: list[int] = []
    ends: list[int] = []
    before: list[int | None] = []
    for index, (_, place) in enumerate(pairs):
        pile = bisect_left(tops, place)
        before.append(ends[pile - 1] if pile else None)
        tops[pile : pile + 1] = [place]
        ends[pile : pile + 1] = [index]
    chain: list[tuple[int, int]] = []
    at = ends[-1] if ends else None
    while at is not None:
        chain.append(pairs[at])
        at = before[at]
    return chain[::-1]


def _grouped(codes: Sequence[Opcode], context: int) -> Iterator[list[Opcode]]:
    """The changes with what is around them, in groups between which more than twice the context is the same."""
    group: list[Opcode] = []
    for index, (same, old_from, old_to, new_from, new_to) in enumerate(codes):
        if not same:
            group.append((same, old_from, old_to, new_from, new_to))
            continue
        size = old_to - old_from
        before = 0 if index == 0 else min(size, context)
        after = 0 if index == len(codes) - 1 else min(size, context)
        if group and after and size <= 2 * context:
            group.append((same, old_from, old_to, new_from, new_to))
            continue
        if group:
            if before:
                group.append((same, old_from, old_from + before, new_from, new_from + before))
            yield group
        group = [(same, old_to - after, old_to, new_to - after, new_to)] if after else []
    if any(not code[0] for code in group):
        yield group


def _range(begin: int, end: int) -> str:
    size = end - begin
    if size == 1:
        return str(begin + 1)
    return f"{begin + 1 if size else begin},{size}"


def _line(tag: str, line: str) -> str:
    return tag + line if line.endswith("\n") else f"{tag}{line}\n{NO_NEWLINE}"
