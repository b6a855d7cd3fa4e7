"""Hosts as rules about the network name them: one spelling for each, and the patterns that mean several."""

import ipaddress
import re
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOST = 253
MAX_LABEL = 63


def normalised_host(text: str) -> str:
    """A host in the one spelling that rules are compared with. Raises ValueError with a sentence.

    Lower case, without brackets, port and trailing dots; names that are not ASCII as DNS carries them. What a C library
    takes for an IPv4 address (`0x7f.1`, `2130706433`, `0177.0.0.1`) becomes that address, and so does an IPv6 address
    that only wraps one (`::ffff:127.0.0.1`). An IPv6 address is in its short form and keeps its zone.
    """
    host = text.strip(_SPACES)
    if host.startswith("["):
        inner, closing, rest = host[1:].partition("]")
        if not closing or not _PORT.fullmatch(rest):
            raise ValueError(f"`{text}` has a bracket without its partner, or something behind it that is no port")
        return _version_6(inner, text)
    colons = host.count(":")
    if colons > 1:
        return _version_6(host, text)
    if colons:
        host, _, port = host.partition(":")
        if not _PORT.fullmatch(":" + port):
            raise ValueError(f"`{text}` has a port that is no number")
    return _name_or_version_4(host, text)


def address_of(host: str) -> Address | None:
    """The address that a normalised host is, if it is one rather than a name."""
    if ":" not in host and not host[-1:].isdigit():
        return None
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def text_of(address: Address) -> str:
    """An address as `normalised_host` spells it."""
    if isinstance(address, ipaddress.IPv6Address) and (wrapped := address.ipv4_mapped) is not None:
        return str(wrapped)
    return str(address)


def normalised_pattern(text: str) -> str:
    """A pattern of hosts in one spelling: a host, `*.x` for all below x, `**.x` for x too, or another glob.

    In globs `*` stands for any characters, dots too, and `?` for one. `*` alone means every host. A pattern is about
    whole hosts, so it has no port. Raises ValueError with a sentence.
    """
    pattern = text.strip(_SPACES)
    if "/" in pattern:
        raise ValueError(f"`{text}` must be {_HOST_ALONE}; ranges of addresses are not supported")
    if pattern.count(":") == 1 or "]:" in pattern:
        raise ValueError(f"`{text}` has a port, and rules hold for every port of a host; leave it out")
    if not is_pattern(pattern):
        return normalised_host(pattern)
    prefix = next((prefix for prefix in ("**.", "*.") if pattern.startswith(prefix)), "")
    rest = pattern.removeprefix(prefix)
    if not is_pattern(rest):
        below = normalised_host(rest)
        if address_of(below) is not None:
            raise ValueError(f"`{text}` means what is below an address, and there is nothing")
        return prefix + below
    pattern = pattern.lower().rstrip(".")
    if not _GLOB.fullmatch(pattern):
        raise ValueError(f"`{text}` must be {_HOST_ALONE}; of wildcards there are `*` and `?`")
    if "**" in rest or ".." in pattern or pattern.startswith("."):
        raise ValueError(f"`{text}` has two wildcards or two dots side by side, or begins with a dot")
    return pattern


def is_pattern(text: str) -> bool:
    """Whether a text stands for several hosts."""
    return "*" in text or "?" in text


def means_everything(pattern: str) -> bool:
    """Whether a normalised pattern consists of wildcards and dots alone."""
    return not pattern.strip("*?.")


_HOST_ALONE = "a host alone, without scheme, path, user or spaces"
_SPACES = " \t\r\n"
_PORT = re.compile(r"(?::[0-9]{0,5})?")
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_GLOB = re.compile(r"[a-z0-9_.*?-]+")
_ZONE = re.compile(r"[A-Za-z0-9_.~-]+")
_NUMBER = re.compile(r"0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*")


def _version_6(inner: str, text: str) -> str:
    literal, percent, zone = inner.partition("%")
    # In a URL the sign before the zone is escaped.
    zone = zone.removeprefix("25") if percent and len(zone) > 2 else zone
    if percent and not _ZONE.fullmatch(zone):
        raise ValueError(f"`{text}` has a zone that is none")
    try:
        address = ipaddress.IPv6Address(literal)
    except ValueError:
        raise ValueError(f"`{text}` is no IPv6 address") from None
    if (wrapped := address.ipv4_mapped) is not None:
        return str(wrapped)
    return f"{address}%{zone}" if percent else str(address)


def _name_or_version_4(host: str, text: str) -> str:
    if not host.isascii():
        host = _ascii(host, text)
    host = host.lower().rstrip(".")
    if not host:
        raise ValueError("an empty text is no host")
    if not _NAME.fullmatch(host):
        raise ValueError(f"`{text}` must be {_HOST_ALONE}")
    if len(host) > MAX_HOST or any(len(label) > MAX_LABEL for label in host.split(".")):
        raise ValueError(f"a host cannot be longer than {MAX_HOST} characters, {MAX_LABEL} between dots")
    parts = host.split(".")
    # No name ends in a number, so what does is an address or nothing.
    if parts[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", parts[-1]):
        return str(_version_4(parts, text))
    return host


def _version_4(parts: Sequence[str], text: str) -> ipaddress.IPv4Address:
    """The address that one to four numbers, decimal, octal or hexadecimal, stand for; the last one fills the rest."""
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise ValueError(f"`{text}` ends in a number, and is no IPv4 address")
    *first, last = [_number(part) for part in parts]
    room = 1 << 8 * (4 - len(first))
    if any(number > 255 for number in first) or last >= room:
        raise ValueError(f"`{text}` ends in a number, and is no IPv4 address")
    for position, number in enumerate(first):
        last += number << 8 * (3 - position)
    return ipaddress.IPv4Address(last)


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part, 16)
    return int(part, 8) if part.startswith("0") else int(part)


def _ascii(host: str, text: str) -> str:
    import idna

    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        raise ValueError(f"`{text}` is no valid international name") from None
