"""Nothing in this room may block the loop."""

from tests.support.blocking import nothing_blocks

__all__ = ["nothing_blocks"]
