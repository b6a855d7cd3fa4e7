"""Where the daemon works: what a relative folder of a client is relative to, as on the reference."""

import os
from functools import cache


@cache
def working_folder() -> str:
    """The folder that the daemon was started in. It stays that one when it is moved or removed meanwhile."""
    return os.getcwd()


def absolute(folder: str) -> str:
    """A folder as clients name it, absolute and without `.` and `..`; it need not exist."""
    return os.path.normpath(os.path.join(working_folder(), folder))
