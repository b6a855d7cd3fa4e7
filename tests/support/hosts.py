"""Hosts whose names only a test knows: libnss_wrapper tells a program what they mean, in place of DNS.

It is a library that is loaded into the program under test (the package libnss-wrapper of Debian and others), so the
program itself needs no back door.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

MOST_HOSTS = 90
"""The library has room for little more."""

PLACES = ("/usr/lib/*/libnss_wrapper.so", "/usr/lib/libnss_wrapper.so", "/usr/lib64/libnss_wrapper.so")


def library() -> str | None:
    """The path of libnss_wrapper; None where it is not installed."""
    found = (path for place in PLACES for path in Path("/").glob(place.lstrip("/")))
    return next((str(path) for path in found), None)


needs_hosts = pytest.mark.skipif(
    library() is None,
    reason="NO LIBNSS_WRAPPER HERE (package libnss-wrapper), THE TESTS WITH HOSTS OF THEIR OWN DO NOT RUN",
)


def hosts_file(file: Path, hosts: Mapping[str, str]) -> dict[str, str]:
    """What a program's environment needs so that these names mean these addresses to it. Writes `file`."""
    assert len(hosts) <= MOST_HOSTS
    file.write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
    return {"LD_PRELOAD": library() or "", "NSS_WRAPPER_HOSTS": str(file)}
