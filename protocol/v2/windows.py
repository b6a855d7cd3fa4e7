"""windows"""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import AbsolutePath, Empty, UInt, Wire

WindowsSandboxSetupMode = Literal["elevated", "unelevated"]


class WindowsSandboxSetupStartParams(Wire):
    mode: WindowsSandboxSetupMode
    cwd: AbsolutePath | None = None


class WindowsSandboxSetupStartResponse(Wire):
    started: bool


WINDOWS_SANDBOX_SETUP_START = ClientRequest(
    "windowsSandbox/setupStart", WindowsSandboxSetupStartParams, WindowsSandboxSetupStartResponse, availability="later"
)


WindowsSandboxReadiness = Literal["ready", "notConfigured", "updateRequired"]


class WindowsSandboxReadinessResponse(Wire):
    status: WindowsSandboxReadiness


WINDOWS_SANDBOX_READINESS = ClientRequest(
    "windowsSandbox/readiness", Empty, WindowsSandboxReadinessResponse, access="read", availability="later"
)


class WindowsWorldWritableWarningNotification(Wire):
    extra_count: UInt
    failed_scan: bool
    sample_paths: list[str]


WINDOWS_WORLD_WRITABLE_WARNING = ServerNotification(
    "windows/worldWritableWarning", WindowsWorldWritableWarningNotification
)


class WindowsSandboxSetupCompletedNotification(Wire):
    mode: WindowsSandboxSetupMode
    success: bool
    error: str | None = None


WINDOWS_SANDBOX_SETUP_COMPLETED = ServerNotification(
    "windowsSandbox/setupCompleted", WindowsSandboxSetupCompletedNotification
)
