"""fs/*: files and folders on this machine, and watching them."""

from app_server.files import operations, tree
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


@handles(wire.FS_WRITE_FILE)
async def write_file(ctx: RequestContext, params: wire.FsWriteFileParams) -> wire.FsWriteFileResponse:
    await operations.write_file(params.path, params.data_base64)
    return wire.FsWriteFileResponse()


@handles(wire.FS_CREATE_DIRECTORY)
async def create_directory(ctx: RequestContext, params: wire.FsCreateDirectoryParams) -> wire.FsCreateDirectoryResponse:
    await tree.create_folder(params.path, recursive=params.recursive is not False)
    return wire.FsCreateDirectoryResponse()


@handles(wire.FS_READ_DIRECTORY)
async def read_directory(
    ctx: RequestContext, params: wire.FsReadDirectoryParams
) -> Encoded[wire.FsReadDirectoryResponse]:
    return Encoded(b'{"entries":%b}' % await tree.list_folder(params.path))


@handles(wire.FS_REMOVE)
async def remove(ctx: RequestContext, params: wire.FsRemoveParams) -> wire.FsRemoveResponse:
    await tree.remove(params.path, recursive=params.recursive is not False, force=params.force is not False)
    return wire.FsRemoveResponse()


@handles(wire.FS_COPY)
async def copy(ctx: RequestContext, params: wire.FsCopyParams) -> wire.FsCopyResponse:
    await tree.copy(params.source_path, params.destination_path, recursive=params.recursive)
    return wire.FsCopyResponse()


@handles(wire.FS_WATCH)
async def watch(ctx: RequestContext, params: wire.FsWatchParams) -> wire.FsWatchResponse:
    # What a client watches ends with its connection: the daemon tells the watcher when one has gone.
    path = await ctx.watcher.add(ctx.connection.id, params.watch_id, operations.absolute(params.path))
    return wire.FsWatchResponse(path=path)


@handles(wire.FS_UNWATCH)
async def unwatch(ctx: RequestContext, params: wire.FsUnwatchParams) -> wire.FsUnwatchResponse:
    ctx.watcher.remove(ctx.connection.id, params.watch_id)
    return wire.FsUnwatchResponse()
