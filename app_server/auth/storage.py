"""Where credentials are kept: a file that only its owner reads, the keyring of the system, or nowhere. All block.

Two programs may share a home, so the file is read again when it has changed.
"""

import fcntl
import hashlib
import os
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from app_server.auth.credentials import Credentials, decode, encode

FILE = "auth.json"
SERVICE = "Codex Auth"
"""The name of the entry in keyrings."""


class StorageError(Exception):
    """Credentials could not be read, kept or removed; the message says where and why, and holds no secret."""


class CredentialStore(Protocol):
    """One place."""

    def load(self) -> Credentials | None:
        """What is kept. Raises StorageError if that cannot be told."""
        ...

    def save(self, credentials: Credentials) -> None:
        """Keep these instead. Returns when they are safe; raises StorageError."""
        ...

    def delete(self) -> None:
        """Keep nothing. Raises StorageError."""
        ...

    def stamp(self) -> object:
        """Changes when somebody else has kept something."""
        ...


class FileStore:
    """auth.json, for its owner alone, replaced as a whole."""

    def __init__(self, home: Path) -> None:
        self._home, self._path = home, home / FILE

    def load(self) -> Credentials | None:
        try:
            return decode(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self._path} cannot be read: {error.strerror}") from None

    def save(self, credentials: Credentials) -> None:
        import tempfile

        temporary: str | None = None
        try:
            target = Path(os.path.realpath(self._path))
            handle, temporary = tempfile.mkstemp(dir=self._workshop(target), prefix=".auth-")
            with os.fdopen(handle, "wb") as file:
                file.write(encode(credentials))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
            temporary = None
            _sync(target.parent)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be written: {error.strerror}") from None
        finally:
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)

    def delete(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be removed: {error.strerror}") from None

    def stamp(self) -> object:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _workshop(self, target: Path) -> Path:
        # Commands of the agent see nothing of this folder; what is half written lies there, where it can.
        private = self._home / "turnloom"
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        return private if private.stat().st_dev == target.parent.stat().st_dev else target.parent


class KeyringStore:
    """The keyring of the system, by the package `keyring`."""

    def __init__(self, home: Path) -> None:
        self._file = FileStore(home)
        name = hashlib.sha256(os.path.realpath(home).encode()).hexdigest()[:16]
        self._user = f"cli|{name}"

    def load(self) -> Credentials | None:
        content: str | None = self._call("read", "get_password")
        return None if content is None else decode(content)

    def save(self, credentials: Credentials) -> None:
        self._call("written", "set_password", encode(credentials).decode())
        self._file.delete()

    def delete(self) -> None:
        if self._call("read", "get_password") is not None:
            self._call("changed", "delete_password")
        self._file.delete()

    def stamp(self) -> object:
        return None

    def _call(self, verb: str, function: str, *arguments: str) -> Any:
        keyring = _keyring()
        try:
            return getattr(keyring, function)(SERVICE, self._user, *arguments)
        except Exception as error:  # Backends raise whatever their system does.
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise StorageError(
                f"the keyring of the system cannot be {verb}: {reason}. "
                'Set cli_auth_credentials_store = "file" in config.toml to use auth.json instead.'
            ) from None


class AutoStore:
    """The keyring where there is one, else the file."""

    def __init__(self, home: Path) -> None:
        self._keyring, self._file = KeyringStore(home), FileStore(home)

    def load(self) -> Credentials | None:
        with suppress(StorageError):
            if (kept := self._keyring.load()) is not None:
                return kept
        return self._file.load()

    def save(self, credentials: Credentials) -> None:
        try:
            self._keyring.save(credentials)
        except StorageError:
            self._file.save(credentials)

    def delete(self) -> None:
        with suppress(StorageError):
            self._keyring.delete()
        self._file.delete()

    def stamp(self) -> object:
        return self._file.stamp()


class MemoryStore:
    """Nothing outlives the daemon."""

    def __init__(self) -> None:
        self._kept: Credentials | None = None

    def load(self) -> Credentials | None:
        return self._kept

    def save(self, credentials: Credentials) -> None:
        self._kept = credentials

    def delete(self) -> None:
        self._kept = None

    def stamp(self) -> object:
        return None


def choose_store(kind: str, home: Path) -> CredentialStore:
    """The store that `cli_auth_credentials_store` names."""
    if kind == "keyring":
        return KeyringStore(home)
    if kind == "auto":
        return AutoStore(home)
    return MemoryStore() if kind == "ephemeral" else FileStore(home)


def try_lock(home: Path) -> int | None:
    """Take the lock under which tokens are renewed, so that two programs do not spend one refresh token twice.

    The result is a descriptor, to be closed afterwards; None while somebody else has it. Raises OSError.
    """
    descriptor = os.open(home / f"{FILE}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _keyring() -> ModuleType:
    try:
        return import_module("keyring")
    except ImportError:
        raise StorageError(
            "the package `keyring` is not installed: install turnloom[keyring], "
            'or set cli_auth_credentials_store = "file" in config.toml'
        ) from None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
