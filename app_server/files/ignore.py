"""Which files a search leaves out: .gitignore and its relatives, read without git."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

Signature = tuple[int, int, int] | None
"""Inode, size and time of change of a file; None where there is none."""

_MAX_BYTES = 1024 * 1024
_ALTERNATIVES = 200
_SPECIAL = re.compile(r"[*?\[\\]")
_POSIX = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "digit": "0-9",
    "lower": "a-z",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


class _Patterns(Struct):
    """Patterns of which any may match: names as they are, names with wildcards, paths below the file's folder."""

    literals: set[str] = field(default_factory=set[str])
    names: list[str] = field(default_factory=list[str])
    paths: list[str] = field(default_factory=list[str])
    name_tests: list[Callable[[str], object]] = field(default_factory=list[Callable[[str], object]])
    path_tests: list[Callable[[str], object]] = field(default_factory=list[Callable[[str], object]])

    def compile(self) -> None:
        for sources, tests in ((self.names, self.name_tests), (self.paths, self.path_tests)):
            for start in range(0, len(sources), _ALTERNATIVES):
                part = "|".join(sources[start : start + _ALTERNATIVES])
                tests.append(re.compile(rf"(?s:{part})\Z").match)

    def match(self, name: str, path: str) -> bool:
        if name in self.literals or any(test(name) for test in self.name_tests):
            return True
        return any(test(path) for test in self.path_tests)


class _Run(Struct):
    """Lines that follow each other and say the same: leave out, or (`!`) do not."""

    leaves_out: bool
    any: _Patterns = field(default_factory=_Patterns)
    folders: _Patterns = field(default_factory=_Patterns)


class IgnoreFile:
    """The lines of one file, for what is below `folder` (an absolute path). The last line that matches decides."""

    __slots__ = ("_runs", "_skip")

    def __init__(self, folder: str, lines: Iterable[str] = ()) -> None:
        self._skip = len(folder.rstrip("/")) + 1
        runs: list[_Run] = []
        for line in lines:
            if (parsed := _parse(line)) is None:
                continue
            leaves_out, only_folders, anchored, text = parsed
            if not runs or runs[-1].leaves_out != leaves_out:
                runs.append(_Run(leaves_out))
            patterns = runs[-1].folders if only_folders else runs[-1].any
            if not anchored and not _SPECIAL.search(text):
                patterns.literals.add(text)
            elif (source := _source(text)) is not None:
                (patterns.paths if anchored else patterns.names).append(source)
        for run in runs:
            run.any.compile()
            run.folders.compile()
        self._runs = tuple(reversed(runs))

    def at(self, folder: str) -> "IgnoreFile":
        """The same lines for what is below another folder."""
        moved = IgnoreFile(folder)
        moved._runs = self._runs
        return moved

    def verdict(self, name: str, path: str, is_folder: bool) -> bool | None:
        """Whether the entry `name` at the absolute `path` is left out; None if no line speaks of it."""
        below = path[self._skip :]
        for run in self._runs:
            if run.any.match(name, below) or (is_folder and run.folders.match(name, below)):
                return run.leaves_out
        return None


def _parse(line: str) -> tuple[bool, bool, bool, str] | None:
    """Whether it leaves out, is about folders only, is about a path and not a name, and the pattern."""
    if line.startswith("#"):
        return None
    text = line.rstrip("\r\n")
    bare = text.rstrip(" ")
    # A space that is escaped stays; so does one whose backslash is not itself escaped.
    backslashes = len(bare) - len(bare.rstrip("\\"))
    text = bare + " " if backslashes % 2 and len(text) > len(bare) else bare
    leaves_out = not text.startswith("!")
    text = text[not leaves_out :]
    only_folders = text.endswith("/")
    text = text.rstrip("/") if only_folders else text
    anchored = "/" in text
    text = text.removeprefix("/")
    return (leaves_out, only_folders, anchored, text) if text else None


def _source(pattern: str) -> str | None:
    """The regular expression of a pattern; None for one that matches nothing.

    Whatever the pattern is, matching takes no more than the product of the lengths: of parts that stand between
    wildcards the first place that fits is as good as any other, so it is never given up again.
    """
    groups: list[list[str]] = [[]]
    for part in pattern.split("/"):
        if part == "**":
            groups.append([])
        elif (source := _part_source(part)) is None:
            return None
        else:
            groups[-1].append(source)
    first, *others = ["/".join(group) for group in groups]
    if not others:
        return f"(?:{first})"
    pieces = [f"{first}/"] if first else []
    last = others.pop()
    pieces += [f"(?>(?:[^/]+/)*?{other}/)" for other in others if other]
    pieces.append(f"(?:[^/]+/)*{last}" if last else ".+")
    return f"(?:{''.join(pieces)})"


def _part_source(part: str) -> str | None:
    chunks = [""]
    position = 0
    while position < len(part):
        char = part[position]
        position += 1
        if char == "*":
            if chunks[-1] or len(chunks) == 1:
                chunks.append("")
        elif char == "?":
            chunks[-1] += "[^/]"
        elif char == "[":
            closed = _class_source(part, position)
            if closed is None:
                return None
            source, position = closed
            chunks[-1] += source
        elif char == "\\":
            if position == len(part):
                return None
            chunks[-1] += re.escape(part[position])
            position += 1
        else:
            chunks[-1] += re.escape(char)
    first, *others = chunks
    if not others:
        return first
    last = others.pop()
    return f"{first}{''.join(f'(?>[^/]*?{chunk})' for chunk in others)}[^/]*{last}"


def _class_source(part: str, position: int) -> tuple[str, int] | None:
    """The class that begins after `[`, and where it ends."""
    negated = part[position : position + 1] in ("!", "^")
    start = position = position + negated
    members = ""
    while position < len(part) and (part[position] != "]" or position == start):
        named = re.compile(r"\[:(\w+):\]").match(part, position)
        if named is not None and named[1] in _POSIX:
            members += _POSIX[named[1]]
            position = named.end()
            continue
        escaped = part[position] == "\\" and position + 1 < len(part)
        position += escaped
        char = part[position]
        is_range = char == "-" and not escaped and not members.endswith("-")
        members += char if is_range else re.escape(char)
        position += 1
    if position >= len(part):
        return None
    source = f"(?!/)[{'^' if negated else ''}{members}]"
    try:
        re.compile(source)
    except re.error:
        return None
    return source, position + 1


class Scope(Struct, frozen=True, eq=False):
    """All that decides what is left out of a folder. The nearest file that says something about an entry counts,
    files called .ignore before .gitignore, and these before the excludes of the repository and of the user."""

    plain: tuple[IgnoreFile, ...] = ()
    git: tuple[IgnoreFile, ...] = ()
    repository: tuple[IgnoreFile, ...] = ()
    user: tuple[IgnoreFile, ...] = ()
    in_repository: bool = False

    def chain(self) -> Sequence[IgnoreFile]:
        """The files in the order in which they are asked."""
        if not self.in_repository:
            return self.plain
        return (*self.plain, *self.git, *self.repository, *self.user)

    def inside(self, folder: str, names: Iterable[str]) -> "tuple[Scope, dict[str, Signature]]":
        """What decides in `folder` (an absolute path) that has these of the names in `TELLING`.

        Also returns what was read or looked for: while it has the same signatures, the scope is the same.
        """
        scope, seen, names = self, dict[str, Signature](), set(names)
        if ".git" in names:
            repository = _repository_excludes(folder, seen)
            user = tuple(file.at(folder) for file in scope.user)
            scope = replace(scope, git=(), repository=repository, user=user, in_repository=True)
        if ".gitignore" in names and scope.in_repository:
            scope = replace(scope, git=(*_read(f"{folder}/.gitignore", folder, seen), *scope.git))
        if ".ignore" in names:
            scope = replace(scope, plain=(*_read(f"{folder}/.ignore", folder, seen), *scope.plain))
        return scope, seen


TELLING = frozenset({".git", ".gitignore", ".ignore"})
"""The names that change what is left out of the folder they are in."""


def scope_of_root(root: str) -> tuple[Scope, dict[str, Signature]]:
    """What decides at the absolute path `root`, by the folders above it and the user's own settings; see `inside`."""
    seen: dict[str, Signature] = {}
    scope = Scope(user=_user_excludes(seen))
    for folder in _folders_above(root):
        present: list[str] = []
        for name in TELLING:
            path = os.path.join(folder, name)
            seen[path] = signature(path)
            if seen[path] is not None:
                present.append(name)
        scope, read = scope.inside(folder.rstrip("/"), present)
        seen.update(read)
    return scope, seen


def signature(path: str) -> Signature:
    """What is there now, so that a change can be told."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return (state.st_ino, state.st_size, state.st_mtime_ns)


def _folders_above(root: str) -> Iterator[str]:
    if root == "/":
        return
    parts = root.split("/")[1:-1]
    yield "/"
    for count in range(1, len(parts) + 1):
        yield "/" + "/".join(parts[:count])


def _read(path: str, folder: str, seen: dict[str, Signature]) -> tuple[IgnoreFile, ...]:
    seen[path] = signature(path)
    if seen[path] is None or not os.path.isfile(path):
        return ()
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_BYTES).decode(errors="surrogateescape")
    except OSError:
        return ()
    return (IgnoreFile(folder, text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").split("\n")),)


def _repository_excludes(folder: str, seen: dict[str, Signature]) -> tuple[IgnoreFile, ...]:
    # In a work tree, .git is a file that names a folder, which names the folder of the repository.
    git = f"{folder}/.git"
    if os.path.isfile(git):
        named = _first_line(git, seen).removeprefix("gitdir:").strip()
        git = os.path.normpath(os.path.join(folder, named))
        common = _first_line(f"{git}/commondir", seen).strip()
        git = os.path.normpath(os.path.join(git, common))
    return _read(f"{git}/info/exclude", folder, seen)


def _first_line(path: str, seen: dict[str, Signature]) -> str:
    seen[path] = signature(path)
    try:
        with open(path, "rb") as file:
            return file.readline(4096).decode(errors="surrogateescape")
    except (OSError, ValueError):
        return ""


def _user_excludes(seen: dict[str, Signature]) -> tuple[IgnoreFile, ...]:
    home = os.path.expanduser("~")
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    excludes = os.path.join(config, "git", "ignore")
    for settings in (os.path.join(config, "git", "config"), os.path.join(home, ".gitconfig")):
        seen[settings] = signature(settings)
        if seen[settings] is not None and (named := _excludes_file(settings)):
            excludes = os.path.join(home, os.path.expanduser(named))
    return _read(excludes, "/", seen)


def _excludes_file(settings: str) -> str | None:
    """core.excludesFile of a configuration of git; without what that file includes."""
    section, found = "", None
    try:
        with open(settings, encoding="utf-8", errors="surrogateescape") as file:
            for line in file.read(_MAX_BYTES).split("\n"):
                if header := re.match(r"\s*\[\s*([\w.-]+)", line):
                    section = header[1].lower()
                elif section == "core" and (value := re.match(r"(?i)\s*excludesfile\s*=\s*(.*?)\s*$", line)):
                    found = value[1].strip('"')
    except OSError:
        return None
    return found
