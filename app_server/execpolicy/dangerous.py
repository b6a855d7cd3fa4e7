"""What is known of commands without any rule: what destroys without asking back, and what no rule should allow."""

import os.path
import re
from collections.abc import Sequence

_FORCE = re.compile(r"-[A-Za-z]*f[A-Za-z]*")

_VERSION = re.compile(r"[0-9.]+$")

# Allowed as such, each of these would allow anything.
# fmt: off
_RUNNERS = frozenset(
    {
        "bash", "bun", "busybox", "cmd", "command", "csh", "dash", "deno", "doas", "env", "eval", "exec",
        "expect", "fish", "git", "ipython", "irb", "julia", "ksh", "lua", "luajit", "nice", "node", "nodejs",
        "nohup", "osascript", "perl", "php", "powershell", "pwsh", "py", "pypy", "python", "pythonw", "rm",
        "rscript", "ruby", "setsid", "sh", "source", "ssh", "su", "sudo", "tclsh", "tcsh", "time", "timeout",
        "ts-node", "tsx", "xargs", "zsh", "."
    }
)
# Words after which anything may follow just the same.
_CODE_FLAGS = frozenset(
    {
        "-", "--", "-c", "-e", "-lc", "-ic", "-p", "-r", "-Command", "-EncodedCommand", "-File", "--eval",
        "--command", "eval", "/c"
    }
)
# fmt: on
_SCRIPT_RUNNERS = frozenset({"npm", "pnpm", "yarn", "bun"})


def is_dangerous(argv: Sequence[str]) -> bool:
    """Whether this one command removes files without asking: `rm` with force, wherever the option stands."""
    if not argv or os.path.basename(argv[0]) != "rm":
        return False
    for word in argv[1:]:
        if word == "--":
            return False
        # GNU programs take the beginning of a long option for the whole.
        if _FORCE.fullmatch(word) or (len(word) > 2 and "--force".startswith(word)):
            return True
    return False


def allows_anything(prefix: Sequence[str]) -> bool:
    """Whether a rule that allows `prefix` would allow any program at all: a bare interpreter, shell or wrapper."""
    name = _VERSION.sub("", os.path.basename(prefix[0]).removesuffix(".exe")).lower()
    if len(prefix) == 1:
        return name in _RUNNERS
    if len(prefix) == 2:
        return (name in _RUNNERS and prefix[1] in _CODE_FLAGS) or (name in _SCRIPT_RUNNERS and prefix[1] == "run")
    return False
