"""Which skills are switched off: the entries of `[[skills.config]]`."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from app_server.extensions.loose import Table, list_in, table_in
from app_server.extensions.skills import SKILL_FILE, Skill


def rules_in(table: Any) -> list[Any]:
    """The entries in the table `skills`."""
    return list_in(table_in(table).get("config"))


def switched_off(skills: Iterable[Skill], rules: Iterable[Any]) -> frozenset[str]:
    """The paths of the skills that are switched off. Of entries that mean the same skill the last one counts."""
    known, off = list(skills), set[str]()
    for rule in map(table_in, rules):
        if isinstance(rule.get("enabled"), bool):
            meant = {skill.path for skill in known if is_meant(skill, rule)}
            off = off - meant if rule["enabled"] else off | meant
    return frozenset(off)


def is_meant(skill: Skill, rule: Table) -> bool:
    """Whether an entry, with the name of a skill or the path of its SKILL.md or folder, is about `skill`."""
    path = rule.get("path")
    if isinstance(path, str) and path:
        return skill.path == _file(path)
    return skill.name == rule.get("name")


def with_rule(rules: Sequence[Any], skills: Sequence[Skill], rule: Table) -> list[Any]:
    """The entries with `rule` in place of those for the same name or path.

    What is on by itself needs no entry; one that another entry switches off gets one that switches it on.
    """
    kept = [other for other in rules if not _is_same(table_in(other), rule)]
    if not rule["enabled"]:
        return [*kept, dict(rule)]
    off = switched_off(skills, kept)
    return [*kept, dict(rule)] if any(skill.path in off for skill in skills if is_meant(skill, rule)) else kept


def _is_same(one: Table, other: Table) -> bool:
    path, wanted = one.get("path"), other.get("path")
    if isinstance(path, str) and path:
        return isinstance(wanted, str) and _file(path) == _file(wanted)
    return wanted is None and one.get("name") == other.get("name")


def _file(path: str) -> str:
    """The SKILL.md that is meant by its own path or by that of its folder."""
    real = os.path.realpath(Path(path).expanduser())
    return real if os.path.basename(real) == SKILL_FILE else os.path.join(real, SKILL_FILE)
