"""Split a shell line into the commands that it runs, and say whether that is all it does."""

import os.path
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from app_server.execpolicy.rules import SYSTEM_FOLDERS
from app_server.execpolicy.wrappers import UNKNOWN, inner_command, inner_script

if TYPE_CHECKING:
    from tree_sitter import Node

Command = tuple[str, ...]

SHELLS = frozenset({"bash", "sh", "zsh"})

MAX_SCRIPT_BYTES = 131_071
"""Linux takes no longer argument; what is longer is not parsed."""

PARSE_SECONDS = 0.3
"""What one call may take of a processor: some texts make the parser slow, and none of them is honest work."""

MAX_PIPES = 2_000
"""Time and memory of the parser grow with the square of a pipeline's length, and it does not stop meanwhile."""

QUICK_LENGTH = 1024
"""Up to here parsing takes well under 5 ms, whatever the characters; what is longer belongs in a worker thread."""

_SHORT_BYTES = 512
_MAX_DEPTH = 5
_MAX_WRAPPERS = 16


class Split(Struct, frozen=True):
    """The commands of a call.

    `plain`: it runs exactly `commands`, whose words stand there as they are. `opaque`: anything else a shell can do,
    so that the whole argv counts as one command. `unreadable`: it could not be parsed within bounds, or cannot be run.

    `within` has, for each of `commands`, those that it runs in turn as far as they can be told (behind `sudo`, in a
    `bash -c`, in a subshell): enough to see what is forbidden, never to see that nothing else happens. A word that
    depends on the run is `UNKNOWN` there.
    """

    commands: tuple[Command, ...]
    kind: Literal["plain", "opaque", "unreadable"]
    within: tuple[tuple[Command, ...], ...]


class _Unreadable(Exception):
    pass


class _Bounds(Struct, frozen=True):
    """How deep a script is in others, and until when (`time.thread_time`) all of them have to be parsed."""

    deadline: float
    depth: int = 0

    def inner(self) -> "_Bounds":
        if self.depth >= _MAX_DEPTH:
            raise _Unreadable
        return _Bounds(self.deadline, self.depth + 1)

    def check(self) -> None:
        if time.thread_time() > self.deadline:
            raise _Unreadable


def split(argv: Sequence[str]) -> Split:
    """The commands that `argv` runs, looking into `[sh|bash|zsh, -c|-lc, script]`. Never raises."""
    whole = tuple(argv)
    script = script_of(whole)
    bounds = _Bounds(time.thread_time() + PARSE_SECONDS)
    try:
        if script is None:
            _encode("".join(whole))
            return Split((whole,), "plain" if whole else "opaque", (_within(whole, bounds),))
        source = _encode(script)
        root = _parse(source, bounds)
        commands = _plain_commands(root, source)
        if commands is not None:
            return Split(commands, "plain", tuple(_within(command, bounds) for command in commands))
        return Split((whole,), "opaque", (tuple(_commands_in(source, bounds)),))
    except (_Unreadable, UnicodeDecodeError):
        return Split((whole,), "unreadable", ((),))


def script_of(argv: Sequence[str]) -> str | None:
    """The script where `argv` is a shell of the system that is given one; a shell from elsewhere may be anything."""
    if len(argv) != 3 or argv[1] not in ("-c", "-lc"):
        return None
    folder, name = os.path.split(argv[0])
    if name in SHELLS and (not folder or folder in SYSTEM_FOLDERS or folder.startswith("/nix/store/")):
        return argv[2]
    return None


def canonical(argv: Sequence[str]) -> tuple[str, ...]:
    """Equal for calls that run the same: spacing and quoting do not count where a script is one plain command.

    For the keys of what a user has approved; it is not a command that can be run. A long script is only itself.
    """
    script = script_of(argv)
    if script is None or len(script) > QUICK_LENGTH:
        return tuple(argv)
    found = split(argv)
    # A script cannot be taken for such words: it is one word, and they are never a shell's third one alone.
    if found.kind == "plain" and len(found.commands) == 1:
        return (*argv[:2], *found.commands[0])
    return tuple(argv)


# Parsing


class _OfThread(threading.local):
    """A parser must not be entered twice, and while one reads in pieces another thread may run."""

    def __init__(self) -> None:
        import tree_sitter_bash
        from tree_sitter import Language, Parser

        self.parser = Parser(Language(tree_sitter_bash.language()))


@cache
def _own() -> _OfThread:
    return _OfThread()


def load_parser() -> None:
    """Load the parser, which takes milliseconds, in a thread where they do not matter."""
    _own()


def _encode(text: str) -> bytes:
    if "\0" in text:
        raise _Unreadable
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _Unreadable from None


# The parser's own reading of characters beyond ASCII runs over the end of a table. To a shell they are parts of words
# and of nothing else, like this sign; what words say is read in the text itself.
_ASCII = bytes(range(128)) + b"%" * 128


def _parse(text: bytes, bounds: _Bounds) -> "Node":
    if len(text) > MAX_SCRIPT_BYTES or text.count(b"|") > MAX_PIPES:
        raise _Unreadable
    bounds.check()
    source = text.translate(_ASCII)
    parser = _own().parser
    if len(source) <= _SHORT_BYTES:
        return parser.parse(source).root_node
    try:
        # Only a source that is read piece by piece can be given up half way.
        return parser.parse(
            lambda offset, _point: source[offset : offset + 65536],
            progress_callback=lambda _offset, _has_error: time.thread_time() > bounds.deadline,
        ).root_node
    except ValueError:
        parser.reset()
        raise _Unreadable from None


# Plain scripts. Everything that is not known to be harmless makes the script opaque.

_LISTS = frozenset({"program", "list", "pipeline"})
_JOINTS = frozenset({"&&", "||", "|", ";"})
_BETWEEN_COMMANDS = re.compile(rb"(?:[ \t\n]|\\\n)*")
# A line that is continued joins what stands before and after it, unless there is space as well.
_BETWEEN_WORDS = re.compile(rb"(?:\\\n)*[ \t](?:[ \t]|\\\n)*")
_NEW_LINE = re.compile(rb"(?:[ \t]|\\\n)*\n")
_BARE = re.compile(rb"[A-Za-z0-9_./,:@%+!\x80-\xff-][A-Za-z0-9_./,:@%+!=\x80-\xff-]*")
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_LITERAL_IN_DOUBLE_QUOTES = re.compile(rb'(?:[^"$`\\]|\\[^"$`\\\n])*')


def _plain_commands(root: "Node", source: bytes) -> tuple[Command, ...] | None:
    if root.has_error or _CONTROL.search(source):
        return None
    commands: list[Command] = []
    end, separate = 0, True
    stack = [root]
    while stack:
        node = stack.pop()
        kind = node.type
        if kind in _LISTS:
            stack.extend(reversed(node.children))
            continue
        # Between what was understood there is nothing but space.
        if not _BETWEEN_COMMANDS.fullmatch(source, end, node.start_byte):
            return None
        separate = separate or _NEW_LINE.match(source, end, node.start_byte) is not None
        end = node.end_byte
        if kind == "command" and separate:
            words = _plain_words(node, source)
            if words is None:
                return None
            commands.append(words)
            separate = False
        elif kind in _JOINTS:
            separate = True
        else:
            return None
    if not commands or not _BETWEEN_COMMANDS.fullmatch(source, end):
        return None
    return tuple(commands)


def _plain_words(command: "Node", source: bytes) -> Command | None:
    words: list[str] = []
    end = command.start_byte
    for node in command.children:
        start = node.start_byte
        if words:
            if not _BETWEEN_WORDS.fullmatch(source, end, start):
                return None
            word = _plain_word(node, source)
        elif node.type == "command_name" and start == end and node.child_count == 1 and node.children[0].type == "word":
            word = _bare(source[start : node.end_byte])
            # To zsh, and to it alone, such a name may be a variable's: "é=1".
            word = None if word is None or "=" in word else word
        else:
            return None
        if word is None:
            return None
        words.append(word)
        end = node.end_byte
    return tuple(words) if words and end == command.end_byte else None


def _plain_word(node: "Node", source: bytes) -> str | None:
    kind = node.type
    start, end = node.start_byte, node.end_byte
    if kind in ("word", "number"):
        return _bare(source[start:end])
    if kind == "raw_string":
        text = source[start + 1 : end - 1]
        return text.decode() if source[start:end] == b"'%b'" % text and b"'" not in text else None
    if kind == "string":
        text = source[start + 1 : end - 1]
        if source[start:end] == b'"%b"' % text and _LITERAL_IN_DOUBLE_QUOTES.fullmatch(text):
            return text.decode()
        return None
    if kind == "concatenation":
        parts: list[str] = []
        for child in node.children:
            part = _plain_word(child, source) if child.start_byte == start else None
            if part is None:
                return None
            parts.append(part)
            start = child.end_byte
        return "".join(parts) if start == end else None
    return None


def _bare(text: bytes) -> str | None:
    if not _BARE.fullmatch(text):
        return None
    word = text.decode()
    # Some systems' shells take a no-break space for a blank.
    return word if word.isascii() or word.isprintable() else None


# What an opaque script runs, as far as it can be told.

_NEGATION = re.compile(rb"(?<!\S)!(?!\S)")
_NO_QUOTES = str.maketrans("", "", "\"'\\")
_LINE_END = "\0\n"
_SEPARATORS = re.compile(r"[;&|(){}`\n]")


def _commands_in(source: bytes, bounds: _Bounds) -> Iterator[Command]:
    """Every command that the script may run."""
    yield from _commands_below(_parse(source, bounds), source, bounds)
    # The parser knows no compound command after "!" and takes its words for a command, and it parts continued words.
    simple = _NEGATION.sub(b" ", source.replace(b"\\\n", b""))
    if simple != source:
        yield from _commands_below(_parse(simple, bounds), simple, bounds)


def _commands_below(root: "Node", source: bytes, bounds: _Bounds) -> Iterator[Command]:
    """Every command in the tree, also in one with mistakes in it, and what they run in turn."""
    if root.has_error:
        # Shells understand more than the parser does: what may be a command there counts as one.
        for piece in _SEPARATORS.split(source.decode(errors="replace")):
            words = tuple(piece.translate(_NO_QUOTES).split())
            if words:
                yield words
                yield from _wrapped(words)
    after_redirect: dict[int, list[str]] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        children = node.children
        if node.type == "redirected_statement" and children:
            # `rm <x -f y`: words after the target belong to the command.
            after_redirect[children[0].id] = [
                _literal(word, source)
                for redirect in children[1:]
                if redirect.type == "file_redirect"
                for word in redirect.children_by_field_name("destination")[1:]
            ]
        elif node.type == "command":
            words = (*_literal_words(node, source), *after_redirect.get(node.id, ()))
            for line in _lines(words):
                yield line
                yield from _within(line, bounds)
        stack.extend(child for child in reversed(children) if child.child_count)


def _within(command: Command, bounds: _Bounds) -> tuple[Command, ...]:
    """The commands that `command` is known to run in turn."""
    wrapped = tuple(_wrapped(command))
    for current in (command, *wrapped):
        script = inner_script(current)
        if script is not None:
            source = _encode(script)
            inner = bounds.inner()
            return (*wrapped, *_commands_in(source, inner))
    return wrapped


def _wrapped(command: Command) -> Iterator[Command]:
    """What is behind `sudo`, `env` and their like, layer by layer."""
    current = inner_command(command)
    for _ in range(_MAX_WRAPPERS):
        if current is None:
            return
        yield current
        current = inner_command(current)
    raise _Unreadable


def _lines(words: Command) -> Iterator[Command]:
    start = 0
    for end in (*(at for at, word in enumerate(words) if word == _LINE_END), len(words)):
        if end > start:
            yield words[start:end]
        start = end + 1


def _literal_words(command: "Node", source: bytes) -> Iterator[str]:
    for node in command.children:
        if source[node.start_byte : node.start_byte + 1] == b"\n":
            # The parser takes a line's end before a backslash for a part of the word.
            yield _LINE_END
        if node.type == "command_name":
            yield _literal(node.children[0], source) if node.child_count else _unescaped(node, source)
        elif node.type == "file_redirect":
            yield from (_literal(word, source) for word in node.children_by_field_name("destination")[1:])
        elif node.type not in ("variable_assignment", "herestring_redirect"):
            yield _literal(node, source)


def _literal(node: "Node", source: bytes) -> str:
    """The word as the shell would pass it, or UNKNOWN. A pattern for file names counts as itself."""
    decode = _LITERALS.get(node.type)
    return UNKNOWN if decode is None else decode(node, source)


def _unescaped(node: "Node", source: bytes) -> str:
    text = _text(node, source).lstrip("\n")
    return re.sub(r"\\(?:\n|(.))", lambda match: match[1] or "", text) if "\\" in text else text


def _raw(node: "Node", source: bytes) -> str:
    return _text(node, source)[1:-1]


def _quoted(node: "Node", source: bytes) -> str:
    if any(child.type not in ("string_content", '"') for child in node.children):
        return UNKNOWN
    return re.sub(r'\\(?:\n|(["$`\\]))', lambda match: match[1] or "", _text(node, source)[1:-1])


def _ansi(node: "Node", source: bytes) -> str:
    text = _text(node, source)[2:-1]
    return UNKNOWN if "\\" in text else text


def _joined(node: "Node", source: bytes) -> str:
    parts = [_literal(child, source) for child in node.children]
    return UNKNOWN if UNKNOWN in parts else "".join(parts)


def _translated(node: "Node", source: bytes) -> str:
    return _literal(node.children[-1], source) if node.child_count else UNKNOWN


def _text(node: "Node", source: bytes) -> str:
    return source[node.start_byte : node.end_byte].decode(errors="replace")


_LITERALS: dict[str, "Callable[[Node, bytes], str]"] = {
    "word": _unescaped,
    "number": _unescaped,
    "raw_string": _raw,
    "string": _quoted,
    "ansi_c_string": _ansi,
    "translated_string": _translated,
    "concatenation": _joined,
}
