"""Recognising a patch that the model wrote as a shell command: `apply_patch` fed by a heredoc."""

import os
import re
from collections.abc import Sequence

from msgspec import Struct

from app_server.tools.patch import BEGIN, END

_NAMES = ("apply_patch", "applypatch")
_SHELLS = ("bash", "sh", "zsh")
_WORD = r"(?:'[^']*'|\"[^\"$`\\!]*\"|[\w./:@%+,=-]+)"
_COMMAND = re.compile(
    rf"\s*(?:cd[ \t]+(?P<folder>{_WORD})[ \t]*&&\s*)?"
    rf"(?:{'|'.join(_NAMES)})[ \t]*"
    rf"(?:<<(?P<tabs>-?)[ \t]*(?P<quote>['\"]?)(?P<delimiter>\w+)(?P=quote)[ \t]*\n(?P<body>.*)|(?P<text>'[^']*')\s*)",
    re.DOTALL,
)


class PatchCommand(Struct, frozen=True):
    """A command that only applies a patch: its text, valid or not, and the absolute folder that its paths begin at."""

    text: str
    cwd: str


def intercept(command: str | Sequence[str], cwd: str) -> PatchCommand | None:
    """The patch, if a command does nothing but to apply one; None for every other command.

    `command` is a script, or an argv: of `apply_patch` itself, or of a shell with `-c` or `-lc`. A script may change
    the folder first (`cd DIR && apply_patch <<'EOF'`). A script that is itself a patch counts too.
    """
    if isinstance(command, str):
        return _in_script(command, cwd)
    match list(command):
        case [name, text] if os.path.basename(name) in _NAMES:
            return PatchCommand(text, cwd)
        case [shell, "-c" | "-lc", script] if os.path.basename(shell) in _SHELLS:
            return _in_script(script, cwd)
        case _:
            return None


def _in_script(script: str, cwd: str) -> PatchCommand | None:
    bare = script.strip()
    if bare.startswith(BEGIN + "\n") and bare.endswith("\n" + END):
        return PatchCommand(bare, cwd)
    found = _COMMAND.fullmatch(script)
    if found is None:
        return None
    text = found["text"][1:-1] if found["text"] else _document(found["body"], found["delimiter"], bool(found["tabs"]))
    if text is None:
        return None
    folder = found["folder"] or "."
    if folder[0] in "'\"":
        folder = folder[1:-1]
    if not folder or folder.startswith("-"):
        return None
    return PatchCommand(text, os.path.normpath(os.path.join(cwd, folder)))


def _document(body: str, delimiter: str, tabs: bool) -> str | None:
    """What stands before the line with the delimiter, if nothing comes after it."""
    lines = [line.lstrip("\t") for line in body.split("\n")] if tabs else body.split("\n")
    if delimiter not in lines:
        return None
    end = lines.index(delimiter)
    if any(line.strip() for line in lines[end + 1 :]):
        return None
    return "\n".join(lines[:end])
