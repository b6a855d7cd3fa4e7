"""v2.fs"""

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import AbsolutePath, Wire


class FsGetMetadataParams(Wire):
    path: AbsolutePath


class FsGetMetadataResponse(Wire):
    created_at_ms: int
    is_directory: bool
    is_file: bool
    is_symlink: bool
    modified_at_ms: int


FS_GET_METADATA = ClientRequest("fs/getMetadata", FsGetMetadataParams, FsGetMetadataResponse)


class FsReadFileParams(Wire):
    path: AbsolutePath


class FsReadFileResponse(Wire):
    data_base64: str


FS_READ_FILE = ClientRequest("fs/readFile", FsReadFileParams, FsReadFileResponse)


class FsWatchParams(Wire):
    path: AbsolutePath
    watch_id: str


class FsWatchResponse(Wire):
    path: AbsolutePath


FS_WATCH = ClientRequest("fs/watch", FsWatchParams, FsWatchResponse)


class FsUnwatchParams(Wire):
    watch_id: str


class FsUnwatchResponse(Wire):
    pass


FS_UNWATCH = ClientRequest("fs/unwatch", FsUnwatchParams, FsUnwatchResponse)


class FsChangedNotification(Wire):
    changed_paths: list[AbsolutePath]
    watch_id: str


FS_CHANGED = ServerNotification("fs/changed", FsChangedNotification)
