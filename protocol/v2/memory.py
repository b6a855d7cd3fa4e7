"""memory"""

from protocol.methods import ClientRequest
from protocol.wire import Empty, UInt32, Wire


class ThreadMemoryReadParams(Wire):
    thread_id: str


class ThreadMemoryReadResponse(Wire):
    summary: str | None = None


THREAD_MEMORY_READ = ClientRequest(
    "thread/memory/read",
    ThreadMemoryReadParams,
    ThreadMemoryReadResponse,
    experimental="thread/memory/read",
    access="read",
    availability="later",
)


class MemoryStatusParams(Wire):
    min_consolidated_threads: UInt32 | None = None


class MemoryStatusResponse(Wire):
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


class MemoryResetResponse(Wire): ...


MEMORY_RESET = ClientRequest(
    "memory/reset", Empty, MemoryResetResponse, experimental="memory/reset", access="act", availability="later"
)


class RolloutCompressResponse(Wire): ...


ROLLOUT_COMPRESS = ClientRequest(
    "rollout/compress",
    Empty,
    RolloutCompressResponse,
    experimental="rollout/compress",
    access="act",
    availability="later",
)
