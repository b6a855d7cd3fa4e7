"""Taking secrets out of what people send to others: known ones wherever they stand, and what looks like one."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from app_server.config.hiding import SECRET_KEYS

HIDDEN = "[redacted]"

SHORTEST_SECRET = 6
"""Anything shorter is no secret worth the name, and would be found inside ordinary words."""

_NAMES = r"api[-_]?key|secret|token|passwd|password|passphrase|credential|private[-_]?key|authorization|cookie"
_SECRET_NAME = re.compile(rf"(?i)(?:{_NAMES}|(?:^|_)key)s?$")

_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_SHAPES = re.compile(
    r"\bsk-[A-Za-z0-9_-]{12,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}"
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[A-Za-z0-9_-]{35}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9+/_.~=-]{8,}")
# What stands before a match keeps the search linear in long runs of letters.
_USER_INFO = re.compile(r"(?<![a-zA-Z0-9+.-])([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/@\"']+@")
_ASSIGNED = re.compile(
    rf"(?i)(?<![a-z0-9_-])([a-z0-9_-]*(?:{_NAMES})s?)([\"']?\s*[:=]\s*)(\"[^\"\n]*\"|'[^'\n]*'|[^\s\"',;&]+)"
)
_PLAIN_VALUE = re.compile(r"[\d.,]*|[A-Za-z_.()\[\]{}<>|]*|\[redacted.*")
"""What is no secret without quotation marks: a number, or a word of code as in `token: str`."""

_PIECE = 32 * 1024
"""Characters that are searched at a time: the interpreter runs nothing else meanwhile."""


class Redactor:
    """Replaces secrets in texts and in values as JSON has them."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        """`known` are secrets that are hidden wherever they stand."""
        worth = {secret for secret in known if len(secret) >= SHORTEST_SECRET}
        # The longest first: one may be the beginning of another.
        ordered = sorted(worth, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        """The text without secrets."""
        if len(text) <= _PIECE:
            return self._piece(text)
        if "PRIVATE KEY-----" in text:
            text = _PRIVATE_KEY.sub(HIDDEN, text)
        return "".join(map(self._piece, _pieces(text)))

    def _piece(self, text: str) -> str:
        if "PRIVATE KEY-----" in text:
            text = _PRIVATE_KEY.sub(HIDDEN, text)
        text = _SHAPES.sub(HIDDEN, text)
        text = _BEARER.sub(rf"\1\2{HIDDEN}", text)
        text = _USER_INFO.sub(rf"\1{HIDDEN}@", text)
        text = _ASSIGNED.sub(_hide_value, text)
        # Last: what is known may be part of something that is recognised as a whole.
        return text if self._known is None else self._known.sub(HIDDEN, text)

    def data(self, data: bytes) -> bytes:
        """A file's content without secrets; what is no text stays as it is."""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return data
        return self.text(text).encode()

    def value(self, value: Any, *, secret: bool = False) -> Any:
        """A copy of a table, list or text without secrets, and without the values of keys that name one."""
        if isinstance(value, Mapping):
            table = cast("Mapping[str, Any]", value)
            return {
                self.text(str(key)): self.value(inner, secret=secret or names_a_secret(str(key)))
                for key, inner in table.items()
            }
        if isinstance(value, list):
            return [self.value(entry, secret=secret) for entry in cast("list[Any]", value)]
        if isinstance(value, str):
            return HIDDEN if secret and value else self.text(value)
        return value


def names_a_secret(name: str) -> bool:
    """Whether a variable or setting of that name holds a secret, itself or in what is in it."""
    return name in SECRET_KEYS or _is_called_secret(name)


def _is_called_secret(name: str) -> bool:
    # Names of variables that hold a key are no keys.
    return not name.startswith("env_") and _SECRET_NAME.search(name) is not None


def secrets_in(value: Any, *, secret: bool = False) -> Iterator[str]:
    """The texts of all keys, at any depth, whose names are those of a secret."""
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, Any]", value).items():
            yield from secrets_in(inner, secret=_is_called_secret(str(key)))
    elif isinstance(value, list):
        for entry in cast("list[Any]", value):
            yield from secrets_in(entry, secret=secret)
    elif secret and isinstance(value, str):
        yield value


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces that end with a line, or else where a secret is hardly cut in two."""
    start = 0
    while start < len(text):
        limit = start + _PIECE
        ends = (text.rfind(mark, start, limit) + 1 for mark in "\n, ") if limit < len(text) else ()
        end = next(filter(None, ends), limit)
        yield text[start:end]
        start = end


def _hide_value(found: re.Match[str]) -> str:
    name, sign, value = found.groups()
    quote = value[0] if value[0] in "\"'" else ""
    bare = value.strip(quote) if quote else value
    if not bare or bare == HIDDEN or bare.lower() in ("bearer", "basic"):
        return found.group()
    if not quote and sign != "=" and _PLAIN_VALUE.fullmatch(bare):
        return found.group()
    return f"{name}{sign}{quote}{HIDDEN}{quote}"
