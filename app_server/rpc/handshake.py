"""initialize: read and answered without the libraries that everything else needs, because clients wait for it."""

from typing import Any, cast

import orjson
from msgspec import Struct

METHOD = "initialize"


class Hello(Struct, frozen=True):
    """What a client says of itself in `initialize`."""

    name: str
    version: str
    title: str | None = None
    experimental: bool = False
    opted_out: frozenset[str] = frozenset()


class Welcome(Struct, frozen=True):
    """The answer: where the server runs, and what it calls itself."""

    user_agent: str
    codex_home: str
    platform_family: str
    platform_os: str

    def json(self) -> bytes:
        """As the wire's InitializeResponse."""
        return orjson.dumps(
            {
                "userAgent": self.user_agent,
                "codexHome": self.codex_home,
                "platformFamily": self.platform_family,
                "platformOs": self.platform_os,
            }
        )


def read_hello(params: Any) -> Hello:
    """Read the params. Raises -32600 naming the field.

    The plain form that clients send is read here. Whatever is in any way unusual goes through the wire's model, which
    decides and words the refusal; importing it takes as long as the rest of the start.
    """
    return _plain(params) or _by_model(params)


_FLAGS = ("experimentalApi", "explicitGatewayOauth", "mcpServerOpenaiFormElicitation", "requestAttestation")


def _plain(params: Any) -> Hello | None:
    if not isinstance(params, dict):
        return None
    given = cast("dict[str, Any]", params)
    info, capabilities = given.get("clientInfo"), given.get("capabilities")
    if not isinstance(info, dict) or not isinstance(capabilities, dict | None):
        return None
    about = cast("dict[str, Any]", info)
    name, version, title = about.get("name"), about.get("version"), about.get("title")
    if not isinstance(name, str) or not isinstance(version, str) or not isinstance(title, str | None):
        return None
    wants = cast("dict[str, Any]", capabilities or {})
    flags = [wants.get(flag) for flag in (*_FLAGS, "requiredHumanApproval")]
    opted_out = wants.get("optOutNotificationMethods")
    if not all(isinstance(flag, bool | None) for flag in flags) or not isinstance(wants.get("extensions"), dict | None):
        return None
    if not isinstance(opted_out, list | None):
        return None
    methods = cast("list[Any]", opted_out or [])
    if not all(isinstance(method, str) for method in methods):
        return None
    return Hello(name, version, title, bool(flags[0]), frozenset(methods))


def _by_model(params: Any) -> Hello:
    from app_server.rpc.params import validated
    from protocol.v1 import InitializeParams

    hello = validated(InitializeParams, params)
    info, wants = hello.client_info, hello.capabilities
    if wants is None:
        return Hello(info.name, info.version, info.title)
    opted_out = frozenset(wants.opt_out_notification_methods or ())
    return Hello(info.name, info.version, info.title, wants.experimental_api, opted_out)
