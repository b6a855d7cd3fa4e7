"""thread/backgroundTerminals/*: the commands of a thread that run on in the background."""

from functools import partial

import anyio.to_thread

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.threads.manager import page_limit
from app_server.tools.terminals import Terminal, Usage, usage
from protocol.jsonrpc import invalid_request
from protocol.v2 import thread as wire


@handles(wire.THREAD_BACKGROUND_TERMINALS_LIST)
async def list_terminals(
    ctx: RequestContext, params: wire.ThreadBackgroundTerminalsListParams
) -> wire.ThreadBackgroundTerminalsListResponse:
    ctx.threads.loaded(params.thread_id)
    after = -1 if params.cursor is None else _number(params.cursor, "invalid cursor")
    rest = [terminal for terminal in ctx.terminals.running(params.thread_id) if terminal.number > after]
    page = rest[: page_limit(params.limit)]
    used = await anyio.to_thread.run_sync(partial(_usages, page))
    data = [_shown(terminal, usage) for terminal, usage in zip(page, used, strict=True)]
    more = str(page[-1].number) if len(rest) > len(page) else None
    return wire.ThreadBackgroundTerminalsListResponse(data=data, next_cursor=more)


@handles(wire.THREAD_BACKGROUND_TERMINALS_TERMINATE)
async def terminate(
    ctx: RequestContext, params: wire.ThreadBackgroundTerminalsTerminateParams
) -> wire.ThreadBackgroundTerminalsTerminateResponse:
    ctx.threads.loaded(params.thread_id)
    number = _number(params.process_id, "invalid background terminal process id")
    terminal = ctx.terminals.find(params.thread_id, number)
    if terminal is None or not terminal.runs:
        return wire.ThreadBackgroundTerminalsTerminateResponse(terminated=False)
    ctx.afterwards(terminal.kill)
    return wire.ThreadBackgroundTerminalsTerminateResponse(terminated=True)


@handles(wire.THREAD_BACKGROUND_TERMINALS_CLEAN)
async def clean(
    ctx: RequestContext, params: wire.ThreadBackgroundTerminalsCleanParams
) -> wire.ThreadBackgroundTerminalsCleanResponse:
    ctx.threads.loaded(params.thread_id)
    for terminal in ctx.terminals.running(params.thread_id):
        ctx.afterwards(terminal.kill)
    return wire.ThreadBackgroundTerminalsCleanResponse()


def _number(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise invalid_request(f"{what}: `{text}` is no number")
    return int(text)


def _usages(terminals: list[Terminal]) -> list[Usage]:
    return [usage(terminal) for terminal in terminals]


def _shown(terminal: Terminal, used: Usage) -> wire.ThreadBackgroundTerminal:
    return wire.ThreadBackgroundTerminal(
        item_id=terminal.item.id,
        command=terminal.script,
        cwd=terminal.item.cwd,
        process_id=str(terminal.number),
        cpu_percent=used.cpu_percent,
        os_pid=used.pid,
        rss_kb=used.rss_kb,
    )
