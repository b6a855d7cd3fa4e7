"""What a command seems to do, for clients to show. Nothing is decided by it."""

import os.path
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise

from app_server.execpolicy.bash import QUICK_LENGTH, script_of, split
from app_server.execpolicy.quoting import join
from protocol.v2.item import (
    CommandAction,
    ListFilesCommandAction,
    ReadCommandAction,
    SearchCommandAction,
    UnknownCommandAction,
)


def actions(argv: Sequence[str], cwd: str) -> list[CommandAction]:
    """The `commandActions` of an item: one for each part that says something, or one `unknown` for the whole.

    Empty where the command only changes its own folder. A long script is not looked into.
    """
    script = script_of(argv)
    shown = join(argv) if script is None else script
    whole: list[CommandAction] = [UnknownCommandAction(command=shown)]
    if not argv or len(shown) > QUICK_LENGTH:
        return whole
    found = split(argv)
    if found.kind != "plain":
        return whole
    commands = list(found.commands)
    if len(commands) > 1:
        commands = [command for command in commands if not _is_formatting(command)]
        if not commands:
            return whole
        if len(commands) > 1 and commands[0][0] == "echo":
            commands = commands[1:]
    recognised: list[CommandAction] = []
    for command in commands:
        if command[0] == "cd":
            cwd = os.path.join(cwd, *_operands(command[1:])[-1:])
        elif len(found.commands) == 1 or command != ("true",):
            action = _action(command, cwd)
            if action is None:
                return whole
            if recognised[-1:] != [action]:
                recognised.append(action)
    match recognised:
        case [ReadCommandAction() as read] if "sed -n" in shown and " | " in shown:
            # Lines of a file: which ones is told by the rest of the pipeline.
            return [read.model_copy(update={"command": shown})]
        case _:
            return recognised


# Programs

_Words = tuple[str, ...]


def _action(command: _Words, cwd: str) -> CommandAction | None:
    shown = join(command)
    if command[:2] == ("git", "grep"):
        return _search(command[2:], shown, _GREP_VALUES)
    if command[:2] == ("git", "ls-files"):
        return _list(command[2:], shown, _LISTERS["git ls-files"])
    program, words = command[0], command[1:]
    if program in _LISTERS:
        return _list(words, shown, _LISTERS[program])
    if program in _SEARCHERS:
        return _search(words, shown, _SEARCHERS[program])
    if _PYTHON.fullmatch(program):
        lists = len(words) > 1 and words[0] == "-c" and _LISTING_CODE.search(words[1])
        return ListFilesCommandAction(command=shown) if lists else None
    if program == "find":
        return _find(words, shown)
    if program in ("fd", "fdfind"):
        return _fd(words, shown)
    file = _file_read(program, words)
    if file is None:
        return None
    path = os.path.normpath(os.path.join(cwd, file))
    return ReadCommandAction(command=shown, name=os.path.basename(file.rstrip("/")), path=path)


def _file_read(program: str, words: _Words) -> str | None:
    """The file that is shown, whole or in part."""
    if program in _PAGERS:
        operands = _operands(words, _PAGERS[program])
        return operands[0] if len(operands) == 1 and operands != ["-"] else None
    if program in ("head", "tail"):
        return _after_lines(words, _LINES[program])
    if program == "sed":
        match words:
            case ("-n", "-e", lines, *files) | ("-n", lines, *files) if _LINE_RANGE.fullmatch(lines):
                return next(iter(_operands(files)), None)
            case _:
                return None
    if program == "awk":
        return next(iter(_operands(words, _AWK_VALUES)[0 if "-f" in words else 1 :]), None)
    if program == "nl":
        return next(iter(_operands(words, _NL_VALUES)), None)
    return None


def _after_lines(words: _Words, number: re.Pattern[str]) -> str | None:
    if words[:1] == ("-n",):
        return words[2] if len(words) > 2 and number.fullmatch(words[1]) else None
    if words and words[0].startswith("-n"):
        return words[1] if len(words) > 1 and number.fullmatch(words[0][2:]) else None
    return words[0] if len(words) == 1 and not words[0].startswith(("-", "+")) else None


def _list(words: Sequence[str], shown: str, with_value: Collection[str]) -> CommandAction:
    return ListFilesCommandAction(command=shown, path=_shown_path(_operands(words, with_value), 0))


def _search(words: Sequence[str], shown: str, with_value: Collection[str]) -> CommandAction:
    if "--files" in words:
        return _list(words, shown, with_value)
    query: str | None = None
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if word in ("-e", "--regexp"):
            query = next(waiting, None) if query is None else query
        elif word == "--":
            rest.extend(waiting)
        elif word in with_value:
            next(waiting, None)
        elif not word.startswith("-"):
            rest.append(word)
    if query is None and rest and "-f" not in words:
        query = rest.pop(0)
    return SearchCommandAction(command=shown, query=query, path=_shown_path(rest, 0))


def _find(words: _Words, shown: str) -> CommandAction:
    start = next((at for at, word in enumerate(words) if word not in ("-L", "-H", "-P")), len(words))
    named = words[start] if start < len(words) and not words[start].startswith(("-", "(", "!")) else None
    path = None if named is None else _short(named)
    for option, value in pairwise(words):
        if option in _FIND_NAMES:
            return SearchCommandAction(command=shown, query=value, path=path)
    return ListFilesCommandAction(command=shown, path=path)


def _fd(words: _Words, shown: str) -> CommandAction:
    operands = _operands(words, _FD_VALUES)
    if not operands:
        return ListFilesCommandAction(command=shown)
    return SearchCommandAction(command=shown, query=operands[0], path=_shown_path(operands, 1))


def _is_formatting(command: _Words) -> bool:
    """Whether the command only shapes what another one shows."""
    program, words = command[0], command[1:]
    if program in _FORMATTERS:
        return True
    if program in ("head", "tail", "awk", "nl"):
        return _file_read(program, words) is None
    return program == "sed" and "-i" not in words and _file_read(program, words) is None


# Words


def _operands(words: Sequence[str], with_value: Collection[str] = ()) -> list[str]:
    """What is no option and no option's value; everything after `--`."""
    return list(_each_operand(words, with_value))


def _each_operand(words: Sequence[str], with_value: Collection[str]) -> Iterator[str]:
    waiting = iter(words)
    for word in waiting:
        if word == "--":
            yield from waiting
        elif word in with_value:
            next(waiting, None)
        elif not word.startswith("-") or word == "-":
            yield word


def _shown_path(operands: Sequence[str], position: int) -> str | None:
    return _short(operands[position]) if len(operands) > position else None


def _short(path: str) -> str:
    """The last part of the path that tells one project's folders apart."""
    parts = [part for part in path.rstrip("/").split("/") if part]
    telling = [part for part in parts if part not in _COMMON_FOLDERS]
    return telling[-1] if telling else path.strip("/")


_COMMON_FOLDERS = frozenset({"build", "dist", "node_modules", "src"})
_PYTHON = re.compile(r"python[0-9.]*")
_LISTING_CODE = re.compile(r"\bos\.(?:walk|listdir|scandir)\b|\bglob\b")
_LINE_RANGE = re.compile(r"[0-9]+(?:,[0-9]+)?p")
_LINES: Mapping[str, re.Pattern[str]] = {"head": re.compile(r"[0-9]+"), "tail": re.compile(r"\+?[0-9]+")}
_FIND_NAMES = frozenset({"-name", "-iname", "-path", "-regex"})
_FORMATTERS = frozenset({"column", "cut", "printf", "sort", "tee", "tr", "uniq", "wc", "xargs", "yes"})


def _options(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The options that take a value in a word of their own.
_NL_VALUES = _options("-b -d -f -h -i -l -n -s -v -w")
_AWK_VALUES = _options("-F -f -v")
_PAGERS: Mapping[str, Collection[str]] = {
    "cat": (),
    "bat": (_BAT := _options("-H -l -m -r --color --highlight-line --language --line-range --paging --style --theme")),
    "batcat": _BAT,
    "less": _options("-b -h -j -k -o -p -P -t -T -x -y -z"),
    "more": _options("-n"),
}
_LISTERS: Mapping[str, Collection[str]] = {
    "ls": (_LS := _options("-I -T -w --block-size --color --format --hide --ignore --sort --time --time-style")),
    "eza": (_EZA := _options("-I -L -s -t --color --ignore-glob --level --sort --time --time-style")),
    "exa": _EZA,
    "tree": _options("-H -I -L -o -P -T --charset --filelimit --sort --timefmt"),
    "du": _options("-B -d -t -X --block-size --exclude --max-depth --threshold --time-style"),
    "git ls-files": _options("-x -X --exclude --exclude-from --exclude-per-directory"),
}
_FD_VALUES = _options(
    "-c -d -e -E -j -S -t -x -X --base-directory --changed-before --changed-within --color --exclude --exec "
    "--exec-batch --extension --max-depth --min-depth --search-path --size --threads --type"
)
_GREP_VALUES = _options(
    "-A -B -C -d -D -f -m --after-context --before-context --context --exclude --exclude-dir --exclude-from --file "
    "--include --label --max-count"
)
_RG_VALUES = _GREP_VALUES | _options(
    "-E -g -j -M -r -t -T --color --colors --encoding --engine --glob --iglob --ignore-file --max-columns "
    "--max-depth --max-filesize --path-separator --pre --pre-glob --replace --sort --sortr --threads --type --type-not"
)
_AG_VALUES = _options(
    "-A -B -C -g -G -m -p --after --before --context --depth --file-search-regex --ignore --max-count"
)
_SEARCHERS: Mapping[str, Collection[str]] = {
    "rg": _RG_VALUES,
    "rga": _RG_VALUES,
    "ripgrep-all": _RG_VALUES,
    "grep": _GREP_VALUES,
    "egrep": _GREP_VALUES,
    "fgrep": _GREP_VALUES,
    "ag": _AG_VALUES,
    "ack": _AG_VALUES,
    "pt": _AG_VALUES,
}
