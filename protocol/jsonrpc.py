"""The envelope: ids, error codes and the error that handlers raise."""

from typing import Any

RequestId = str | int
"""Echoed as it came; a bool, float or null is no id."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
OVERLOADED = -32001


class RpcError(Exception):
    """An answer that is an error: `code`, a sentence for the user, and optional `data` for programs."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


def invalid_request(message: str) -> RpcError:
    """The client asked for something that cannot be done as asked (-32600)."""
    return RpcError(INVALID_REQUEST, message)


def invalid_params(message: str) -> RpcError:
    """A value is of the right type and still not allowed (-32602)."""
    return RpcError(INVALID_PARAMS, message)


def internal_error(message: str) -> RpcError:
    """The server could not do it for a reason the user may know (-32603)."""
    return RpcError(INTERNAL_ERROR, message)
