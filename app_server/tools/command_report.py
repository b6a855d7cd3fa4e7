"""What the model reads of a command: how it ended or that it runs on, and its output within a budget of tokens."""

import secrets

from app_server.tools.terminals import Terminal, Unread

BYTES_PER_TOKEN = 4
"""A rough measure that is good enough for cutting output."""

DEFAULT_OUTPUT_TOKENS = 10_000


def report(terminal: Terminal, unread: Unread, seconds: float, max_tokens: int) -> str:
    """The result of a call that waited so many seconds for a terminal."""
    if terminal.ended.is_set():
        state = f"Process exited with code {terminal.exit_code}"
    else:
        state = f"Process running with session ID {terminal.number}"
    return (
        f"Chunk ID: {secrets.token_hex(3)}\n"
        f"Wall time: {seconds:.4f} seconds\n"
        f"{state}\n"
        f"Original token count: {tokens(unread.size)}\n"
        f"Output:\n{within_budget(unread, max_tokens)}"
    )


def denied(terminal: Terminal, max_tokens: int) -> str:
    """Why the network of a command that has ended was denied, and what it had printed since it was last looked at."""
    assert terminal.denial is not None
    unread = terminal.take_unread()
    if not unread.size:
        return terminal.denial.reason
    return f"{terminal.denial.reason}\nOutput:\n{within_budget(unread, max_tokens)}"


def aborted(seconds: float, terminal: Terminal | None = None) -> str:
    """The result of a call that the user ended by stopping the turn; the command of a terminal runs on."""
    text = f"Wall time: {seconds:.1f} seconds\naborted by user"
    return text if terminal is None else f"{text}\nProcess running with session ID {terminal.number}"


def within_budget(unread: Unread, max_tokens: int) -> str:
    """The output, or its beginning and its end with a count of what is missing between them."""
    budget = max_tokens * BYTES_PER_TOKEN
    if unread.size <= budget:
        return unread.text
    data = unread.text.encode()
    head = data[: budget // 2].decode("utf-8", "ignore")
    tail = data[max(0, len(data) - (budget - budget // 2)) :].decode("utf-8", "ignore")
    missing = unread.size - len(head.encode()) - len(tail.encode())
    return (
        f"Warning: truncated output (original token count: {tokens(unread.size)})\n"
        f"Total output lines: {unread.lines}\n\n"
        f"{head}…{tokens(missing)} tokens truncated…{tail}"
    )


def cut_middle(text: str, limit: int) -> str:
    """`text` with its middle replaced by a count once it has more than `limit` characters."""
    if len(text) <= limit:
        return text
    head = limit // 2
    tail = limit - head
    return f"{text[:head]}\n[... {len(text) - limit} characters cut ...]\n{text[len(text) - tail :]}"


def tokens(size: int) -> int:
    """About how many tokens so many bytes are, rounded up."""
    return -(-size // BYTES_PER_TOKEN)
