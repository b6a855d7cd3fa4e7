"""What an attempt needs of the machine to be shown at all. Each tells the reason where that is missing."""

import os
import platform
import shutil
import socket
import tempfile
from pathlib import Path


def root() -> str | None:
    """The right to do it without a sandbox."""
    return None if os.geteuid() == 0 else "only root can do this, with or without a sandbox"


def xattrs() -> str | None:
    """A file system with attributes."""
    with tempfile.NamedTemporaryFile() as file:
        try:
            os.setxattr(file.name, "user.test", b"")
        except OSError as error:
            return f"the file system of the temporary folder has no attributes: {error.strerror}"
    return None


def x86_64() -> str | None:
    """A processor with two more tables of system calls."""
    return None if platform.machine() == "x86_64" else "this processor has only one table of system calls"


def has_v6() -> str | None:
    """Whether this machine talks to itself by IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        return f"there is no IPv6 here: {error.strerror}"
    return None


def program(name: str):
    """A program that is installed."""
    return lambda: None if shutil.which(name) else f"{name} is not installed"


def setting(path: str, value: str):
    """A setting of the kernel."""

    def holds() -> str | None:
        found = Path(path).read_text().strip() if Path(path).exists() else "absent"
        return None if found == value else f"{path} is {found} here, and not {value}"

    return holds


def existing(path: str):
    """A file or a device."""
    return lambda: None if Path(path).exists() else f"there is no {path} here"


DAC_READ_SEARCH, SYS_ADMIN, SYS_TIME, SYSLOG = 2, 21, 25, 34


def capability(number: int):
    """A right of root's that a container may lack."""

    def holds() -> str | None:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:") and int(line.split()[1], 16) >> number & 1:
                return None
        return f"this needs capability {number}, with or without a sandbox"

    return holds
