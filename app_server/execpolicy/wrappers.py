"""Programs that run another command: what stands behind them."""

import os.path
import re
from collections.abc import Mapping, Sequence

UNKNOWN = "\0"
"""A word that only the run will tell. No argument can hold this character."""

_SCRIPT_SHELLS = frozenset({"bash", "sh", "zsh", "dash", "ksh"})
_SCRIPT_FLAG = re.compile(r"-[A-Za-z]*c[A-Za-z]*")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")

# Words of the shell's own that may stand before a command: the parser takes some for the command's name.
_RESERVED = ("!", "{", "coproc", "do", "elif", "else", "if", "then", "until", "while")

# The options of each that take a value in a word of their own.
_WRAPPERS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(_RESERVED, frozenset()),
    "builtin": frozenset(),
    "command": frozenset(),
    "doas": frozenset({"-a", "-C", "-u"}),
    "env": frozenset({"-u", "--unset", "-C", "--chdir"}),
    "exec": frozenset({"-a"}),
    "nice": frozenset({"-n", "--adjustment"}),
    "nohup": frozenset(),
    "setsid": frozenset(),
    "sudo": frozenset({"-C", "-D", "-g", "-h", "-p", "-R", "-r", "-T", "-t", "-U", "-u", "--user", "--group"}),
    "time": frozenset({"-f", "--format", "-o", "--output"}),
    "timeout": frozenset({"-k", "--kill-after", "-s", "--signal"}),
}


def inner_command(argv: Sequence[str]) -> tuple[str, ...] | None:
    """The command behind `sudo`, `env`, `nohup` and their like, without their own options; None without one."""
    if not argv:
        return None
    name = os.path.basename(argv[0])
    options = _WRAPPERS.get(name)
    if options is None:
        # What the parser takes for a command's name may be an assignment to zsh: "é=1 git push".
        return tuple(argv[1:]) or None if "=" in argv[0] and not argv[0].isascii() else None
    words = list(argv[1:])
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "--":
            break
        if option in options and words:
            words.pop(0)
    if name in _RESERVED or name in ("env", "sudo"):
        while words and _ASSIGNMENT.match(words[0]):
            words.pop(0)
    elif name == "timeout":
        words = words[1:]
    return tuple(words) or None


def inner_script(argv: Sequence[str]) -> str | None:
    """The script that a shell, `eval` or `trap` is given in the command's words; None where none can be told."""
    if not argv:
        return None
    name, words = os.path.basename(argv[0]), argv[1:]
    script: str | None = None
    if name in _SCRIPT_SHELLS:
        for position, word in enumerate(words[:-1]):
            if _SCRIPT_FLAG.fullmatch(word):
                script = words[position + 1]
                break
            if not word.startswith(("-", "+")):
                break
    elif name == "eval":
        script = " ".join(words)
    elif name == "trap" and len(words) > 1:
        script = words[0]
    return None if script is None or UNKNOWN in script else script
