import base64
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest

from app_server.files import operations
from app_server.files.operations import MAX_READ_BYTES, Metadata, absolute, metadata, read_file, write_file
from app_server.rpc.connection import MAX_MESSAGE_BYTES
from protocol.jsonrpc import INTERNAL_ERROR, INVALID_REQUEST, RpcError

_WAYS = ("from memory", "in a worker", "without statx")


class _Forgetful(operations._Kernel):  # pyright: ignore[reportPrivateUsage] what a kernel remembers cannot be controlled
    """Has paths that end so in memory no more."""

    def __init__(self, ending: str = "") -> None:
        super().__init__()
        self._ending = ending

    def cached(self, path: str) -> Metadata | None:
        return None if path.endswith(self._ending) else super().cached(path)


@pytest.fixture(params=_WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way in which metadata can be found; all must answer the same."""
    if request.param == "in a worker":
        monkeypatch.setattr(operations, "_KERNEL", _Forgetful())
    elif request.param == "without statx":
        monkeypatch.setattr(operations, "_KERNEL", None)
    return request.param


def _like(path: Path, found: Metadata, *, is_symlink: bool = False) -> bool:
    return found == Metadata(
        is_file=path.is_file(),
        is_directory=path.is_dir(),
        is_symlink=is_symlink,
        created_at_ms=found.created_at_ms,
        modified_at_ms=path.stat().st_mtime_ns // 1_000_000,
    )


async def test_metadata_is_what_the_file_system_says(way: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    os.utime(file, ns=(0, 1_234_567_891_234_567))
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "link-to-folder").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    assert (await metadata(str(file))).modified_at_ms == 1_234_567_891
    assert _like(file, await metadata(str(file)))
    assert _like(tmp_path, await metadata(f"{tmp_path}/"))
    assert _like(file, await metadata(str(tmp_path / "link")), is_symlink=True)
    assert _like(tmp_path, await metadata(str(tmp_path / "link-to-folder")), is_symlink=True)
    assert _like(tmp_path / "fifo", await metadata(str(tmp_path / "fifo")))
    assert _like(Path("/dev/null"), await metadata("/dev/null"))


async def test_metadata_follows_changes_at_once(way: str, tmp_path: Path) -> None:
    path = tmp_path / "it"
    for _ in range(20):
        with pytest.raises(RpcError):
            await metadata(str(path))
        path.write_text("")
        assert (await metadata(str(path))).is_file
        path.unlink()
        path.mkdir()
        assert (await metadata(str(path))).is_directory
        path.rmdir()


@pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="only statx of Linux is read for the time of birth")
async def test_the_time_of_birth_stays_when_a_file_is_changed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("1")
    born = (await metadata(str(file))).created_at_ms
    if born == 0:
        pytest.skip("this file system keeps no time of birth")
    assert abs(born - file.stat().st_mtime_ns // 1_000_000) <= 1000
    os.utime(file, (1, 1))
    assert (await metadata(str(file))).created_at_ms == born


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing", "No such file or directory (os error 2)"),
        ("dangling", "No such file or directory (os error 2)"),
        ("file/below", "Not a directory (os error 20)"),
        ("loop", "(os error 40)"),
        ("x" * 300, "(os error 36)"),
    ],
)
async def test_what_cannot_be_reached_is_an_error_with_the_reason_and_the_path(
    way: str, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    for ask in (metadata, read_file):
        with pytest.raises(RpcError) as refused:
            await ask(str(tmp_path / name))
        assert refused.value.code == INTERNAL_ERROR
        assert text in refused.value.message
        assert refused.value.message.endswith(f": {tmp_path / name}")


@pytest.mark.parametrize("path", ["", "relative", "./x", "~", "~/x", "C:\\x", "\\\\host\\x", "/a\0b"])
async def test_a_path_that_is_not_absolute_is_refused_by_the_name_of_its_field(path: str) -> None:
    for ask in (metadata, read_file):
        with pytest.raises(RpcError, match="`path`") as refused:
            await ask(path)
        assert refused.value.code == INVALID_REQUEST


def test_an_absolute_path_is_made_plain_without_looking_at_links() -> None:
    assert absolute("//a/./b/../c//") == "/a/c"
    assert absolute("/") == absolute("//") == absolute("/..") == "/"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 393_215, 393_216, 1_000_001])
async def test_a_file_is_read_whole(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    assert await read_file(str(tmp_path / "file")) == base64.b64encode(content)


async def test_a_file_that_says_it_is_empty_is_read_to_its_end() -> None:
    assert base64.b64decode(await read_file("/proc/self/status")).startswith(b"Name:")


async def test_the_largest_file_fits_into_a_message_and_a_larger_one_is_refused_with_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.truncate(file, MAX_READ_BYTES)
    encoded = await read_file(str(file))
    assert len(encoded) == (MAX_READ_BYTES + 2) // 3 * 4
    assert len(encoded) + 1000 < MAX_MESSAGE_BYTES
    os.truncate(file, MAX_READ_BYTES + 1)
    with pytest.raises(RpcError, match=f"file is too large to read: limit is {MAX_READ_BYTES} bytes") as refused:
        await read_file(str(file))
    assert refused.value.code == INVALID_REQUEST


async def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path in (str(tmp_path / "fifo"), str(tmp_path / "socket"), str(tmp_path), "/dev/null", "/dev/zero"):
            with pytest.raises(RpcError, match=f"path `{path}` is not a file") as refused:
                await read_file(path)
            assert refused.value.code == INVALID_REQUEST


async def test_a_file_system_that_hangs_holds_up_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that the kernel does not know from memory waits in a worker, and others are answered meanwhile."""
    (tmp_path / "hangs").touch()
    (tmp_path / "quick").touch()
    hanging, released = threading.Event(), threading.Event()
    real = operations._metadata  # pyright: ignore[reportPrivateUsage] the slow way is what the test slows down

    def slow(path: str) -> Metadata:
        hanging.set()
        released.wait()
        return real(path)

    monkeypatch.setattr(operations, "_metadata", slow)
    monkeypatch.setattr(operations, "_KERNEL", _Forgetful("hangs"))
    answered: list[Metadata] = []
    try:
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                answered.append(await metadata(str(tmp_path / "hangs")))

            tasks.start_soon(ask)
            await anyio.to_thread.run_sync(hanging.wait)
            assert (await metadata(str(tmp_path / "quick"))).is_file
            assert not answered
            released.set()
    finally:
        released.set()
    assert answered[0].is_file


async def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")

    async def ask() -> None:
        for name in ("file", "link", ".", "missing"):
            for way in (metadata, read_file):
                try:
                    await way(str(tmp_path / name))
                except RpcError:
                    pass

    await ask()
    before = os.listdir("/proc/self/fd")
    for _ in range(10):
        await ask()
    assert os.listdir("/proc/self/fd") == before


_AS_NOBODY = """
import os, sys, anyio
from app_server.files.operations import RpcError, metadata, read_file, write_file

async def main():
    if os.getuid() == 0:
        os.setresuid(65534, 65534, 65534)
    for ask, name in ((metadata, "secret/file"), (read_file, "secret/file"), (read_file, "unreadable")):
        try:
            await ask(f"{sys.argv[1]}/{name}")
        except RpcError as error:
            print(error.code, error.message)

anyio.run(main)
"""


@pytest.fixture
def public_folder() -> Generator[Path]:
    """A folder that other users reach, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


async def test_permission_denied_is_named(public_folder: Path) -> None:
    # Nothing is denied to root, so another user asks.
    folder, name = public_folder, str(public_folder)
    (folder / "secret").mkdir()
    (folder / "secret" / "file").touch()
    (folder / "unreadable").touch()
    (folder / "unreadable").chmod(0)
    (folder / "secret").chmod(0)
    done = await anyio.run_process([sys.executable, "-c", _AS_NOBODY, name], stderr=None)
    (folder / "secret").chmod(0o700)
    denied = f"{INTERNAL_ERROR} Permission denied (os error 13): {name}"
    lines = [f"{denied}/secret/file", f"{denied}/secret/file", f"{denied}/unreadable"]
    assert done.stdout.decode().splitlines() == lines


@pytest.mark.parametrize("size", [0, 1, 2, 3, 393_215, 393_216, 393_217, 1_000_001])
async def test_a_file_is_written_whole_over_what_it_held(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    file = tmp_path / "file"
    for _ in range(2):
        await write_file(str(file), base64.b64encode(content).decode())
        assert file.read_bytes() == content
        file.write_bytes(os.urandom(size + 1000))


async def test_writing_follows_links_and_keeps_the_mode_of_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "to-nothing").symlink_to("new")
    for name in ("link", "to-nothing"):
        await write_file(str(tmp_path / name), "eA==")
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "file").read_text() == (tmp_path / "new").read_text() == "x"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("eA=", "incomplete"),
        ("eA", "incomplete"),
        ("A" * 524_288 + "e", "incomplete"),
        ("eA==\n", "`=` at character 2"),
        ("eA==eA==", "`=` at character 2"),
        ("AAA=" + "A" * 524_284, "`=` at character 3"),
        ("not base64!!", "' ' at character 3"),
        ("A" * 600_000 + "*AAA", "'\\*' at character 600000"),
        ("-_8=", "'-' at character 0"),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}AAA", "at character 0"),
    ],
)
async def test_what_is_no_base64_is_refused_with_the_place_and_writes_nothing(
    tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "file").write_text("old")
    for name in ("file", "new"):
        with pytest.raises(RpcError, match=f"fs/writeFile requires valid base64 dataBase64: .*{reason}") as refused:
            await write_file(str(tmp_path / name), text)
        assert refused.value.code == INVALID_REQUEST
    assert (tmp_path / "file").read_text() == "old"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("folder", "isADirectory"),
        ("missing/file", "notFound"),
        ("file/below", "notADirectory"),
        ("loop", "linkLoop"),
        ("x" * 300, "nameTooLong"),
    ],
)
async def test_what_cannot_be_written_says_why_for_people_and_programs(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RpcError) as refused:
        await write_file(str(tmp_path / name), "eA==")
    assert (refused.value.code, refused.value.data) == (INTERNAL_ERROR, {"kind": kind})
    assert refused.value.message.endswith(f": {tmp_path / name}")


async def test_a_device_or_a_fifo_is_neither_written_nor_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (str(tmp_path / "fifo"), "/dev/null"):
        with pytest.raises(RpcError, match="is not a file") as refused:
            await write_file(path, "eA==")
        assert refused.value.code == INVALID_REQUEST
