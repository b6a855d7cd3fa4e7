"""The YAML in SKILL.md files and beside them. Every scalar is read as text: `12` and `yes` stay what they are."""

import re
from collections.abc import Mapping
from typing import Any, cast

_DELIMITER = "---"
_BARE = re.compile(r"^([A-Za-z_][\w-]*):[ \t]+([^\s\"'|>#&*!][^\n]*)$", re.MULTILINE)


class FrontMatterError(Exception):
    """Text that cannot be used; the message says why."""


def split_front_matter(text: str) -> tuple[str, str]:
    """The YAML between the first two lines of `---`, and what follows. Raises FrontMatterError without them."""
    lines = text.removeprefix("\ufeff").splitlines()
    if lines and lines[0].rstrip() == _DELIMITER:
        for number, line in enumerate(lines[1:], 1):
            if line.rstrip() == _DELIMITER:
                return "\n".join(lines[1:number]) + "\n", "\n".join(lines[number + 1 :])
    raise FrontMatterError("missing YAML frontmatter delimited by ---")


def read_front_matter(text: str) -> Mapping[str, Any]:
    """The table in front of a Markdown text. Raises FrontMatterError.

    A value that YAML would take for something else (`description: first: second`) is read as the text that it is.
    """
    yaml, _ = split_front_matter(text)
    try:
        return read_table(yaml)
    except FrontMatterError:
        quoted = _BARE.sub(_quoted, yaml)
        if quoted == yaml:
            raise
        try:
            return read_table(quoted)
        except FrontMatterError:
            pass
        raise


def read_table(yaml: str) -> Mapping[str, Any]:
    """A YAML document that is a table of texts, lists and tables. Raises FrontMatterError."""
    # Some 20 ms that only those pay who have skills. The loader builds nothing but texts, lists and tables.
    from yaml import BaseLoader, YAMLError, load
    from yaml.error import MarkedYAMLError

    try:
        value: Any = load(yaml, BaseLoader)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f" at line {mark.line + 1} column {mark.column + 1}"
        raise FrontMatterError(f"invalid YAML: {error.problem or error.context}{where}") from error
    except (YAMLError, RecursionError) as error:
        raise FrontMatterError("invalid YAML: it is nested too deeply or holds what no text may hold") from error
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise FrontMatterError("invalid YAML: expected `key: value` lines")
    return {key: entry for key, entry in cast("dict[Any, Any]", value).items() if isinstance(key, str)}


def text_of(table: Mapping[str, Any], key: str) -> str | None:
    """The text at `key` on one line; None if it is absent or empty. Raises FrontMatterError for a list or a table."""
    value = table.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        kind = "list" if isinstance(value, list) else "table"
        raise FrontMatterError(f"invalid YAML: `{key}` must be a text, got a {kind}")
    return " ".join(value.split()) or None


def _quoted(found: re.Match[str]) -> str:
    words, mark, comment = found[2].partition(" #")
    value = words.rstrip().replace("\\", "\\\\").replace('"', '\\"')
    return f'{found[1]}: "{value}"{mark}{comment}'
