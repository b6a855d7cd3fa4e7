"""Whether a command failed because the sandbox stopped it, as far as its end and its output tell."""

import signal
import sys

SIGNS = (
    "operation not permitted",
    "permission denied",
    "read-only file system",
    "seccomp",
    "sandbox",
    "landlock",
    "failed to write file",
)
"""What programs and systems say, in lower case, when something was refused."""

OTHER_CAUSES = (2, 126, 127)
"""Exit codes of wrong usage, of a program that cannot be executed, and of one that is missing."""


def was_denied(exit_code: int, output: str | bytes, *, sandboxed: bool) -> bool:
    """Whether a command was probably denied something by its sandbox; `output` is both streams.

    It is a guess, for whom to ask or tell something helpful: nothing may be allowed because of it.
    """
    if not sandboxed or exit_code == 0:
        return False
    text = output if isinstance(output, str) else output.decode("utf-8", "replace")
    text = text.lower()
    if any(sign in text for sign in SIGNS):
        return True
    if exit_code in OTHER_CAUSES:
        return False
    return sys.platform.startswith("linux") and exit_code == 128 + signal.SIGSYS
