"""Changing TOML text where its values change, and leaving every other character as it is.

Libraries that keep comments lose their way where a table is written in several places or with dotted keys, as people do
by hand. Here a text is taken apart into its statements, only to find where each value stands; what the text means is
always asked of `tomllib`, and a result that does not mean what was wanted is an error.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from difflib import SequenceMatcher
from typing import Any, cast

from msgspec import Struct

Path = tuple[str, ...]

ROUNDS = 4
"""A change can leave something behind, such as a table that stood only in a dotted key; then there is another round."""


class CannotChange(Exception):
    """The text cannot be made to say what is wanted without rewriting other parts of it."""


class _Statement(Struct, frozen=True):
    """A header (`is_array` with two brackets) or, with a `value` (its place in the text), a key and its value.

    `path` is the whole path, `section` that of the header above; lines are from `start` to `end`.
    """

    path: Path
    section: Path
    start: int
    end: int
    value: tuple[int, int] | None = None
    is_array: bool = False
    in_array: bool = False
    """The header above, or this one, belongs to a list of tables."""


def changed(text: str, wanted: Mapping[str, Any]) -> str:
    """The text, changed to mean `wanted`. It must be valid TOML. Raises CannotChange."""
    for _ in range(ROUNDS):
        table: dict[str, Any] = tomllib.loads(text)
        differences = list(_differences(table, wanted, ()))
        if not differences:
            return text
        for path, old, new in differences:
            text = _Text(text, wanted).with_value(path, old, new)
            try:
                tomllib.loads(text)
            except tomllib.TOMLDecodeError as error:
                raise CannotChange(str(error)) from None
    if not same(tomllib.loads(text), wanted):
        raise CannotChange("the text says other things than were wanted")
    return text


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types: 1 is not true."""
    if isinstance(one, dict) and isinstance(other, dict):
        left, right = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(one, list) and isinstance(other, list):
        ones, others = cast("list[Any]", one), cast("list[Any]", other)
        return len(ones) == len(others) and all(same(a, b) for a, b in zip(ones, others, strict=True))
    return type(cast("object", one)) is type(cast("object", other)) and one == other


def _tables(value: Any) -> list[Mapping[str, Any]] | None:
    """A list of tables, which none at all is one of; None for anything else."""
    if value is None:
        return []
    if not isinstance(value, list):
        return None
    entries = cast("list[Any]", value)
    return cast("list[Mapping[str, Any]]", entries) if all(isinstance(entry, dict) for entry in entries) else None


def _says(text: str, path: Path, wanted: Any) -> bool:
    try:
        value: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    for key in path:
        value = value.get(key, {})
    return same(value, wanted)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """Paths with the value that they have and the one that they should have, None for none."""
    for key, value in old.items():
        if key not in new:
            yield (*path, key), value, None
    for key, value in new.items():
        if key not in old:
            yield (*path, key), None, value
        elif isinstance(value, dict) and isinstance(old[key], dict):
            yield from _differences(old[key], cast("dict[str, Any]", value), (*path, key))
        elif not same(old[key], value):
            yield (*path, key), old[key], value


class _Text:
    """One text, for one change."""

    def __init__(self, text: str, wanted: Mapping[str, Any]) -> None:
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self.text = text if not text or text.endswith("\n") else text + self.newline
        self.wanted = wanted
        self.statements = list(_statements(self.text))

    def with_value(self, path: Path, old: Any, new: Any) -> str:
        inline = next(
            (s for s in self.statements if s.value and len(s.path) < len(path) and _begins(path, s.path)), None
        )
        if inline is not None:
            value: Any = self.wanted
            for key in inline.path:
                value = value[key]
            return self._replaced(inline, value)
        if (text := self._with_tables(path, old, new)) is not None:
            return text
        if new is None:
            return self._without(path)
        if old is None:
            return self._with(path, new)
        pair = next((s for s in self.statements if s.value and s.path == path), None)
        if pair is not None and not isinstance(new, dict):
            return self._replaced(pair, new)
        return _Text(self._without(path), self.wanted)._with(path, new)

    def _with_tables(self, path: Path, old: Any, new: Any) -> str | None:
        """The text with another list of tables, each under its own header; None where it is not written so."""
        olds, news = _tables(old), _tables(new)
        headers = [s for s in self.statements if s.is_array and s.path == path]
        if olds is None or news is None or len(headers) != len(olds) or not (olds or news):
            return None
        if not olds:
            text = self._appended(path, self.newline.join(self._entry(path, entry) for entry in news))
            return text if old is None and _says(text, path, news) else None
        places = [self._place(header) for header in headers]
        edits: list[tuple[int, int, str]] = []
        matcher = SequenceMatcher(None, [*map(inline_text, olds)], [*map(inline_text, news)], autojunk=False)
        for kind, first, last, new_first, new_last in matcher.get_opcodes():
            if kind == "equal":
                continue
            both = min(last - first, new_last - new_first)
            for number in range(both):
                header, place = headers[first + number], places[first + number]
                edits.append(self._entry_changed(header, place[1], news[new_first + number]))
            edits += [(*place, "") for place in places[first + both : last]]
            if added := news[new_first + both : new_last]:
                at = places[first + both - 1][1] if first + both else places[0][0]
                blocks = [self._entry(path, entry) for entry in added]
                above = "" if self.text[:at].endswith(self.newline * 2) or not at else self.newline
                below = self.newline if at < len(self.text) else ""
                edits.append((at, at, above + self.newline.join(blocks) + below))
        text = self.text
        for start, end, block in sorted(edits, key=lambda edit: edit[:2], reverse=True):
            text = text[:start] + block + text[end:]
        return text.rstrip("\r\n") + self.newline if news != olds and text.strip() else text

    def _place(self, header: _Statement) -> tuple[int, int]:
        """Where a table of a list stands: with the comment above it, and the sections in it."""
        after = (s for s in self.statements if s.value is None and s.start > header.start)
        other = next((s for s in after if s.path == header.path or not _begins(s.path, header.path)), None)
        return self._comment_above(header.start), len(self.text) if other is None else self._comment_above(other.start)

    def _entry_changed(self, header: _Statement, end: int, entry: Mapping[str, Any]) -> tuple[int, int, str]:
        body = self.text[header.end : end]
        with suppress(CannotChange, tomllib.TOMLDecodeError):
            fresh = changed(body, entry)
            if all(statement.value for statement in _statements(fresh)):
                return header.end, end, fresh
        blank = body[len(body.rstrip()) :].replace(self.newline, "", 1)
        return header.start, end, self._entry(header.path, entry) + blank

    def _entry(self, path: Path, entry: Mapping[str, Any]) -> str:
        lines = (self._line((key,), value) for key, value in entry.items())
        return f"[[{key_text(path)}]]{self.newline}" + "".join(lines)

    def _replaced(self, pair: _Statement, value: Any) -> str:
        assert pair.value is not None
        start, end = pair.value
        return self.text[:start] + inline_text(value) + self.text[end:]

    def _without(self, path: Path) -> str:
        kept, at = "", 0
        for number, statement in enumerate(self.statements):
            if not _begins(statement.path, path):
                continue
            end = statement.end
            if statement.value is None:
                following = self.statements[number + 1 :]
                after = next((s for s in following if s.value is None), None)
                end = len(self.text) if after is None else self._comment_above(after.start)
            # What is said about one table of a list goes with it.
            start = self._comment_above(statement.start) if statement.is_array else statement.start
            kept += self.text[at : max(at, start)]
            at = max(at, end)
        return kept + self.text[at:]

    def _with(self, path: Path, value: Any) -> str:
        parent = path[:-1]
        owner = next((s for s in self.statements if s.value is None and s.path == parent and not s.in_array), None)
        dotted = [s for s in self.statements if s.value and len(s.path) > len(parent) > len(s.section)]
        dotted = [s for s in dotted if _begins(s.path, parent) and not s.in_array]
        if isinstance(value, dict) and not dotted:
            return self._with_section(path, cast("dict[str, Any]", value))
        if dotted:
            last = dotted[-1]
            return self._inserted(last.end, self._line(path[len(last.section) :], value))
        if owner is not None or not parent:
            own = [s for s in self.statements if s.value and s.section == parent and not s.in_array]
            if own:
                return self._inserted(own[-1].end, self._line(path[-1:], value))
            if owner is not None:
                return self._inserted(owner.end, self._line(path[-1:], value))
            gap = self.newline if self.text.strip() else ""
            return self._inserted(0, self._line(path[-1:], value) + gap)
        block = self._header(parent) + self._line(path[-1:], value)
        below = next((s for s in self.statements if s.value is None and _begins(s.path, parent)), None)
        if below is not None:
            return self._inserted(self._comment_above(below.start), block + self.newline)
        return self._appended(parent, block)

    def _with_section(self, path: Path, value: dict[str, Any]) -> str:
        return self._appended(path, self.newline.join(self._sections(path, value)))

    def _sections(self, path: Path, value: dict[str, Any]) -> Iterator[str]:
        lists = {key: entries for key, one in value.items() if (entries := _tables(one))}
        pairs = {key: one for key, one in value.items() if not isinstance(one, dict) and key not in lists}
        if pairs or not value:
            yield self._header(path) + "".join(self._line((key,), one) for key, one in pairs.items())
        for key, one in value.items():
            if isinstance(one, dict):
                yield from self._sections((*path, key), cast("dict[str, Any]", one))
            elif key in lists:
                yield from (self._entry((*path, key), entry) for entry in lists[key])

    def _appended(self, path: Path, block: str) -> str:
        """With a new section behind those that are most like it."""
        for length in range(len(path) - 1, 0, -1):
            numbers = [n for n, s in enumerate(self.statements) if s.value is None and _begins(s.path, path[:length])]
            if not numbers:
                continue
            after = next((s for s in self.statements[numbers[-1] + 1 :] if s.value is None), None)
            if after is None:
                break
            at = self._comment_above(after.start)
            gap = "" if self.text[:at].endswith(self.newline * 2) else self.newline
            return self._inserted(at, gap + block + self.newline)
        gap = self.newline if self.text.strip() and not self.text.endswith(self.newline * 2) else ""
        return self.text + gap + block

    def _inserted(self, at: int, block: str) -> str:
        return self.text[:at] + block + self.text[at:]

    def _comment_above(self, start: int) -> int:
        """Where the comment begins that stands directly above a statement."""
        while start:
            line = self.text.rfind("\n", 0, start - 1) + 1
            if not self.text[line:start].lstrip().startswith("#"):
                break
            start = line
        return start

    def _line(self, path: Path, value: Any) -> str:
        return f"{key_text(path)} = {inline_text(value)}{self.newline}"

    def _header(self, path: Path) -> str:
        return f"[{key_text(path)}]{self.newline}"


# Writing


def key_text(path: Sequence[str]) -> str:
    """A path as TOML writes it."""
    return ".".join(part if _BARE.fullmatch(part) else _string(part) for part in path)


def inline_text(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, list):
        return "[" + ", ".join(inline_text(one) for one in cast("list[Any]", value)) + "]"
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value).items()
        inner = ", ".join(f"{key_text((key,))} = {inline_text(one)}" for key, one in entries)
        return f"{{ {inner} }}" if inner else "{}"
    return repr(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


# Reading


_BARE = re.compile(r"[A-Za-z0-9_-]+")
_KEY_PART = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*""")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})(?!")' r"|'''.*?'''(?:'{0,2})(?!')" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^\n#]*")


def _statements(text: str) -> Iterator[_Statement]:
    at, section, in_array, arrays = 0, (), False, set[Path]()
    while at < len(text):
        line_end = text.find("\n", at) + 1 or len(text)
        start, begin = at, at
        while begin < line_end and text[begin] in " \t\r":
            begin += 1
        if begin >= line_end or text[begin] in "#\n":
            at = line_end
        elif text[begin] == "[":
            is_array = text.startswith("[[", begin)
            section, _ = _key(text, begin + (2 if is_array else 1))
            if is_array:
                arrays.add(section)
            in_array = any(_begins(section, array) for array in arrays)
            yield _Statement(section, section, start, line_end, is_array=is_array, in_array=in_array)
            at = line_end
        else:
            key, equals = _key(text, begin)
            value = equals + 1
            while text[value] in " \t":
                value += 1
            end = _value_end(text, value)
            at = text.find("\n", end) + 1 or len(text)
            yield _Statement((*section, *key), section, start, at, (value, end), in_array=in_array)


def _key(text: str, at: int) -> tuple[Path, int]:
    """The path that begins there, and the place of what follows it."""
    parts: list[str] = []
    while (found := _KEY_PART.match(text, at)) is not None:
        part = found[1]
        parts.append(next(iter(tomllib.loads(f"{part} = 0"))) if part[0] in "\"'" else part)
        at = found.end()
        if not text.startswith(".", at):
            break
        at += 1
    return tuple(parts), at


def _value_end(text: str, at: int) -> int:
    if text[at] not in "[{\"'":
        found = _PLAIN.match(text, at)
        assert found is not None
        return at + len(found[0].rstrip())
    depth = 0
    while at < len(text):
        character = text[at]
        if character in "\"'":
            found = _STRING.match(text, at)
            if found is None:
                raise CannotChange("a string was not understood")
            at = found.end()
        elif character == "#":
            at = text.find("\n", at)
        else:
            depth += (character in "[{") - (character in "]}")
            at += 1
        if depth == 0:
            return at
    raise CannotChange("a value was not understood")


def _begins(path: Path, start: Path) -> bool:
    return path[: len(start)] == start
