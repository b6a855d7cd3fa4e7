"""What a program may use up at the proxy."""

import resource

from msgspec import Struct


class Limits(Struct, frozen=True):
    """Connections at once, and seconds of waiting.

    `unproven` connections have not shown a credential yet; beyond that number the oldest one gives way. `idle_seconds`
    is for exchanges and tunnels in which nothing moves, `keep_alive_seconds` for connections between two requests.
    `half_closed_seconds` is what a response may take after the program has ended its side.
    """

    per_command: int = 256
    in_all: int = 2048
    unproven: int = 128
    head_seconds: float = 10.0
    keep_alive_seconds: float = 60.0
    idle_seconds: float = 900.0
    half_closed_seconds: float = 5.0
    linger_seconds: float = 1.0
    linger_bytes: int = 1024 * 1024


def usual_limits(descriptors: int | None = None) -> Limits:
    """Limits for a process that may have so many descriptors, by default this one.

    A connection takes two. All of them together leave the daemon half of what it has, and one command leaves half of
    that to others.
    """
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if descriptors is None else descriptors
    if soft == resource.RLIM_INFINITY:
        return Limits()
    usual = Limits()
    in_all = max(16, min(usual.in_all, soft // 4))
    return Limits(min(usual.per_command, in_all // 2), in_all, min(usual.unproven, in_all // 2))
