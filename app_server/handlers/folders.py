"""Folders as clients name them."""

import os

from protocol.jsonrpc import invalid_request


def folder(cwd: str | None) -> str | None:
    """An absolute folder without `.` and `..`; it need not exist. Raises -32600 for a relative one."""
    if cwd is None:
        return None
    if not os.path.isabs(cwd):
        raise invalid_request(f"cwd must be an absolute path, got `{cwd}`")
    return os.path.normpath(cwd)
