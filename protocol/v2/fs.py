"""Files on the server's machine."""

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import AbsolutePath, Wire


class FsGetMetadataParams(Wire):
    """Ask about a file, a folder or a link."""

    path: AbsolutePath


class FsGetMetadataResponse(Wire):
    """What is there. Times are in Unix milliseconds, 0 where unknown; `is_symlink` speaks of the path itself."""

    created_at_ms: int
    is_directory: bool
    is_file: bool
    is_symlink: bool
    modified_at_ms: int


FS_GET_METADATA = ClientRequest("fs/getMetadata", FsGetMetadataParams, FsGetMetadataResponse)


class FsReadFileParams(Wire):
    """Read a whole file."""

    path: AbsolutePath


class FsReadFileResponse(Wire):
    """The file's bytes in base64."""

    data_base64: str


FS_READ_FILE = ClientRequest("fs/readFile", FsReadFileParams, FsReadFileResponse)


class FsWatchParams(Wire):
    """Watch a file, or a folder without what is below; `watch_id` is the client's own name for the watch."""

    path: AbsolutePath
    watch_id: str


class FsWatchResponse(Wire):
    """The watch is on; `path` is what is watched."""

    path: AbsolutePath


FS_WATCH = ClientRequest("fs/watch", FsWatchParams, FsWatchResponse)


class FsUnwatchParams(Wire):
    """End a watch."""

    watch_id: str


class FsUnwatchResponse(Wire):
    """The watch is off."""


FS_UNWATCH = ClientRequest("fs/unwatch", FsUnwatchParams, FsUnwatchResponse)


class FsChangedNotification(Wire):
    """Paths under a watch changed."""

    changed_paths: list[AbsolutePath]
    watch_id: str


FS_CHANGED = ServerNotification("fs/changed", FsChangedNotification)


class FsWriteFileParams(Wire):
    data_base64: str
    path: AbsolutePath


class FsWriteFileResponse(Wire): ...


FS_WRITE_FILE = ClientRequest("fs/writeFile", FsWriteFileParams, FsWriteFileResponse, availability="later")


class FsCreateDirectoryParams(Wire):
    path: AbsolutePath
    recursive: bool | None = None


class FsCreateDirectoryResponse(Wire): ...


FS_CREATE_DIRECTORY = ClientRequest(
    "fs/createDirectory", FsCreateDirectoryParams, FsCreateDirectoryResponse, availability="later"
)


class FsReadDirectoryParams(Wire):
    path: AbsolutePath


class FsReadDirectoryEntry(Wire):
    file_name: str
    is_directory: bool
    is_file: bool


class FsReadDirectoryResponse(Wire):
    entries: list[FsReadDirectoryEntry]


FS_READ_DIRECTORY = ClientRequest(
    "fs/readDirectory", FsReadDirectoryParams, FsReadDirectoryResponse, availability="later"
)


class FsRemoveParams(Wire):
    path: AbsolutePath
    force: bool | None = None
    recursive: bool | None = None


class FsRemoveResponse(Wire): ...


FS_REMOVE = ClientRequest("fs/remove", FsRemoveParams, FsRemoveResponse, availability="later")


class FsCopyParams(Wire):
    destination_path: AbsolutePath
    source_path: AbsolutePath
    recursive: bool = False


class FsCopyResponse(Wire): ...


FS_COPY = ClientRequest("fs/copy", FsCopyParams, FsCopyResponse, availability="later")
