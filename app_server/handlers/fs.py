"""fs/*: looking at files and watching them."""

from app_server.files import operations
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from protocol.methods import Encoded
from protocol.v2 import fs as wire


@handles(wire.FS_GET_METADATA)
async def get_metadata(ctx: RequestContext, params: wire.FsGetMetadataParams) -> wire.FsGetMetadataResponse:
    found = await operations.metadata(params.path)
    return wire.FsGetMetadataResponse(
        created_at_ms=found.created_at_ms,
        is_directory=found.is_directory,
        is_file=found.is_file,
        is_symlink=found.is_symlink,
        modified_at_ms=found.modified_at_ms,
    )


@handles(wire.FS_READ_FILE)
async def read_file(ctx: RequestContext, params: wire.FsReadFileParams) -> Encoded[wire.FsReadFileResponse]:
    return Encoded(b'{"dataBase64":"%b"}' % await operations.read_file(params.path))


@handles(wire.FS_WATCH)
async def watch(ctx: RequestContext, params: wire.FsWatchParams) -> wire.FsWatchResponse:
    # What a client watches ends with its connection: the daemon tells the watcher when one has gone.
    path = await ctx.watcher.add(ctx.connection.id, params.watch_id, operations.absolute(params.path))
    return wire.FsWatchResponse(path=path)


@handles(wire.FS_UNWATCH)
async def unwatch(ctx: RequestContext, params: wire.FsUnwatchParams) -> wire.FsUnwatchResponse:
    ctx.watcher.remove(ctx.connection.id, params.watch_id)
    return wire.FsUnwatchResponse()
