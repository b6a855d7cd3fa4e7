"""Versions: ours, and the one of the protocol's reference that clients take us for."""

from typing import Final

TURNLOOM_VERSION: Final = "0.1.0"

PROTOCOL_VERSION: Final = "0.169.0"
"""Clients gate features on the first version in `userAgent` and on `Thread.cliVersion`."""
