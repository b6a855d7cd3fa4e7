"""The sandbox of Windows: what it needs to be set up, and what it warns of. On other systems it is never ready."""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import AbsolutePath, Empty, UInt, Wire

WindowsSandboxSetupMode = Literal["elevated", "unelevated"]
"""With the rights of an administrator, or in the weaker form without."""


class WindowsSandboxSetupStartParams(Wire):
    """Set the sandbox up, for work in `cwd`."""

    mode: WindowsSandboxSetupMode
    cwd: AbsolutePath | None = None


class WindowsSandboxSetupStartResponse(Wire):
    """It goes on in the background; `windowsSandbox/setupCompleted` tells the end."""

    started: bool


WINDOWS_SANDBOX_SETUP_START = ClientRequest(
    "windowsSandbox/setupStart", WindowsSandboxSetupStartParams, WindowsSandboxSetupStartResponse
)


WindowsSandboxReadiness = Literal["ready", "notConfigured", "updateRequired"]
"""`updateRequired`: it was set up by an older program."""


class WindowsSandboxReadinessResponse(Wire):
    """Whether commands can be confined by it."""

    status: WindowsSandboxReadiness


WINDOWS_SANDBOX_READINESS = ClientRequest(
    "windowsSandbox/readiness", Empty, WindowsSandboxReadinessResponse, access="read"
)
"""Ask whether commands can be confined by it."""


class WindowsWorldWritableWarningNotification(Wire):
    """Folders that everybody may write, which the sandbox cannot protect: some of them, and how many more there are.

    `failed_scan` says that not all folders could be looked at.
    """

    extra_count: UInt
    failed_scan: bool
    sample_paths: list[str]


WINDOWS_WORLD_WRITABLE_WARNING = ServerNotification(
    "windows/worldWritableWarning", WindowsWorldWritableWarningNotification
)


class WindowsSandboxSetupCompletedNotification(Wire):
    """The end of a setup, for the client that began it; `error` says why it failed."""

    mode: WindowsSandboxSetupMode
    success: bool
    error: str | None = None


WINDOWS_SANDBOX_SETUP_COMPLETED = ServerNotification(
    "windowsSandbox/setupCompleted", WindowsSandboxSetupCompletedNotification
)
