"""Remote control: following threads from elsewhere, through OpenAI, with an account. Here nobody is signed in."""

import os
import secrets
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import orjson

from app_server.rpc.outbound import Frame, notification_json
from protocol.jsonrpc import RpcError, invalid_request

Status = Literal["disabled", "connecting", "connected", "errored"]

MOST_CLIENTS = 100
"""Clients of one page."""


class RemoteControl:
    """Whether the daemon can be reached from elsewhere. It can be asked for, and never comes to be."""

    def __init__(self, home: Path, broadcast: Callable[[Frame], None]) -> None:
        """`broadcast` tells every client, those too that connect later are told by `frame`."""
        self._home, self._broadcast = home, broadcast
        self._installation_id: str | None = None
        self.status: Status = "disabled"

    def state(self) -> dict[str, Any]:
        """The status as the wire tells it: the members of the answers and of the notification."""
        return {
            "status": self.status,
            "serverName": socket.gethostname(),
            "installationId": self.installation_id(),
            "environmentId": None,
        }

    def frame(self) -> Frame:
        """The status, for a client that has just connected."""
        return notification_json("remoteControl/status/changed", orjson.dumps(self.state()))

    def installation_id(self) -> str:
        """What names this home among all: made once, and kept in it."""
        if self._installation_id is None:
            self._installation_id = read_installation_id(self._home)
        return self._installation_id

    def change(self, status: Status) -> None:
        """Enter a status and tell every client, if it is another."""
        if status != self.status:
            self.status = status
            self._broadcast(self.frame())

    def fail(self) -> None:
        """Try to connect and, without an account, fail."""
        self.change("connecting")
        self.change("errored")

    def no_pairing(self) -> RpcError:
        """Why no other machine can be paired with."""
        if self.status == "disabled":
            return invalid_request("remote control pairing requires remote control to be enabled")
        return invalid_request("remote control pairing is unavailable until enrollment completes")


def needs_account() -> RpcError:
    """What is answered to somebody who is not signed in to OpenAI."""
    return invalid_request("remote control requires ChatGPT authentication")


def read_installation_id(home: Path) -> str:
    """The id in `home`/installation_id, which is written where there is none. What cannot be kept is new each time."""
    file = home / "installation_id"
    try:
        return str(uuid.UUID(file.read_text("ascii").strip()))
    except (OSError, ValueError):
        pass
    new = str(uuid.uuid4())
    waiting = file.with_name(f".installation_id.{secrets.token_hex(8)}")
    try:
        waiting.write_text(new, "ascii")
        try:
            # Not over one that another daemon has written meanwhile.
            os.link(waiting, file)
        except FileExistsError:
            return _other(file, waiting, new)
        finally:
            waiting.unlink(missing_ok=True)
    except OSError:
        pass
    return new


def _other(file: Path, waiting: Path, new: str) -> str:
    """The id that is there after all; garbage is replaced."""
    try:
        return str(uuid.UUID(file.read_text("ascii").strip()))
    except ValueError:
        os.replace(waiting, file)
        return new
