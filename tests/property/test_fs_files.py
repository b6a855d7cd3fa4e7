"""Whatever a file is called and holds, and in whatever order things happen, what clients are told is true."""

import base64
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app_server.files.operations import absolute, metadata, read_file
from protocol.jsonrpc import RpcError
from tests.unit.files.watching import watching

_NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda name: name not in (".", "..")
)


@given(_NAMES, st.binary(max_size=3000))
def test_a_file_of_any_name_and_content_is_found_and_read(name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)

        async def ask() -> None:
            assert (await metadata(str(path))).is_file
            assert base64.b64decode(await read_file(str(path))) == content

        anyio.run(ask)


@given(st.text(st.sampled_from("/.ab\0~\\"), max_size=12))
def test_a_path_is_plain_and_absolute_or_refused(path: str) -> None:
    if "\0" in path or not path.startswith("/"):
        with pytest.raises(RpcError, match="`path`"):
            absolute(path)
    else:
        plain = absolute(path)
        assert plain.startswith("/")
        assert not {"", ".", ".."} & set(plain.split("/")[1:]) or plain == "/"
        assert absolute(plain) == plain


def _write(path: Path) -> None:
    path.write_text(os.urandom(4).hex())


def _replace(path: Path) -> None:
    _write(path.with_name("new"))
    path.with_name("new").replace(path)


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)


def _move_folder(path: Path) -> None:
    aside = Path(tempfile.mkdtemp(dir=path.parent.parent))
    path.parent.rename(aside / "moved")
    path.parent.mkdir()


def _link(path: Path) -> None:
    path.unlink(missing_ok=True)
    target = path.with_name("target")
    _write(target)
    path.symlink_to(target)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from([_write, _replace, _delete, _move_folder, _link]), max_size=6))
def test_after_whatever_happened_to_a_file_the_next_change_of_it_is_told(steps: list[Callable[[Path], None]]) -> None:
    async def live(path: Path) -> None:
        async with watching() as (watcher, news):
            await watcher.add(1, "w", str(path))
            for step in steps:
                step(path)

            def heard() -> bool:
                return str(path) in news.paths(1, "w")

            # What the steps did may be told late: only news of a change made after silence counts.
            heard_before = True
            while heard_before:
                news.batches.clear()
                with anyio.move_on_after(0.4):
                    await news.until(heard)
                heard_before = heard()
            _write(path)
            await news.until(heard)

    with tempfile.TemporaryDirectory() as name:
        path = Path(os.path.realpath(name), "folder", "file")
        path.parent.mkdir()
        anyio.run(live, path)
