"""The door for requests: jsonrpcserver finds the method, and the params are checked."""

import sys
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from inspect import BoundArguments, Signature
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from app_server.rpc.experimental import refusal, refuse_experimental_fields
from app_server.rpc.params import validated
from protocol.jsonrpc import RpcError, invalid_request

if TYPE_CHECKING:
    from app_server.rpc.connection import Connection
    from app_server.rpc.dispatch import Endpoint, Surface


def open_door(surface: "Surface[Any]") -> "Callable[[Connection, dict[str, Any]], Any]":
    """Find the method and check the params by jsonrpcserver, which returns the call unmade, or an RpcError.

    Its own asynchronous dispatch would run handlers in tasks outside the connection's task group, and its errors
    have other codes than clients of this protocol expect; both are mapped here and nowhere else.
    """
    _import_jsonrpcserver()
    from jsonrpcserver import Error, Success
    from jsonrpcserver.codes import ERROR_METHOD_NOT_FOUND
    from jsonrpcserver.dispatcher import dispatch_request
    from jsonrpcserver.request import Request

    def method(endpoint: "Endpoint[Any]") -> Callable[..., Any]:
        descriptor = endpoint.descriptor

        def check(connection: "Connection", params: Any) -> Any:
            try:
                if not connection.experimental:
                    if descriptor.experimental is not None:
                        raise refusal(descriptor.experimental)
                    if isinstance(params, dict):
                        refuse_experimental_fields(descriptor.params, cast("dict[str, Any]", params))
                return Success((endpoint, validated(descriptor.params, params)))
            except RpcError as error:
                return Error(error.code, error.message, error.data)

        check.__signature__ = _Fitting()
        return check

    methods: dict[str, Callable[..., Any]] = {}

    def call(connection: "Connection", envelope: dict[str, Any]) -> Any:
        name = envelope["method"]
        if name not in methods and (endpoint := surface.find(name)) is not None:
            methods[name] = method(endpoint)
        # The message is decoded and its envelope checked already, so only this part of a dispatch is left.
        request = Request(name, [envelope.get("params")], envelope["id"])
        result: Any = dispatch_request(methods, connection, request)[1]
        if hasattr(result, "_value"):
            return result._value.result
        error = result._error
        if error.code == ERROR_METHOD_NOT_FOUND:
            return invalid_request(f"Invalid request: unknown method `{name}`")
        return RpcError(error.code, error.message, error.data)

    return call


class _Fitting(Signature):
    """The signature of functions that are always called with what they take.

    jsonrpcserver binds the arguments of every call to learn whether they fit, which costs a fifth of a small request.
    """

    def bind(self, *args: Any, **kwargs: Any) -> BoundArguments:
        return BoundArguments(self, OrderedDict())


class _NoValidator:
    """Stands for the validator of the envelopes that jsonrpcserver would decode itself; here it never does."""

    def __init__(self, schema: Any) -> None:
        pass

    @staticmethod
    def check_schema(schema: Any) -> None:
        """Nothing to check."""

    def validate(self, message: Any) -> None:
        """Never called; if it is, nothing was checked."""
        raise NotImplementedError("envelopes are checked before they come to jsonrpcserver")


def _no_validator_for(_schema: Any) -> type[_NoValidator]:
    return _NoValidator


def _import_jsonrpcserver() -> None:
    """Import it without jsonschema, which the first request of a daemon would wait 40 ms for."""
    if "jsonrpcserver" in sys.modules or "jsonschema" in sys.modules:
        return
    package, validators = ModuleType("jsonschema"), ModuleType("jsonschema.validators")
    vars(validators)["validator_for"] = _no_validator_for
    stand_ins = {"jsonschema": package, "jsonschema.validators": validators}
    sys.modules.update(stand_ins)
    try:
        import_module("jsonrpcserver")
    finally:
        for name in stand_ins:
            del sys.modules[name]
