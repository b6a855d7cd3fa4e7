"""The ways to confine commands on Linux, by name."""

from app_server.sandbox.bubblewrap import Bubblewrap
from app_server.sandbox.landlock import Landlock
from app_server.sandbox.sandbox import Sandbox

BACKENDS = ("bubblewrap", "landlock")


def backend_named(name: str) -> Sandbox:
    """A new one, not probed yet."""
    return Bubblewrap() if name == "bubblewrap" else Landlock()
