"""A web server on 127.0.0.1 that remembers who came."""

from types import TracebackType
from typing import Self

from aiohttp import web


class WebServer:
    """Answers every request with its method and path. `hits` are those, with the host that was asked for."""

    def __init__(self) -> None:
        self.hits: list[tuple[str, str, str]] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.hits.append((request.method, request.headers.get("Host", ""), request.path))
        return web.Response(text=f"served {request.method} {request.path}\n")

    def paths(self, host: str) -> list[str]:
        """The paths that a host, whatever its port, was asked for."""
        return [path for _, name, path in self.hits if name.partition(":")[0] == host]
