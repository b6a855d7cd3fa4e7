"""A thread as a whole, for a report of a problem."""

from hashlib import sha256

from app_server.threads.manager import ThreadManager

PAGE = 100


async def transcript(threads: ThreadManager, thread_id: str, most_bytes: int) -> tuple[bytes, list[bytes]]:
    """The thread and its turns with their items as wire JSON, oldest first; of more than `most_bytes` the newest.

    Raises -32600 for a thread that is not here, and for one that is not stored.
    """
    row = await threads.row(thread_id)
    turns: list[bytes] = []
    left, cursor = most_bytes, None
    while True:
        page, rows = await threads.turns_page(thread_id, view="full", cursor=cursor, limit=PAGE, descending=True)
        for turn in page:
            left -= len(turn)
            if left < 0:
                break
            turns.append(turn)
        cursor = rows.next_cursor
        if cursor is None or left < 0:
            return threads.wire_thread(row).model_dump_json().encode(), turns[::-1]


def prompt_hash(threads: ThreadManager, thread_id: str) -> str | None:
    """SHA-256, in hexadecimal, of the base instructions of a loaded thread: how the model is told to work.

    None for a thread that is not loaded.
    """
    if (thread := threads.find(thread_id)) is None:
        return None
    return sha256((thread.settings.base_instructions or thread.base_instructions).encode()).hexdigest()
