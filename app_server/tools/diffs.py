"""Unified diffs of texts, in a time that does not explode on large ones."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

EXACT_CELLS = 40_000
"""Up to this product of their lengths two pieces are compared in full; beyond it they are divided first."""

WORK = 4_000_000
"""How much comparing one diff may cost, in such cells; what is left then is shown as replaced as a whole."""

NO_NEWLINE = "\\ No newline at end of file\n"

Opcode = tuple[bool, int, int, int, int]
"""Whether these lines are the same, and where they are: old from and to, new from and to."""


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
    *lines, last = text.split("\n")
    whole = [f"{line}\n" for line in lines]
    return [*whole, last] if last else whole


def opcodes(old: Sequence[str], new: Sequence[str]) -> list[Opcode]:
    """How to get from the one to the other, without gaps; same and changed pieces take turns."""
    codes: list[Opcode] = []
    at_old = at_new = 0
    for old_from, new_from, size in [*_joined(_matches(old, new)), (len(old), len(new), 0)]:
        if at_old < old_from or at_new < new_from:
            codes.append((False, at_old, old_from, at_new, new_from))
        at_old, at_new = old_from + size, new_from + size
        if size:
            codes.append((True, old_from, at_old, new_from, at_new))
    return codes


def _joined(matches: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    joined: list[tuple[int, int, int]] = []
    for old_from, new_from, size in sorted(matches):
        if joined:
            last_old, last_new, last_size = joined[-1]
            if last_old + last_size == old_from and last_new + last_size == new_from:
                joined[-1] = (last_old, last_new, last_size + size)
                continue
        joined.append((old_from, new_from, size))
    return joined


def _matches(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int, int]]:
    """Runs of equal lines, as (old from, new from, length), in no order but without crossing each other."""
    matches: list[tuple[int, int, int]] = []
    work = WORK
    pieces = [(0, len(old), 0, len(new))]
    while pieces:
        old_from, old_to, new_from, new_to = pieces.pop()
        begin = _common(old, new, range(old_from, old_to), range(new_from, new_to))
        if begin:
            matches.append((old_from, new_from, begin))
            old_from, new_from = old_from + begin, new_from + begin
        end = _common(old, new, range(old_to - 1, old_from - 1, -1), range(new_to - 1, new_from - 1, -1))
        if end:
            old_to, new_to = old_to - end, new_to - end
            matches.append((old_to, new_to, end))
        cells = (old_to - old_from) * (new_to - new_from)
        work -= begin + end + min(cells, EXACT_CELLS) + (old_to - old_from) + (new_to - new_from)
        if not cells or work < 0:
            continue
        if cells <= EXACT_CELLS:
            matcher = SequenceMatcher(None, old[old_from:old_to], new[new_from:new_to], autojunk=False)
            blocks = matcher.get_matching_blocks()
            matches += [(old_from + block.a, new_from + block.b, block.size) for block in blocks if block.size]
            continue
        anchors = _anchors(old, new, range(old_from, old_to), range(new_from, new_to))
        if anchors:
            matches += [(at_old, at_new, 1) for at_old, at_new in anchors]
            bounds = [(old_from - 1, new_from - 1), *anchors, (old_to, new_to)]
            pieces += [(left[0] + 1, right[0], left[1] + 1, right[1]) for left, right in pairwise(bounds)]
    return matches


def _common(old: Sequence[str], new: Sequence[str], old_range: range, new_range: range) -> int:
    count = 0
    for at_old, at_new in zip(old_range, new_range, strict=False):
        if old[at_old] != new[at_new]:
            break
        count += 1
    return count


def _anchors(old: Sequence[str], new: Sequence[str], old_range: range, new_range: range) -> list[tuple[int, int]]:
    """Lines that stand once in either piece, as many as come in the same order."""
    in_old, in_new = Counter(old[i] for i in old_range), Counter(new[i] for i in new_range)
    places = {new[i]: i for i in new_range if in_new[new[i]] == 1}
    pairs = [(i, places[old[i]]) for i in old_range if in_old[old[i]] == 1 and old[i] in places]
    # The longest run of pairs that rises in both, by patience sorting.
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
