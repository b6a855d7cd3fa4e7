"""What a handler may reach: the services of the daemon, and the request's own connection."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from app_server.rpc.connection import Connection
from protocol.jsonrpc import RequestId

if TYPE_CHECKING:
    from app_server.auth.manager import AuthManager
    from app_server.config.layers import LayerStack
    from app_server.config.live import Configuration
    from app_server.config.settings import Settings
    from app_server.exec.sessions import CommandSessions
    from app_server.extensions.extensions import Extensions
    from app_server.files.search import FileSearch
    from app_server.files.watch import Watcher
    from app_server.model.directory import ModelDirectory
    from app_server.network.decisions import NetworkDecisions
    from app_server.platform.platform import Platform
    from app_server.sandbox.sandbox import Sandbox
    from app_server.threads.library import Library
    from app_server.threads.manager import ThreadManager
    from app_server.tools.guarded_network import NetworkAccess
    from app_server.tools.terminals import Terminals


class Services(Protocol):
    """One of each for the whole daemon."""

    @property
    def configuration(self) -> "Configuration": ...

    @property
    def account(self) -> "AuthManager": ...

    @property
    def models(self) -> "ModelDirectory": ...

    @property
    def threads(self) -> "ThreadManager": ...

    @property
    def library(self) -> "Library": ...

    @property
    def commands(self) -> "CommandSessions": ...

    @property
    def terminals(self) -> "Terminals": ...

    @property
    def sandbox(self) -> "Sandbox": ...

    @property
    def watcher(self) -> "Watcher": ...

    @property
    def search(self) -> "FileSearch": ...

    @property
    def network(self) -> "NetworkAccess": ...

    @property
    def network_decisions(self) -> "NetworkDecisions": ...

    @property
    def platform(self) -> "Platform": ...

    @property
    def extensions(self) -> "Extensions": ...


class RequestContext:
    """One request: where it came from, and what it can reach."""

    __slots__ = ("_afterwards", "connection", "request_id", "services")

    def __init__(self, services: Services, connection: Connection, request_id: RequestId) -> None:
        self.services, self.connection, self.request_id = services, connection, request_id
        self._afterwards: list[Callable[[], None]] = []

    @property
    def config(self) -> "LayerStack":
        """The layers of configuration, outside of projects."""
        return self.services.configuration.stack

    @property
    def configuration(self) -> "Configuration":
        """The configuration as it changes: to ask for a folder, and to write."""
        return self.services.configuration

    @property
    def settings(self) -> "Settings":
        """What the layers come to."""
        return self.services.configuration.settings

    @property
    def account(self) -> "AuthManager":
        """What the daemon is signed in with."""
        return self.services.account

    @property
    def models(self) -> "ModelDirectory":
        """Which models there are."""
        return self.services.models

    @property
    def threads(self) -> "ThreadManager":
        """All threads."""
        return self.services.threads

    @property
    def library(self) -> "Library":
        """How users keep and find threads."""
        return self.services.library

    @property
    def commands(self) -> "CommandSessions":
        """Commands that clients run."""
        return self.services.commands

    @property
    def network(self) -> "NetworkAccess":
        """The way of commands to the network, where it is managed."""
        return self.services.network

    @property
    def terminals(self) -> "Terminals":
        """Commands of the model that run on in the background."""
        return self.services.terminals

    @property
    def sandbox(self) -> "Sandbox":
        """How commands are confined."""
        return self.services.sandbox

    @property
    def watcher(self) -> "Watcher":
        """Watches on files."""
        return self.services.watcher

    @property
    def platform(self) -> "Platform":
        """What the machine and the program themselves are asked."""
        return self.services.platform

    @property
    def extensions(self) -> "Extensions":
        """Skills, and what was taken over from other agents."""
        return self.services.extensions

    @property
    def search(self) -> "FileSearch":
        """Searches for files."""
        return self.services.search

    def afterwards(self, tell: Callable[[], None]) -> None:
        """Run `tell` right after the answer was queued, before any other event of this request's thread."""
        self._afterwards.append(tell)

    def answered(self) -> None:
        """The answer was queued."""
        for tell in self._afterwards:
            tell()
