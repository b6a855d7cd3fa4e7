"""The patch format of the model: read whole, or piece by piece while the model writes it.

A patch stands between `*** Begin Patch` and `*** End Patch` and has one section for each file:

    *** Add File: PATH       every line that follows begins with `+`
    *** Delete File: PATH
    *** Update File: PATH    then `*** Move to: PATH` if it gets a new name, and hunks

A hunk begins with `@@`, or with `@@ ` and a line of the file that comes before it; its lines begin with ` ` (stays),
`-` (goes) or `+` (comes). `*** End of File` after a hunk ties it to the end of the file.
"""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from msgspec import Struct, field

BEGIN = "*** Begin Patch"
END = "*** End Patch"
ADD = "*** Add File:"
DELETE = "*** Delete File:"
UPDATE = "*** Update File:"
MOVE = "*** Move to:"
END_OF_FILE = "*** End of File"

SHOWN_CHARACTERS = 120
"""How much of a faulty line an error shows."""

_HEADERS = f"'{ADD} PATH', '{UPDATE} PATH', '{DELETE} PATH' or '{END}'"
_LINE_NUMBERS = re.compile(r"-\d+(,\d+)? \+\d+(,\d+)? @@.*")
_HEREDOC = re.compile(r"(?:(?:apply_patch|applypatch)[ \t]*)?<<-?[ \t]*(['\"]?)(\w+)\1[ \t]*")


class PatchError(Exception):
    """The text is no patch; the message names the line, counted from `*** Begin Patch`, and what was expected."""


class HunkLine(NamedTuple):
    """A line of a hunk. `untagged` is an empty line without its leading space: meant, or just there."""

    tag: Literal[" ", "-", "+"]
    text: str
    untagged: bool = False


class Hunk(Struct):
    """One place of a file. `contexts` are lines that come before it in the file, in order; `line` is the patch's."""

    line: int
    contexts: list[str] = field(default_factory=list[str])
    lines: list[HunkLine] = field(default_factory=list[HunkLine])
    at_end: bool = False


class AddFile(Struct):
    """A new file, or new content for one that exists."""

    path: str
    line: int
    lines: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        """The content, every line with its newline."""
        return "".join(f"{line}\n" for line in self.lines)


class DeleteFile(Struct):
    """A file that goes."""

    path: str
    line: int


class UpdateFile(Struct):
    """A file that changes, and is renamed to `move_to` if that is given."""

    path: str
    line: int
    move_to: str | None = None
    hunks: list[Hunk] = field(default_factory=list[Hunk])


Section = AddFile | DeleteFile | UpdateFile


class Patch(Struct, frozen=True):
    """The sections in the order in which they were written."""

    sections: tuple[Section, ...]


def parse(text: str) -> Patch:
    """Read a patch. White space around it, a code fence and a heredoc wrapper are passed over. Raises PatchError."""
    reader = PatchReader()
    for line in _unwrapped(text):
        reader.feed(line)
    reader.finish()
    return Patch(tuple(reader.sections))


def _unwrapped(text: str) -> list[str]:
    lines = text.strip().split("\n")
    while len(lines) > 2:
        first, last = lines[0].strip(), lines[-1].strip()
        heredoc = _HEREDOC.fullmatch(first)
        if not (first.startswith("```") and last == "```") and not (heredoc and last == heredoc[2]):
            break
        lines = lines[1:-1]
        while lines and not lines[-1].strip():
            lines.pop()
    return lines


class PatchReader:
    """Reads a patch line by line; `sections` holds what has been read so far."""

    def __init__(self) -> None:
        self.sections: list[Section] = []
        self._number = 0
        self._carriage_returns = False
        self._ended = False
        self._blank_lines = 0

    def feed(self, line: str) -> None:
        """Take the next line, without its newline. Raises PatchError."""
        self._number += 1
        if self._number == 1:
            if line.strip() != BEGIN:
                raise PatchError(f"the first line must be '{BEGIN}', not {_shown(line)}")
            self._carriage_returns = line.endswith("\r")
            return
        if self._carriage_returns:
            line = line.removesuffix("\r")
        if self._ended:
            if line.strip():
                raise self._unexpected(line, f"nothing after '{END}'")
            return
        section = self.sections[-1] if self.sections else None
        match section:
            case UpdateFile():
                taken = self._take_update(section, line)
            case AddFile():
                taken = self._take_add(section, line)
            case _:
                taken = not line.strip()
        if not taken:
            self._take_header(line)

    def finish(self) -> None:
        """There are no more lines. Raises PatchError."""
        if not self._number:
            raise PatchError(f"it is empty; the first line must be '{BEGIN}'")
        if not self._ended:
            raise PatchError(f"the last line must be '{END}'; the patch may have been cut off")
        if not self.sections:
            raise PatchError(f"it changes nothing: between '{BEGIN}' and '{END}' there must be at least one file")

    def _take_update(self, section: UpdateFile, line: str) -> bool:
        hunk = section.hunks[-1] if section.hunks else None
        if line.startswith("@@"):
            if hunk is None or hunk.lines:
                hunk = Hunk(self._number)
                section.hunks.append(hunk)
            if (context := _context(line)) is not None:
                hunk.contexts.append(context)
            return True
        if line.rstrip() == END_OF_FILE:
            if hunk is None or not hunk.lines:
                raise self._unexpected(line, "the lines of a hunk before it")
            hunk.at_end = True
            return True
        if line.startswith(MOVE) and section.move_to is None and not section.hunks:
            section.move_to = self._path(line, MOVE)
            return True
        if not line:
            if hunk is not None and hunk.lines and not hunk.at_end:
                hunk.lines.append(HunkLine(" ", "", untagged=True))
            return True
        tag = line[0]
        if tag not in " -+":
            if line.startswith("***"):
                return False
            raise self._unexpected(line, "a line that begins with ' ' (stays), '-' (goes), '+' (comes) or '@@'")
        if hunk is not None and hunk.at_end:
            raise self._unexpected(line, f"'@@' or the next file after '{END_OF_FILE}'")
        if hunk is None:
            hunk = Hunk(self._number)
            section.hunks.append(hunk)
        hunk.lines.append(HunkLine(" " if tag == " " else "-" if tag == "-" else "+", line[1:]))
        return True

    def _take_add(self, section: AddFile, line: str) -> bool:
        if line.startswith("+"):
            # An empty line in the midst of a file has lost its `+`; one at the end only separates.
            section.lines += [""] * self._blank_lines
            self._blank_lines = 0
            section.lines.append(line[1:])
            return True
        if not line.strip():
            self._blank_lines += 1
            return True
        if not line.lstrip().startswith("***"):
            raise self._unexpected(line, "a line of the new file, which begins with '+'")
        return False

    def _take_header(self, line: str) -> None:
        self._close_section()
        header = line.strip()
        if header == END:
            self._ended = True
            return
        kinds: tuple[tuple[str, Callable[[str, int], Section]], ...]
        kinds = ((ADD, AddFile), (DELETE, DeleteFile), (UPDATE, UpdateFile))
        for prefix, kind in kinds:
            if header.startswith(prefix):
                self._blank_lines = 0
                self.sections.append(kind(self._path(header, prefix), self._number))
                return
        raise self._unexpected(line, _HEADERS)

    def _close_section(self) -> None:
        section = self.sections[-1] if self.sections else None
        if isinstance(section, UpdateFile):
            if section.hunks and not section.hunks[-1].lines:
                raise PatchError(f"line {section.hunks[-1].line}: the hunk has no lines")
            if not section.hunks and section.move_to is None:
                raise PatchError(f"line {section.line}: the update of '{section.path}' has no hunks and no new name")

    def _path(self, header: str, prefix: str) -> str:
        path = header.removeprefix(prefix).strip()
        if not path or path.endswith("/") or "\0" in path:
            raise PatchError(f"line {self._number}: '{prefix}' must be followed by the path of a file")
        return path

    def _unexpected(self, line: str, expected: str) -> PatchError:
        return PatchError(f"line {self._number}: expected {expected}, not {_shown(line)}")


class PatchStream:
    """Reads a patch that comes in pieces, as far as it can be read; what is no patch just has no sections."""

    def __init__(self) -> None:
        self._reader = PatchReader()
        self._rest = ""
        self._broken = False

    @property
    def sections(self) -> list[Section]:
        """What the complete lines so far say."""
        return self._reader.sections

    def feed(self, text: str) -> bool:
        """Take the next piece; whether it completed a line."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if self._broken:
                break
            try:
                self._reader.feed(line)
            except PatchError:
                self._broken = True
        return bool(lines) and not self._broken


def _context(line: str) -> str | None:
    text = line[2:].removeprefix(" ").rstrip()
    if not text or _LINE_NUMBERS.fullmatch(text):
        # Line numbers, as other tools write them, are only guessed by a model.
        return None
    return text.removesuffix(" @@").rstrip() or None


def _shown(line: str) -> str:
    text = line if len(line) <= SHOWN_CHARACTERS else line[:SHOWN_CHARACTERS] + "..."
    return repr(text)
