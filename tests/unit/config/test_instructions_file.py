"""`model_instructions_file`: what the model is told first, from a file."""

import os
from pathlib import Path

import pytest

from app_server.config.layer import ConfigError
from app_server.config.layers import LayerStack, load_settings
from app_server.config.live import Configuration
from app_server.config.projects import find_project


class Desk:
    """A home whose config.toml names `first.md`, and a trusted project."""

    def __init__(self, root: Path) -> None:
        self.root, self.home, self.work = root, root / "home", root / "work"
        self.home.mkdir()
        (self.work / ".codex").mkdir(parents=True)
        (self.work / ".git").mkdir()
        trust = f'[projects."{self.work}"]\ntrust_level = "trusted"\n'
        (self.home / "config.toml").write_text(f'instructions = "short"\nmodel_instructions_file = "first.md"\n{trust}')

    def load(self) -> LayerStack:
        return load_settings(self.home, system_config=self.root / "none.toml", environ={})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_file_lies_beside_the_configuration_that_names_it(desk: Desk) -> None:
    (desk.home / "first.md").write_text("\n  of the user \n")
    assert desk.load().with_thread_config().base_instructions == "of the user"
    (desk.work / ".codex" / "config.toml").write_text('model_instructions_file = "own.md"\n')
    (desk.work / ".codex" / "own.md").write_text("of the project")
    base = desk.load()
    settings = base.settings()
    project = find_project(str(desk.work), settings.project_root_markers, settings.projects, desk.home)
    stack = base.in_project(project)
    assert stack.with_thread_config().base_instructions == "of the project"
    override = {"model_instructions_file": str(desk.home / "first.md")}
    assert stack.with_thread_config(override).base_instructions == "of the user"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b" \n", "it is empty"),
        (b"\xff\xfe", "it is not UTF-8"),
        (b"x" * ((1 << 20) + 1), "it is larger than 1 MiB"),
    ],
)
def test_without_its_text_no_thread_starts(desk: Desk, content: bytes | None, reason: str) -> None:
    if content is not None:
        (desk.home / "first.md").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"config\.toml:2: .*first\.md cannot be used: {reason}"):
        desk.load().with_thread_config()


def test_a_pipe_is_not_waited_for(desk: Desk) -> None:
    os.mkfifo(desk.home / "first.md")
    with pytest.raises(ConfigError, match="it is no regular file"):
        desk.load().with_thread_config()


def test_a_client_names_it_by_its_whole_path(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="the path must be absolute"):
        desk.load().with_thread_config({"model_instructions_file": "first.md"})


async def test_a_change_of_the_file_holds_at_once(desk: Desk) -> None:
    file = desk.home / "first.md"
    file.write_text("one")
    configuration, told = Configuration(desk.load), list[str | None]()
    configuration.changed = lambda: told.append(configuration.settings.base_instructions)
    assert str(file) in configuration.files
    file.write_text("three")
    assert (await configuration.thread_settings(None, str(desk.root))).base_instructions == "three"
    assert told == ["three"]
