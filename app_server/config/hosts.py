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
    """A pattern of hosts in one spelling: a host, `*.x`, `**.x`, or a glob. Raises ValueError with a sentence.

    In globs `*` stands for any characters, dots too, `?` for one, `[a-z]` for one of several, and `{a,b}` for either.
    """
    pattern = text.strip(_SPACES)
    if not is_pattern(pattern):
        if "/" in pattern and _is_range(pattern):
            raise ValueError(f"`{text}` is a range of addresses; only single addresses and names can be given")
        return normalised_host(pattern)
    if "://" in pattern or "/" in pattern:
        raise ValueError(f"`{text}` must be a host alone, without scheme and path")
    pattern = pattern.lower().rstrip(".").replace("[^", "[!")
    prefix = next((prefix for prefix in ("**.", "*.") if pattern.startswith(prefix)), "")
    rest = pattern.removeprefix(prefix)
    if prefix and rest and not is_pattern(rest):
        below = normalised_host(rest)
        if address_of(below) is not None:
            raise ValueError(f"`{text}` asks for what is below an address, and there is nothing")
        return prefix + below
    if not _GLOB.fullmatch(pattern):
        raise ValueError(f"`{text}` holds characters that no host has")
    if pattern in ("*", "**"):
        return "*"
    if "**" in rest:
        raise ValueError(f"`{text}` has `**` elsewhere than before the first dot")
    if problem := _glob_problem(pattern):
        raise ValueError(f"`{text}` {problem}")
    return pattern


def is_pattern(text: str) -> bool:
    """Whether a text stands for several hosts. The brackets of an IPv6 address are no wildcards."""
    return _WILDCARDS.search(text) is not None and not _VERSION_6.match(text)


def means_everything(pattern: str) -> bool:
    """Whether a normalised pattern has nothing in it that a host could fail to have."""
    return is_pattern(pattern) and not re.search(r"[a-z0-9_\-\[{]", pattern)


_SPACES = " \t\r\n"
_PORT = re.compile(r"(?::[0-9]{0,5})?")
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_WILDCARDS = re.compile(r"[*?\[\]{}]")
_VERSION_6 = re.compile(r"\[[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(?:%[^\]*?{}]+)?\](?::[0-9]*)?$")
_GLOB = re.compile(r"[a-z0-9_.*?\[\]{},!-]+")
_CLASS = re.compile(r"\[!?[^\[\]{},*?.!]+\]")
_BRACES = re.compile(r"\{[^{}]*\}")
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
        reason = "a host alone, without scheme, path, user or spaces"
        raise ValueError(f"`{text}` must be {reason}")
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


def _is_range(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _glob_problem(pattern: str) -> str | None:
    for found in _CLASS.findall(pattern):
        try:
            re.compile(found.replace("[!", "[^"))
        except re.error:
            return f"has a range that matches nothing: `{found}`"
    rest = _CLASS.sub("", pattern)
    if "[" in rest or "]" in rest:
        return "has a bracket without its partner"
    rest = _BRACES.sub("", rest)
    if "{" in rest or "}" in rest:
        return "has a brace without its partner"
    if "," in rest or "!" in rest:
        return "holds characters that no host has"
    return None
