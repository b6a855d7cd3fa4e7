"""diagnostics"""

from protocol.methods import ClientRequest
from protocol.wire import UInt, UInt32, Wire


class ServerDiagnosticsParams(Wire): ...


class ServerDiagnosticsGauge(Wire):
    name: str
    value: UInt


class ServerDiagnosticsProcess(Wire):
    id: UInt32
    physical_footprint_bytes: UInt | None = None
    resident_memory_bytes: UInt | None = None


class ServerDiagnosticsResponse(Wire):
    gauges: list[ServerDiagnosticsGauge]
    process: ServerDiagnosticsProcess


SERVER_DIAGNOSTICS = ClientRequest(
    "server/diagnostics",
    ServerDiagnosticsParams,
    ServerDiagnosticsResponse,
    experimental="server/diagnostics",
    access="read",
    availability="later",
)


class MockExperimentalMethodParams(Wire):
    value: str | None = None


class MockExperimentalMethodResponse(Wire):
    echoed: str | None = None


MOCK_EXPERIMENTAL_METHOD = ClientRequest(
    "mock/experimentalMethod",
    MockExperimentalMethodParams,
    MockExperimentalMethodResponse,
    experimental="mock/experimentalMethod",
    access="read",
    availability="later",
)
