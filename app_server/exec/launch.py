"""How a confined command is started: again, where what others did to the files kept its sandbox from being built."""

import logging
import socket
from collections.abc import Callable, Mapping, Sequence

from app_server.config.settings import CommandLimits
from app_server.exec.process import Process
from app_server.exec.pty import Size
from app_server.exec.reaper import Reaper
from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.sandbox import ENDED_BY_SIGNAL, TRIES, Sandbox

logger = logging.getLogger(__name__)


async def launch(
    sandbox: Sandbox,
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    profile: PermissionProfile,
    reaper: Reaper,
    stdin: bool = False,
    tty: Size | None = None,
    limits: CommandLimits | None = None,
    proxy_port: int | None = None,
    serve: Callable[[socket.socket], None] | None = None,
) -> Process:
    """Start `argv` in `cwd` under `profile`. Raises SandboxUnavailable, and SpawnError.

    Folders that are made, moved or deleted while a sandbox is built may break it before the command begins; then
    another one is built, up to `TRIES` in all. The last that fails is returned: it has ended, and its output says why.
    Other arguments are as for `Sandbox.wrap` and `Process.spawn`; `serve` is given the bridge of the command.
    """
    tries = 0
    while True:
        command = await sandbox.wrap(
            argv, cwd=cwd, env=env, profile=profile, terminal=tty is not None, proxy_port=proxy_port
        )
        process = Process.spawn(command, cwd=cwd, reaper=reaper, stdin=stdin, tty=tty, limits=limits)
        tries += 1
        is_kept = False
        try:
            is_kept = await process.begins() or tries == TRIES or _was_ended(process)
        finally:
            if not is_kept:
                if command.bridge is not None:
                    command.bridge.close()
                await process.aclose()
        if is_kept:
            if command.bridge is not None and serve is not None:
                serve(command.bridge)
            return process
        logger.info("the sandbox of a command failed before the command began; trying again")


def _was_ended(process: Process) -> bool:
    """Whether somebody ended it, instead of it failing by itself."""
    return process.limit_hit is not None or (process.exit_code or 0) > ENDED_BY_SIGNAL
