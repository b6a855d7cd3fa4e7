"""What the model reads of skills: which there are, and those that a message names."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from anyio import to_thread
from msgspec import Struct

from app_server.extensions.skill_library import Listing
from app_server.extensions.skills import Skill, SkillError, read_text
from protocol.v2.user_input import SkillUserInput, TextUserInput, UserInput

MAX_LIST = 24_000
"""How many characters the descriptions in the list may have together; longer ones are shortened."""

_SHORT = 200
_TAG = "skills_instructions"
_HOW = (
    "Skills are instructions for particular kinds of work, each kept in a SKILL.md file. When a task is of the kind "
    "that a skill describes, or the user names a skill as `$name`, read its SKILL.md whole before you begin and work "
    "by it; the text of a skill that the user names stands after the message already. Other files that it mentions are "
    "named relative to its folder: open those that the task needs, and prefer its scripts to writing your own. If a "
    "skill cannot be followed, say so in a sentence and go on without it."
)

_LINK = re.compile(r"\[\$([\w:-]+(?:[ .][\w:-]+)*)\]\(([^()\s]+)\)")
_NAME = re.compile(r"\$([\w-]+(?::[\w-]+)*)")


class Mentioned(Struct, frozen=True):
    """The texts of the skills that a message names, and what to tell its sender about those that cannot be given."""

    texts: Sequence[str]
    warnings: Sequence[str]


def skills_text(listing: Listing) -> str:
    """The list of skills for the model, by the folders that they are in; empty if there is none to choose from."""
    shown = [skill for skill in listing.skills if skill.is_chosen_by_model and skill.path not in listing.disabled]
    if not shown or not listing.instructs:
        return ""
    longest = max(_SHORT, MAX_LIST // len(shown))
    if sum(len(skill.description) for skill in shown) <= MAX_LIST:
        longest = max(len(skill.description) for skill in shown)
    folders: dict[str, list[str]] = defaultdict(list)
    for skill in shown:
        inside = skill.path.startswith(skill.root + os.sep)
        path = os.path.relpath(skill.path, skill.root) if inside else skill.path
        folders[skill.root].append(f"- {skill.name}: {_cut(skill.description, longest)} (file: {path})")
    lines = [f"<{_TAG}>", "## Skills", _HOW]
    for folder, entries in folders.items():
        lines += [f"### In `{folder}`", *entries]
    return "\n".join((*lines, f"</{_TAG}>"))


async def mentioned(inputs: Sequence[UserInput], listing: Listing) -> Mentioned:
    """What a message names: `skill` items, links such as `[$name](path)`, and `$name` where one skill is called so."""
    chosen, warnings = _choose(inputs, listing)
    texts: list[str] = []
    for skill in chosen:
        try:
            content = await to_thread.run_sync(read_text, skill.path)
        except SkillError as error:
            warnings.append(f"Skill `{skill.name}` is left out: {skill.path}: {error}")
            continue
        texts.append(f"<skill>\n<name>{skill.name}</name>\n<path>{skill.path}</path>\n{content}\n</skill>")
    return Mentioned(texts, warnings)


def _choose(inputs: Iterable[UserInput], listing: Listing) -> tuple[list[Skill], list[str]]:
    chosen: dict[str, Skill] = {}
    warnings: list[str] = []
    names: dict[str, None] = {}
    for part in inputs:
        if isinstance(part, SkillUserInput):
            skill = listing.at(part.path)
            if skill is None:
                warnings.append(f"There is no skill `{part.name}` at {part.path}; the message goes without it.")
            elif skill.path in listing.disabled:
                warnings.append(f"Skill `{part.name}` is switched off; the message goes without it.")
            else:
                chosen[skill.path] = skill
        elif isinstance(part, TextUserInput):
            for name, path in _LINK.findall(part.text):
                skill = listing.at(path.removeprefix("skill://"))
                if skill is not None and skill.name == name and skill.path not in listing.disabled:
                    chosen[skill.path] = skill
            names |= dict.fromkeys(_NAME.findall(_LINK.sub(" ", part.text)))
    for name in names:
        called = listing.named(name)
        if len(called) == 1:
            chosen[called[0].path] = called[0]
        elif called and not any(skill.path in chosen for skill in called):
            paths = ", ".join(skill.path for skill in called)
            warnings.append(f"`${name}` may mean several skills, so none is used; choose one of {paths}.")
    return list(chosen.values()), warnings


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"
