"""A bundle for a bug report: one zip archive on this machine, made for being read and then sent by hand."""

import errno
import os
import secrets
import stat
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import orjson
from msgspec import Struct

from app_server.platform.redaction import Redactor, names_a_secret, secrets_in
from protocol.jsonrpc import RpcError, invalid_request

MOST_EXTRA_BYTES = 32 << 20
"""What the files that a client chooses may have together."""

MOST_TRANSCRIPT_BYTES = 32 << 20
"""What is told of a thread; of a longer one the newest turns."""

DOCTOR_SECONDS = 20.0

NOT_UPLOADED = (
    "feedback is not uploaded: this server sends nothing about you anywhere; write it to a file with `feedback/save` "
    "and send that to whom you like"
)


class Attachment(Struct, frozen=True):
    """A file of a bundle."""

    name: str
    content: bytes
    content_type: str = "text/plain"


def redactor(home: Path, config: Mapping[str, Any], environment: Mapping[str, str]) -> Redactor:
    """Knows the secrets of the configuration, of the account in `home`, and of the daemon's variables."""
    known = [*secrets_in(config), *(value for name, value in environment.items() if names_a_secret(name))]
    for name in ("auth.json", ".credentials.json"):
        with suppress(OSError, orjson.JSONDecodeError):
            known += secrets_in(orjson.loads((home / name).read_bytes()))
    return Redactor(known)


def read_chosen(paths: Iterable[str]) -> list[Attachment]:
    """The files that a client wants in the bundle. Raises -32600 naming the first one that cannot be there."""
    found: list[Attachment] = []
    left = MOST_EXTRA_BYTES
    for path in paths:
        if not os.path.isabs(path):
            raise invalid_request(f"`extraLogFiles`: {path} must be an absolute path")
        try:
            content = _content(path, left + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise invalid_request(f"`extraLogFiles`: {path} cannot be read: {reason}") from error
        left -= len(content)
        if left < 0:
            raise invalid_request(f"`extraLogFiles`: more than {MOST_EXTRA_BYTES >> 20} MiB; leave some out")
        found.append(Attachment(Path(path).name, content, "application/octet-stream"))
    return found


def _content(path: str, most: int) -> bytes:
    # Not to wait for the other end of a named pipe.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("it is no regular file")
        with open(fd, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(fd)


def check_place(path: str) -> None:
    """Refuse (-32600) a place where no bundle can be, before work is done for it."""
    if not os.path.isabs(path):
        raise invalid_request("feedback savePath must be an absolute host path")
    if os.path.lexists(path):
        raise invalid_request(f"feedback save path already exists: {path}")


def write(path: str, report: Mapping[str, Any], attachments: Sequence[Attachment], redact: Redactor) -> None:
    """Write the bundle, readable for this user only: all of it or nothing, and over nothing that is there.

    Everything goes through `redact`. Raises -32600.
    """
    target = Path(path)
    waiting = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}")
    try:
        fd = os.open(waiting, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as file:
                _archive(file, report, attachments, redact)
                file.flush()
                os.fsync(fd)
            _publish(waiting, target)
        finally:
            waiting.unlink(missing_ok=True)
    except FileExistsError as error:
        raise invalid_request(f"feedback save path already exists: {path}") from error
    except (OSError, ValueError) as error:
        raise _cannot_save(path, error) from error


def _publish(waiting: Path, target: Path) -> None:
    try:
        os.link(waiting, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        # A file system without links: nothing better than to look first.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        os.rename(waiting, target)


def _cannot_save(path: str, error: Exception) -> RpcError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return invalid_request(f"feedback cannot be saved to {path}: {reason}")


def _archive(file: Any, report: Mapping[str, Any], attachments: Sequence[Attachment], redact: Redactor) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.json", _json(redact.value(report)))
        manifest: list[dict[str, str]] = []
        for number, attachment in enumerate(attachments):
            entry = f"attachments/{number:04}/{attachment.name}"
            archive.writestr(entry, redact.data(attachment.content))
            manifest.append({"entry": entry, "filename": attachment.name, "contentType": attachment.content_type})
        archive.writestr("manifest.json", _json(manifest))


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


def config_attachment(config: Mapping[str, Any], redact: Redactor) -> Attachment:
    """The configuration in force."""
    content = orjson.dumps(redact.value(config), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str)
    return Attachment("config.json", content, "application/json")


def transcript_attachment(thread: bytes, turns: Sequence[bytes], redact: Redactor) -> Attachment:
    """A thread: the first line is the thread without its turns, and each other line is one turn with its items."""
    lines = [orjson.dumps(redact.value(orjson.loads(line))) for line in (thread, *turns)]
    return Attachment("thread.jsonl", b"\n".join(lines) + b"\n", "application/jsonl")


async def doctor_attachment() -> Attachment | None:
    """What `turnloom doctor` says; None if it says nothing in time."""
    argv = [sys.executable, "-m", "app_server", "doctor", "--json"]
    content = b""
    with suppress(OSError), anyio.move_on_after(DOCTOR_SECONDS):
        content = (await anyio.run_process(argv, stderr=None, check=False)).stdout
    return Attachment("doctor.json", content, "application/json") if content else None
