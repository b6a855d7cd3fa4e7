"""Whether a session file may have a text, told from its bytes: far faster than reading what the file says.

It may take a file for one that has the text, and never one that has it for one that has not. What it goes by is that
words of letters and digits stand in a file as they were said, whatever else is escaped, quoted or joined. (But for a
word of which a file has one half at the end of one text and the other at the beginning of the next.)
"""

import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import IO, Final

WINDOW_BYTES: Final = 128 << 10
"""As much is looked at in one go: for less than the time that others may be kept from the interpreter."""
_OVERLAP: Final = 512
_HEAD: Final = 400
_CONTEXT: Final = 200
_KEY: Final = 40
_WORDS: Final = 3
_WORD_CHARACTERS: Final = 40
_GOOD: Final = 4
"""ASCII words of this length make it unnecessary to look at others, which takes longer."""

# All characters beyond ASCII that are letters of ASCII without regard to case: sharp s, the Kelvin sign, ligatures ...
ODD_LETTERS: Final = (
    "\u1e9a\ufb00\ufb01\ufb02\ufb03\ufb04\u1e96\u0130\u01f0\u212a\u0149\xdf\u017f\u1e9e\ufb05\ufb06\u1e97\u1e98\u1e99"
)
_PLAIN_SIGNS: Final = frozenset(string.punctuation) - set("\"'/\\")
CASED: Final = 0x1F000
"""No character from here on has a case."""
_MARKS: Final = {"Mn", "Mc", "Me", "Lm", "Sk"}
_ESCAPED: Final = re.compile(rb"\\u(?!00[01])[0-9a-fA-F]{4}")
_ESCAPES: Final = re.compile(rb"(?:\\+u[0-9a-fA-F]{4})+")
_ESCAPE: Final = re.compile(rb"(\\+)u([0-9a-fA-F]{4})")
_LEVELS: Final = 2
_ENCODED: Final = re.compile(rb'file://[^"\\]*%')

# Words that are shown although no file has them, and what the files have in whose items they are.
_REVIEW: Final = "full review comments: reviewer failed to output a response. none - : \u2014"
_ADDED: Final = (
    ("moved to:", b'"move_path"'),
    (_REVIEW, b"exited_review_mode"),
    (_REVIEW, b"exitedreviewmode"),
    ("bash -lc", b'"function_call"'),
)

_LINE: Final = re.compile(
    rb'\{"timestamp":"[^"]*",(?:"ordinal":\d+,)?"type":"(\w+)","payload":\{(?:"type":"(\w+)")?'
    rb'(?:.{0,200}?"item":\{"type":"(\w+)")?'
)
_PAGINATED: Final = b'"history_mode":"paginated"'
_NO_TEXT: Final = {b"session_meta", b"turn_context", b"world_state"}
_NO_TEXT_EVENTS: Final = {
    *(b"token_count", b"task_started", b"turn_started", b"task_complete", b"turn_complete", b"turn_aborted"),
    b"thread_settings_applied",
}
_MODEL_TEXT: Final = {b"message", b"reasoning"}
_BEGINS: Final = (b'"payload":{"type":"task_started"', b'"payload":{"type":"turn_started"')
_SPOKEN: Final = b'"payload":{"type":"user_message"'
_ROLLED_BACK: Final = b'"thread_rolled_back"'

# Lines of which no key is text, and no value of certain members.
_PLAIN: Final = {
    *(b"usermessage", b"agentmessage", b"commandexecution", b"reasoning", b"plan"),
    *(b"user_message", b"agent_message", b"agent_reasoning", b"agent_reasoning_raw_content", b"exec_command_end"),
    *(b"function_call", b"function_call_output"),
}
_ASIDE: Final = re.compile(
    rb'(?:"(?:type|id|call_id|turn_id|thread_id|client_id|process_id|cwd|status|source|phase|role|timestamp)":'
    rb'"(?:[^"\\]|\\.)*|"\w+":-?[\d.]*|[{,]"type":"function_call","name":"\w*)\Z'
)
_KEY_BEGINS: Final = re.compile(rb'[{,]"\w*\Z')
_KEY_ENDS: Final = re.compile(rb'\w*":')


class Needle:
    """A text to look for, folded as all texts are, and what must be in the bytes of a file that has it."""

    def __init__(self, folded: str) -> None:
        self.folded = folded
        words = _words(folded) or _signs(folded)
        self.words: Final = tuple(word.encode() for word in words)
        letters = set("".join(words))
        self._cased = [one.encode() for word in words for one in _first_cased(word)]
        self._odd = [(odd.encode(), odd.casefold().encode()) for odd in ODD_LETTERS if letters & set(odd.casefold())]
        self._added = {word.encode(): [mark for text, mark in _ADDED if word in text] for word in words}

    def hays(self, window: bytes) -> list[bytes]:
        """The bytes as words are looked for in them: folded and, if there are any, with characters for escapes.

        These are replaced once and again, for there are texts that hold JSON themselves.
        """
        hays = [self._fold(window)]
        while _ESCAPED.search(window) is not None and len(hays) <= _LEVELS:
            window = _ESCAPES.sub(_unescaped, window)
            hays.append(self._fold(window))
        return hays

    def is_added(self, word: bytes, hay: bytes) -> bool:
        """Whether there may be items that show the word although it is not there."""
        if any(mark in hay for mark in self._added[word]):
            return True
        return not word.isalnum() and b"file://" in hay and _ENCODED.search(hay) is not None

    def _fold(self, window: bytes) -> bytes:
        if window.isascii():
            return window.lower()
        # One byte that is rarely there is looked for faster than the character.
        if any(one[-1:] in window and one in window for one in self._cased):
            return window.decode("utf-8", "replace").casefold().encode()
        folded = window.lower()
        for odd, letters in self._odd:
            if odd[1:2] in folded and odd in folded:
                folded = folded.replace(odd, letters)
        return folded


class Sieve:
    """One session, as its bytes come by, that may have a text or not. `add` says when no more is needed."""

    def __init__(self, needle: Needle) -> None:
        self._needle = needle
        self._missing = set(needle.words)
        self._unsaid = set(needle.words)
        self._paginated = False
        self._first = True

    def add(self, head: bytes, window: bytes) -> bool:
        """Look at a piece of a file, whose first line began with `head`; whether the session may have the text."""
        for hay in self._needle.hays(window):
            if self._first:
                self._first = False
                self._paginated = _PAGINATED in hay[: hay.find(b"\n")]
            for word in list(self._missing):
                if self._has(hay, head.lower(), word):
                    self._missing.discard(word)
        return not self._missing

    @property
    def doubtful(self) -> bool:
        """Whether the text may be in what is shown of sessions in which no turn is told of."""
        return self._missing.isdisjoint(self._unsaid)

    def has_turns(self, windows: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether turns are told of for sure."""
        begins = _BEGINS if self._paginated else (*_BEGINS, _SPOKEN)
        begun = False
        for _, window in windows:
            if not self._paginated and _ROLLED_BACK in window:
                return False
            begun = begun or any(begin in window for begin in begins)
        return begun

    def _has(self, hay: bytes, head: bytes, word: bytes) -> bool:
        place = hay.find(word)
        while place >= 0:
            start = hay.rfind(b"\n", 0, place) + 1
            line = _LINE.match(hay[start : start + _HEAD] if start else head)
            record, event, item = (b"", b"", b"") if line is None else line.groups(b"")
            if _is_mute(record, event, self._paginated):
                if record not in _NO_TEXT:
                    self._unsaid.discard(word)
                if (place := hay.find(b"\n", place)) < 0:
                    break
            elif (item or event) not in _PLAIN or not _is_aside(hay, place, place + len(word)):
                return True
            place = hay.find(word, place + 1)
        return self._needle.is_added(word, hay)


def is_for_model(line: bytes, paginated: bool) -> bool:
    """Whether a line is about what the model was shown, and nothing of it is shown where turns are told of."""
    found = _LINE.match(line[:_HEAD])
    return found is not None and found[1] != b"event_msg" and _is_mute(found[1], found[2] or b"", paginated)


def _is_mute(record: bytes, event: bytes, paginated: bool) -> bool:
    """Whether nothing is shown of a record of this kind, or only where no turns are told of."""
    if record in _NO_TEXT or record == b"compacted":
        return True
    if record == b"response_item":
        return paginated or event in _MODEL_TEXT
    if record != b"event_msg" or not event:
        return False
    return event in _NO_TEXT_EVENTS or (paginated and event != b"item_completed")


def windows(file: IO[bytes], end: int | None = None) -> Iterator[tuple[bytes, bytes]]:
    """A file in pieces that overlap, up to byte `end` if that is given; each after the beginning of its first line."""
    data, head, left = b"", None, 1 << 62 if end is None else end
    while piece := file.read(min(WINDOW_BYTES, left)):
        left -= len(piece)
        data += piece
        head = data[:_HEAD] if head is None else head
        yield head, data
        cut = max(0, len(data) - _OVERLAP)
        start = data.rfind(b"\n", 0, cut) + 1
        head = data[start : start + _HEAD] if start else head
        data = data[cut:]


def _is_aside(hay: bytes, start: int, end: int) -> bool:
    """Whether what stands there is a key, a number, or the value of a member that is no text."""
    before = hay[max(0, start - _CONTEXT) : start]
    if _KEY_ENDS.match(hay, end) is not None and _KEY_BEGINS.search(before, max(0, len(before) - _KEY)) is not None:
        return True
    return _ASIDE.search(before) is not None


def _words(folded: str) -> list[str]:
    """What stands in any file as it was said, longest first: all of a text but blanks and signs."""
    words = _runs(folded, lambda c: c.isascii() and (c.isalnum() or c == "_"))
    if max(map(len, words), default=0) < _GOOD:
        words = _runs(folded, lambda c: c.isalnum() or c == "_" or not (c.isascii() or c.isspace() or c == "\ufffd"))
    longest = sorted({word[:_WORD_CHARACTERS] for word in words}, key=lambda word: (-len(word), word))
    return longest[:_WORDS]


def _signs(folded: str) -> list[str]:
    """The signs that stand in a file as they are, of a text that has nothing else."""
    return _runs(folded, lambda c: c in _PLAIN_SIGNS)[:_WORDS]


def _runs(text: str, stands: Callable[[str], bool]) -> list[str]:
    return ["".join(run) for standing, run in groupby(text, stands) if standing]


def _first_cased(word: str) -> Sequence[str]:
    """All that is taken for the first character of the word that is not of ASCII and not itself alone."""
    return next((_taken_for(c) for c in word if not c.isascii() and not has_no_case(c)), ())


def has_no_case(character: str) -> bool:
    """Whether nothing else is taken for this character. Marks that are set on letters may come of another letter."""
    same = character.upper() == character == character.lower() == character.casefold()
    return same and unicodedata.category(character) not in _MARKS


@cache
def _taken_for(character: str) -> Sequence[str]:
    return [one for one in map(chr, range(0x80, CASED)) if character in one.casefold()]


def _unescaped(found: re.Match[bytes]) -> bytes:
    """What escapes stand for; blanks for what would end a text or begin another escape."""
    made: list[bytes] = []
    pending = b""
    for slashes, code in _ESCAPE.findall(found[0]):
        # Two backslashes stand for one: only what is left over begins an escape.
        kept = slashes[: len(slashes) // 2]
        if kept or len(slashes) % 2 == 0:
            made += [_characters(pending), kept]
            pending = b""
        if len(slashes) % 2:
            pending += bytes.fromhex(code.decode())
        else:
            made.append(b"u" + code)
    return b"".join([*made, _characters(pending)])


def _characters(utf16: bytes) -> bytes:
    text = utf16.decode("utf-16-be", "replace")
    return "".join(" " if c < " " or c in '"\\' else c for c in text).encode()
