"""One skill: what its SKILL.md and the file beside it say."""

import os
import re
from pathlib import Path
from typing import Any

from msgspec import Struct

from app_server.extensions.front_matter import FrontMatterError, read_front_matter, read_table, text_of
from app_server.extensions.loose import Table, line, list_in, table_in
from protocol.v2.skills import SkillDependencies, SkillInterface, SkillScope, SkillToolDependency

SKILL_FILE = "SKILL.md"
DETAILS_FILE = os.path.join("agents", "openai.yaml")
"""Beside SKILL.md: how clients show the skill, what it needs, and whether the model may choose it by itself."""

MAX_NAME = 64
MAX_BYTES = 1024 * 1024
"""How large a skill's files may be."""

MAX_PROMPT = 1024
"""How long the text may be that a client offers to begin with."""

_COLOR = re.compile(r"#[0-9A-Fa-f]{6}\Z")


class SkillError(Exception):
    """A SKILL.md that is no skill; the message says why."""


class Skill(Struct, frozen=True):
    """A skill that can be used. `path` is its SKILL.md, `root` the folder of skills in which it was found."""

    name: str
    description: str
    path: str
    root: str
    scope: SkillScope
    short_description: str | None = None
    interface: SkillInterface | None = None
    dependencies: SkillDependencies | None = None
    is_chosen_by_model: bool = True
    """Whether the model learns of it, or only who names it can use it."""
    plugin_id: str | None = None


def read_skill(path: str, root: str, scope: SkillScope, plugin_id: str | None = None) -> Skill:
    """The skill whose SKILL.md is at `path`. Raises SkillError. Blocks on files.

    A skill of a plugin is called `plugin:skill`.
    """
    try:
        table = read_front_matter(read_text(path))
        name = text_of(table, "name") or os.path.basename(os.path.dirname(path))
        description = text_of(table, "description")
        short = line(table_in(table.get("metadata")), "short-description")
    except FrontMatterError as error:
        raise SkillError(str(error)) from error
    if description is None:
        raise SkillError("missing field `description`")
    if len(name) > MAX_NAME:
        raise SkillError(f"invalid name: exceeds maximum length of {MAX_NAME} characters")
    if plugin_id is not None:
        name = f"{plugin_id.rpartition('@')[0]}:{name}"
    folder = os.path.dirname(path)
    details = _details(folder)
    return Skill(
        name,
        description,
        path,
        root,
        scope,
        short,
        _interface(folder, details.get("interface")),
        _dependencies(table_in(details.get("dependencies")).get("tools")),
        table_in(details.get("policy")).get("allow_implicit_invocation") != "false",
        plugin_id,
    )


def read_text(path: str) -> str:
    """A file of a skill. Raises SkillError for one that is too large or no text. Blocks on files."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SkillError(f"failed to read file: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise SkillError(f"the file is larger than {MAX_BYTES // 1024} KiB")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise SkillError(f"failed to read file: it is not UTF-8 (byte {error.start})") from error


def _details(folder: str) -> Table:
    # The skill itself is good: what clients show of it is left out where it cannot be read.
    path = os.path.join(folder, DETAILS_FILE)
    try:
        return read_table(read_text(path)) if os.path.isfile(path) else {}
    except (SkillError, FrontMatterError):
        return {}


def _interface(folder: str, value: Any) -> SkillInterface | None:
    if not isinstance(value, dict):
        return None
    table = table_in(value)
    color, prompt = line(table, "brand_color"), line(table, "default_prompt")
    return SkillInterface(
        display_name=line(table, "display_name"),
        short_description=line(table, "short_description"),
        icon_small=inside(folder, table.get("icon_small")),
        icon_large=inside(folder, table.get("icon_large")),
        brand_color=color if color and _COLOR.match(color) else None,
        default_prompt=prompt if prompt and len(prompt) <= MAX_PROMPT else None,
    )


def _dependencies(value: Any) -> SkillDependencies | None:
    tools: list[SkillToolDependency] = []
    for table in map(table_in, list_in(value)):
        kind, name = line(table, "type"), line(table, "value")
        if kind and name:
            more = {key: line(table, key) for key in ("command", "description", "transport", "url")}
            tools.append(SkillToolDependency(type=kind, value=name, **more))
    return SkillDependencies(tools=tools) if tools else None


def inside(folder: str, value: Any) -> str | None:
    """The absolute path of a file that is named relative to `folder`, None if it is named in another way."""
    if not isinstance(value, str) or not value or os.path.isabs(value):
        return None
    path = os.path.normpath(os.path.join(folder, value))
    return path if path.startswith(folder + os.sep) else None
