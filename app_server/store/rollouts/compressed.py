"""Session files that the reference has compressed, read through the system's zstd library."""

import ctypes
import ctypes.util
import io
from functools import cache
from typing import IO, Any, Final

SUFFIX: Final = ".zst"
PIECE_BYTES: Final = 1 << 20


class NoLibrary(Exception):
    """The system has no zstd library."""


def open_session(path: str) -> IO[bytes]:
    """The text of a session file, whether it is compressed or not. Raises OSError, or NoLibrary.

    A compressed one is read from its beginning to its end only.
    """
    if path.endswith(SUFFIX):
        return io.BufferedReader(_Decompressed(path), PIECE_BYTES)
    return open(path, "rb", buffering=PIECE_BYTES)


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer, which are alike."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("position", ctypes.c_size_t))


class _Decompressed(io.RawIOBase):
    """A stream of what a compressed file holds."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._library = _library()
        self._stream = self._library.ZSTD_createDStream()
        self._file = io.FileIO(path)
        self._data = ctypes.create_string_buffer(PIECE_BYTES)
        self._input = _Buffer(ctypes.cast(self._data, ctypes.c_void_p), 0, 0)
        self._told = 0

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def tell(self) -> int:
        return self._told

    def readinto(self, buffer: Any) -> int:  # Any: whatever can be written into
        place = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        output = _Buffer(ctypes.addressof(place), len(buffer), 0)
        while output.position == 0:
            if self._input.position == self._input.size:
                # Of a file that was cut off, what is there is read.
                read = self._file.readinto(memoryview(self._data).cast("B"))
                self._input.size, self._input.position = read or 0, 0
            before = self._input.position
            result = self._library.ZSTD_decompressStream(self._stream, ctypes.byref(output), ctypes.byref(self._input))
            if self._library.ZSTD_isError(result):
                raise OSError(f"it is damaged: {self._library.ZSTD_getErrorName(result).decode()}")
            if output.position == 0 and self._input.size == 0 and self._input.position == before:
                break
        self._told += output.position
        return output.position

    def close(self) -> None:
        if not self.closed:
            self._file.close()
            self._library.ZSTD_freeDStream(self._stream)
        super().close()


@cache
def _library() -> Any:  # Any: functions that are found by their names
    name = ctypes.util.find_library("zstd")
    if name is None:
        raise NoLibrary("it is compressed, and this system has no libzstd")
    library: Any = ctypes.CDLL(name)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for function, result, arguments in (
        ("ZSTD_createDStream", pointer, ()),
        ("ZSTD_freeDStream", size, (pointer,)),
        ("ZSTD_decompressStream", size, (pointer, pointer, pointer)),
        ("ZSTD_isError", ctypes.c_uint, (size,)),
        ("ZSTD_getErrorName", ctypes.c_char_p, (size,)),
    ):
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library
