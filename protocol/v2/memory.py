"""What is remembered from one thread to the next, and the files that threads are kept in."""

from protocol.methods import ClientRequest, reads_thread
from protocol.wire import Empty, UInt32, Wire


class ThreadMemoryReadParams(Wire):
    """Read what will be remembered of a thread."""

    thread_id: str


class ThreadMemoryReadResponse(Wire):
    """What is remembered of the thread, in words; None if nothing is."""

    summary: str | None = None


THREAD_MEMORY_READ = ClientRequest(
    "thread/memory/read",
    ThreadMemoryReadParams,
    ThreadMemoryReadResponse,
    experimental="thread/memory/read",
    order=reads_thread,
    access="read",
    availability="later",
)


class MemoryStatusParams(Wire):
    """Ask how far memories have been made. `min_consolidated_threads` (1 to 4096): this many are enough."""

    min_consolidated_threads: UInt32 | None = None


class MemoryStatusResponse(Wire):
    """How many threads have been made into memories of the second form, and whether these are enough to be used."""

    v2_consolidated_threads: UInt32
    v2_ready: bool


MEMORY_STATUS = ClientRequest(
    "memory/status",
    MemoryStatusParams,
    MemoryStatusResponse,
    experimental="memory/status",
    access="read",
    availability="later",
)


class MemoryResetResponse(Wire):
    """The memories are gone."""


MEMORY_RESET = ClientRequest("memory/reset", Empty, MemoryResetResponse, experimental="memory/reset", access="act")
"""Forget all memories: what is in the folders for them in $CODEX_HOME is removed."""


class RolloutCompressResponse(Wire):
    """Session files that are no longer written to take less space."""


ROLLOUT_COMPRESS = ClientRequest(
    "rollout/compress", Empty, RolloutCompressResponse, experimental="rollout/compress", access="act"
)
"""Compress old session files. Threads of this server are in a database, where there is nothing to compress."""
