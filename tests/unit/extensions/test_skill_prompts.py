from pathlib import Path

import pytest

from app_server.extensions.skill_library import Listing
from app_server.extensions.skill_prompts import MAX_LIST, mentioned, skills_text
from app_server.extensions.skills import Skill, read_skill
from protocol.v2.user_input import SkillUserInput, TextUserInput, UserInput
from tests.unit.extensions.conftest import Home


def _listing(*paths: Path, disabled: frozenset[str] = frozenset()) -> Listing:
    skills = [read_skill(str(path), str(path.parent.parent), "user") for path in paths]
    return Listing(skills, [], disabled)


def _says(words: str) -> list[UserInput]:
    return [TextUserInput(text=words)]


@pytest.fixture
def two(home: Home) -> tuple[Path, Path]:
    return home.skill("skills", "fly"), home.skill("skills", "swim")


def test_the_model_is_told_name_description_and_file_of_each_skill(home: Home) -> None:
    here, there = home.skill("skills", "fly", "Up in the air."), home.skill("other", "swim", "In the water.")
    text = skills_text(_listing(here, there))
    assert text.startswith("<skills_instructions>\n")
    assert text.endswith("\n</skills_instructions>")
    assert f"### In `{home.user / 'skills'}`\n- fly: Up in the air. (file: fly/SKILL.md)\n" in text
    assert f"### In `{home.user / 'other'}`\n- swim: In the water. (file: swim/SKILL.md)\n" in text


def test_the_model_is_not_told_of_what_is_switched_off_or_for_the_user_alone(
    home: Home, two: tuple[Path, Path]
) -> None:
    home.write("skills/swim/agents/openai.yaml", "policy:\n  allow_implicit_invocation: false\n")
    assert skills_text(_listing(*two, disabled=frozenset({str(two[0])}))) == ""
    assert "- fly:" in skills_text(_listing(*two))
    assert "swim" not in skills_text(_listing(*two))
    assert skills_text(Listing(_listing(*two).skills, [], frozenset(), instructs=False)) == ""


def test_a_long_list_is_shortened_and_names_every_skill() -> None:
    skills = [Skill(f"s{i}", "words " * 300, f"/r/s{i}/SKILL.md", "/r", "user") for i in range(100)]
    text = skills_text(Listing(skills, [], frozenset()))
    assert len(text) < MAX_LIST + 100 * 40 + 1000
    assert all(f"- s{i}: words" in text for i in range(100))


async def test_skills_are_named_by_dollar_by_link_and_by_item(two: tuple[Path, Path]) -> None:
    fly, swim = two
    listing = _listing(*two)
    for words in ("use $fly, please", f"see [$fly]({fly})", f"see [$fly](skill://{fly})", "$fly and $fly and $nothing"):
        found = await mentioned(_says(words), listing)
        assert found.texts == [f"<skill>\n<name>fly</name>\n<path>{fly}</path>\n{fly.read_text()}\n</skill>"]
        assert found.warnings == []
    both = await mentioned([TextUserInput(text="$fly"), SkillUserInput(name="swim", path=str(swim.parent))], listing)
    assert [text.splitlines()[1] for text in both.texts] == ["<name>swim</name>", "<name>fly</name>"]


@pytest.mark.parametrize("words", ["$flying", "$FLY", "fly", "$HOME and $PATH", "costs 5$", "[$fly](/elsewhere)"])
async def test_other_words_name_no_skill(two: tuple[Path, Path], words: str) -> None:
    assert await mentioned(_says(words), _listing(*two)) == await mentioned(_says("hello"), _listing(*two))


async def test_a_name_that_two_skills_have_is_asked_about(home: Home) -> None:
    one, other = home.skill("skills", "fly"), home.skill("more", "fly")
    found = await mentioned(_says("$fly"), _listing(one, other))
    assert found.texts == []
    assert str(one) in found.warnings[0]
    assert str(other) in found.warnings[0]
    chosen = await mentioned([SkillUserInput(name="fly", path=str(other)), *_says("$fly")], _listing(one, other))
    assert len(chosen.texts) == 1
    assert f"<path>{other}</path>" in chosen.texts[0]
    assert chosen.warnings == []


async def test_the_sender_hears_of_skills_that_cannot_be_given(two: tuple[Path, Path]) -> None:
    fly, swim = two
    listing = _listing(*two, disabled=frozenset({str(fly)}))
    swim.unlink()
    run = fly.parent.parent / "run" / "SKILL.md"
    given = [SkillUserInput(name=path.parent.name, path=str(path)) for path in (fly, swim, run)]
    found = await mentioned(given, listing)
    assert found.texts == []
    assert ["switched off" in found.warnings[0], "left out" in found.warnings[2]] == [True, True]
    assert "There is no skill `run`" in found.warnings[1]
    assert (await mentioned(_says("$fly"), listing)).texts == []
