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
    """Make a file hold these bytes, in base64. Its folder must exist; a file that is there is overwritten."""

    data_base64: str
    path: AbsolutePath


class FsWriteFileResponse(Wire):
    """The bytes were written."""


FS_WRITE_FILE = ClientRequest("fs/writeFile", FsWriteFileParams, FsWriteFileResponse)


class FsCreateDirectoryParams(Wire):
    """Make a folder. `recursive`, which null means too, also makes those above it and takes one that exists."""

    path: AbsolutePath
    recursive: bool | None = None


class FsCreateDirectoryResponse(Wire):
    """The folder is there."""


FS_CREATE_DIRECTORY = ClientRequest("fs/createDirectory", FsCreateDirectoryParams, FsCreateDirectoryResponse)


class FsReadDirectoryParams(Wire):
    """List a folder, without what is below."""

    path: AbsolutePath


class FsReadDirectoryEntry(Wire):
    """A name in a folder and what it is, seen through links; of other kinds, and where a link is broken, neither."""

    file_name: str
    is_directory: bool
    is_file: bool


class FsReadDirectoryResponse(Wire):
    """What is in the folder, by name."""

    entries: list[FsReadDirectoryEntry]


FS_READ_DIRECTORY = ClientRequest("fs/readDirectory", FsReadDirectoryParams, FsReadDirectoryResponse)


class FsRemoveParams(Wire):
    """Remove a file, a link (not what it leads to) or a folder.

    With `recursive`, which null means too, a folder goes with all that is in it, else only if it is empty. With
    `force`, which null means too, it is no error that nothing is there.
    """

    path: AbsolutePath
    force: bool | None = None
    recursive: bool | None = None


class FsRemoveResponse(Wire):
    """Nothing is there any more."""


FS_REMOVE = ClientRequest("fs/remove", FsRemoveParams, FsRemoveResponse)


class FsCopyParams(Wire):
    """Copy a file, a link (as a link) or, with `recursive`, a folder. `destination_path` is the copy itself.

    A file that is there is overwritten; a folder that is there is merged with.
    """

    destination_path: AbsolutePath
    source_path: AbsolutePath
    recursive: bool = False


class FsCopyResponse(Wire):
    """The copy is complete."""


FS_COPY = ClientRequest("fs/copy", FsCopyParams, FsCopyResponse)
