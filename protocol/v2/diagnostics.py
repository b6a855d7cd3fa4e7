"""How the server is: numbers for people who look after it; and a method to try the capability with."""

from protocol.methods import ClientRequest
from protocol.wire import UInt, UInt32, Wire


class ServerDiagnosticsParams(Wire):
    """Ask for the numbers of now."""


class ServerDiagnosticsGauge(Wire):
    """One number. Its `name` is dotted, from the part of the program to what is counted; the unit, where it is no
    count, ends the name (`store.bytes`, `app.event_loop.lag_us`). Which there are may change.
    """

    name: str
    value: UInt


class ServerDiagnosticsProcess(Wire):
    """The server's process: its id, and its memory in bytes.

    `physical_footprint_bytes` is macOS's measure. None is what the system does not tell.
    """

    id: UInt32
    physical_footprint_bytes: UInt | None = None
    resident_memory_bytes: UInt | None = None


class ServerDiagnosticsResponse(Wire):
    """The process, and its gauges by name."""

    gauges: list[ServerDiagnosticsGauge]
    process: ServerDiagnosticsProcess


SERVER_DIAGNOSTICS = ClientRequest(
    "server/diagnostics",
    ServerDiagnosticsParams,
    ServerDiagnosticsResponse,
    experimental="server/diagnostics",
    access="read",
)


class MockExperimentalMethodParams(Wire):
    """Any text."""

    value: str | None = None


class MockExperimentalMethodResponse(Wire):
    """The text that came, None if none did."""

    echoed: str | None = None


MOCK_EXPERIMENTAL_METHOD = ClientRequest(
    "mock/experimentalMethod",
    MockExperimentalMethodParams,
    MockExperimentalMethodResponse,
    experimental="mock/experimentalMethod",
    access="read",
)
"""For trying out whether the client has the `experimentalApi` capability."""
