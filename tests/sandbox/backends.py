"""The ways to confine commands on Linux, by name."""

from app_server.sandbox.bubblewrap import Bubblewrap
from app_server.sandbox.landlock import Landlock
from app_server.sandbox.sandbox import Confinement, Sandbox, SandboxUnavailable

BACKENDS = ("bubblewrap", "landlock")


def backend_named(name: str) -> Sandbox:
    """A new one, not probed yet."""
    return Bubblewrap() if name == "bubblewrap" else Landlock()


async def usable_backends() -> dict[str, Confinement | str]:
    """The backends of this machine, or why one cannot be used."""
    found: dict[str, Confinement | str] = {}
    for name in BACKENDS:
        found[name] = backend = Confinement(backend_named(name))
        try:
            await backend.available()
        except SandboxUnavailable as error:
            found[name] = str(error)
    return found
