import os
from pathlib import Path

import pytest

from app_server.extensions.skill_folders import SkillRoot, look_through, skill_roots
from app_server.extensions.skill_rules import switched_off, with_rule
from app_server.extensions.skills import Skill, SkillError, read_skill
from tests.unit.extensions.conftest import Home


def _read(path: Path, plugin_id: str | None = None) -> Skill:
    return read_skill(str(path), str(path.parent.parent), "user", plugin_id)


def _error(path: Path) -> str:
    with pytest.raises(SkillError) as raised:
        _read(path)
    return str(raised.value)


def _skill(name: str, path: str) -> Skill:
    return Skill(name, "About it.", path, "/", "user")


def test_a_skill_is_what_its_front_matter_and_the_file_beside_it_say(home: Home) -> None:
    path = home.write(
        "skills/talk/SKILL.md",
        "---\nname: talk\ndescription: |\n  Speak\n  softly\nmetadata:\n  short-description: Speak\n---\nbody\n",
    )
    home.write(
        "skills/talk/agents/openai.yaml",
        "interface:\n  display_name: Talk\n  short_description: 5\n  icon_small: ./assets/small.png\n"
        "  icon_large: ../../secret.png\n  brand_color: red\n  default_prompt: Say it\n"
        "dependencies:\n  tools:\n    - type: mcp\n      value: github\n      url: https://mcp.example\n    - nothing\n"
        "policy:\n  allow_implicit_invocation: false\n",
    )
    skill = _read(path)
    assert (skill.name, skill.description, skill.short_description) == ("talk", "Speak softly", "Speak")
    assert not skill.is_chosen_by_model
    assert skill.interface is not None
    shown = skill.interface
    assert (shown.display_name, shown.short_description, shown.default_prompt) == ("Talk", "5", "Say it")
    assert shown.icon_small == str(path.parent / "assets" / "small.png")
    assert (shown.icon_large, shown.brand_color) == (None, None)
    assert skill.dependencies is not None
    assert [(tool.type, tool.value, tool.url) for tool in skill.dependencies.tools] == [
        ("mcp", "github", "https://mcp.example")
    ]


@pytest.mark.parametrize(
    ("front_matter", "name", "description"),
    [
        ("description: d", "folder", "d"),
        ("name: 12\ndescription: true", "12", "true"),
        ("name: a # comment\ndescription: first: second: third", "a", "first: second: third"),
        ("name: [x\ndescription: y", "[x", "y"),
        ("name: 'sp aced'\ndescription: >-\n  folded\n  text", "sp aced", "folded text"),
        ('name: b\ndescription: say "hello": now', "b", 'say "hello": now'),
    ],
)
def test_front_matter_is_read_as_its_author_meant_it(
    home: Home, front_matter: str, name: str, description: str
) -> None:
    skill = _read(home.write("skills/folder/SKILL.md", f"---\n{front_matter}\n---\nbody\n"))
    assert (skill.name, skill.description) == (name, description)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no front matter", "missing YAML frontmatter delimited by ---"),
        ("---\nname: x\ndescription: not closed\n", "missing YAML frontmatter delimited by ---"),
        ("---\nname: x\n---\n", "missing field `description`"),
        ("---\nname: x\ndescription: ''\n---\n", "missing field `description`"),
        ("---\n- a\n- b\n---\n", "expected `key: value` lines"),
        ("---\nname: x\ndescription: [a, b]\n---\n", "`description` must be a text, got a list"),
        ("---\nname: x\ndescription: 'open\n---\n", "invalid YAML"),
        (f"---\nname: {'n' * 65}\ndescription: d\n---\n", "exceeds maximum length of 64 characters"),
        (f"---\nname: {'[' * 5000}\ndescription: d\n{'{' * 3000}\n---\n", "invalid YAML"),
    ],
)
def test_a_file_that_is_no_skill_says_why(home: Home, text: str, words: str) -> None:
    assert words in _error(home.write("skills/x/SKILL.md", text))


def test_bytes_that_are_no_text_are_no_skill(home: Home) -> None:
    path = home.skill("skills", "x")
    path.write_bytes(b"---\nname: x\ndescription: \xff\n---\n")
    assert "not UTF-8" in _error(path)


def test_a_skill_of_a_plugin_is_called_by_both_names(home: Home) -> None:
    assert _read(home.skill("skills", "fly"), "birds@zoo").name == "birds:fly"


def test_skills_are_found_below_a_root_but_not_too_deep_hidden_or_through_links(home: Home) -> None:
    root = home.user / "skills"
    found = [home.skill("skills", "one"), home.skill("skills/one", "inner"), home.skill("skills/1/2/3/4/5", "six")]
    home.skill("skills/1/2/3/4/5/6", "seven")
    home.skill("skills/.hidden", "hidden")
    linked = home.skill("elsewhere", "linked")
    (root / "link").symlink_to(linked.parent)
    (root / "loop").symlink_to(root)
    secret = home.write("secret", "---\nname: secret\ndescription: d\n---\n")
    (root / "spy").mkdir()
    (root / "spy" / "SKILL.md").symlink_to(secret)
    (root / "folder" / "SKILL.md").mkdir(parents=True)
    assert set(look_through(str(root)).skills) == {str(path) for path in (*found, linked)}


def test_a_change_of_a_skill_or_of_the_file_beside_it_changes_its_stamp(home: Home) -> None:
    path = home.skill("skills", "one")
    before = look_through(str(path.parent)).skills[str(path)]
    assert look_through(str(path.parent)).skills[str(path)] == before
    details = home.write("skills/one/agents/openai.yaml", "interface: {}\n")
    between = look_through(str(path.parent)).skills[str(path)]
    details.write_text("interface: {display_name: One}\n")
    assert len({before, between, look_through(str(path.parent)).skills[str(path)]}) == 3


def test_the_folders_of_a_project_come_before_those_of_the_user(home: Home) -> None:
    inner = home.project / "a"
    inner.mkdir()
    plugin = SkillRoot("/plugin/skills", "user", "p@m")
    roots = skill_roots(home.settings, str(inner), ["/extra"], [plugin], admin="/admin")
    assert [(root.path, root.scope) for root in roots] == [
        *(
            (str(folder / name / "skills"), "repo")
            for folder in (inner, home.project)
            for name in (".agents", ".codex")
        ),
        (str(home.codex / "skills"), "user"),
        (str(home.user / ".agents" / "skills"), "user"),
        ("/extra", "user"),
        ("/plugin/skills", "user"),
        (str(home.codex / "skills" / ".system"), "system"),
        ("/admin", "admin"),
    ]


def test_a_home_that_is_a_project_keeps_its_own_skills(home: Home) -> None:
    (home.user / ".git").mkdir()
    roots = skill_roots(home.settings, str(home.user), [], [], admin="/admin")
    assert [root.scope for root in roots if root.path == str(home.user / ".agents" / "skills")] == ["user"]


def test_entries_switch_skills_off_by_name_and_by_path_and_the_last_one_counts(home: Home) -> None:
    path = str(home.skill("skills", "a"))
    skills = [_skill("a", path), _skill("b", "/b/SKILL.md"), _skill("c", "/c/SKILL.md")]
    rules = [
        {"name": "b", "enabled": False},
        {"path": os.path.dirname(path), "enabled": False},
        {"name": "c", "enabled": False},
        {"path": "/c/SKILL.md", "enabled": True},
        {"name": "a"},
        "nonsense",
    ]
    assert switched_off(skills, rules) == {path, "/b/SKILL.md"}


def test_switching_on_takes_the_entry_away_unless_another_one_switches_off() -> None:
    skills = [_skill("a", "/a/SKILL.md")]
    off: dict[str, object] = {"name": "a", "enabled": False}
    by_path: dict[str, object] = {"path": "/a", "enabled": False}
    assert with_rule([], skills, off) == [off]
    assert with_rule([by_path, off], skills, {"path": "/a/SKILL.md", "enabled": False}) == [
        off,
        {"path": "/a/SKILL.md", "enabled": False},
    ]
    assert with_rule([off], skills, {"name": "a", "enabled": True}) == []
    on = {"name": "a", "enabled": True}
    assert with_rule([by_path], skills, on) == [by_path, on]
    assert switched_off(skills, with_rule([by_path], skills, on)) == frozenset()
