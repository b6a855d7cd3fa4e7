"""The configuration of a running daemon: read again when its files change, and as it is in each folder."""

import os
from functools import partial
from pathlib import Path

import anyio
import pytest

from app_server.config.edit import Edit
from app_server.config.layer import ConfigError, ConfigWarning
from app_server.config.layers import LayerStack, load_settings
from app_server.config.live import Configuration


class Desk:
    def __init__(self, root: Path) -> None:
        self.home, self.project = root / "home", root / "project"
        self.home.mkdir()
        (self.project / ".codex").mkdir(parents=True)
        self.loads = 0
        self.config('model = "one"\n')
        self.system = root / "etc.toml"

    def config(self, text: str) -> None:
        (self.home / "config.toml").write_text(text)

    def open(self, *, strict: bool = False) -> Configuration:
        load = partial(load_settings, self.home, system_config=self.system, environ={}, strict=strict)

        def counted() -> LayerStack:
            self.loads += 1
            return load()

        return Configuration(counted)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_a_file_that_has_changed_is_read_again_and_told_once(desk: Desk) -> None:
    configuration, told = desk.open(), list[str]()
    configuration.changed = lambda: told.append(configuration.settings.model)
    before = configuration.settings
    desk.config('model = "two"\n')
    assert (await configuration.refresh()).settings().model == "two"
    await configuration.refresh()
    assert told == ["two"]
    assert before.model == "one"


async def test_files_that_have_not_changed_are_not_read(desk: Desk) -> None:
    past = 1_000_000_000
    os.utime(desk.home / "config.toml", (past, past))
    configuration = desk.open()
    for _ in range(3):
        await configuration.in_folder(str(desk.project))
    assert desk.loads == 1


async def test_a_change_that_keeps_size_and_time_of_a_fresh_file_is_seen(desk: Desk) -> None:
    configuration = desk.open()
    state = (desk.home / "config.toml").stat()
    desk.config('model = "two"\n')
    os.utime(desk.home / "config.toml", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (await configuration.refresh()).settings().model == "two"


async def test_what_holds_in_a_folder_follows_its_project_and_the_trust_in_it(desk: Desk) -> None:
    configuration, found = desk.open(), list[ConfigWarning]()
    configuration.found = found.extend
    file = desk.project / ".codex" / "config.toml"
    cwd = str(desk.project)

    async def model() -> str:
        return (await configuration.thread_settings(None, cwd)).model

    file.write_text('model = "project"\n')
    assert await model() == "one"
    assert [warning.path for warning in found] == [str(file)]
    await configuration.write([Edit(f'projects."{cwd}".trust_level', "trusted")])
    assert await model() == "project"
    file.write_text('model = "other"\n')
    assert await model() == "other"
    (desk.project / "sub").mkdir()
    assert (await configuration.thread_settings(None, f"{cwd}/sub")).model == "one"
    (desk.project / ".git").mkdir()
    assert (await configuration.thread_settings(None, f"{cwd}/sub")).model == "other"
    assert str(file) in configuration.files
    assert configuration.settings.model == "one"


async def test_while_a_file_cannot_be_understood_what_was_in_force_stays(desk: Desk) -> None:
    configuration = desk.open()
    desk.config("model = \n")
    stack = await configuration.refresh()
    assert configuration.settings.model == "one"
    with pytest.raises(ConfigError, match=r"config\.toml:1:9"):
        stack.with_thread_config()
    desk.config('model = "two"\n')
    await configuration.refresh()
    assert configuration.settings.model == "two"


async def test_under_strict_config_a_mistake_does_not_end_what_runs(desk: Desk) -> None:
    configuration = desk.open(strict=True)
    desk.config('modell = "two"\n')
    assert (await configuration.refresh()).settings().model == "one"
    desk.config('model = "two"\n')
    assert (await configuration.refresh()).settings().model == "two"
    desk.config('modell = "two"\n')
    with pytest.raises(ConfigError, match="unknown configuration field `modell`"):
        desk.open(strict=True)


async def test_features_are_switched_below_every_layer_and_stay_when_files_change(desk: Desk) -> None:
    configuration = desk.open()
    taken = await configuration.switch({"mentions_v2": False, "memories": True, "goals": False, "nobody": True})
    assert taken == {"mentions_v2": False, "memories": True}
    assert configuration.settings.feature("mentions_v2", default=True) is False
    assert "features.memories" not in configuration.stack.origins()
    desk.config("[features]\nmemories = false\n")
    await configuration.refresh()
    assert configuration.settings.features == {"mentions_v2": False, "memories": False}


async def test_signing_in_changes_the_default_and_a_later_read_does_not_forget_it(desk: Desk) -> None:
    configuration = desk.open()
    assert configuration.settings.model_provider == "demo"
    configuration.sign(signed_in=True)
    assert configuration.settings.model_provider == "openai"
    desk.config('model = "two"\n')
    await configuration.refresh()
    assert (configuration.settings.model_provider, configuration.settings.model) == ("openai", "two")
    configuration.sign(signed_in=False)
    assert configuration.settings.model_provider == "demo"


async def test_writes_at_the_same_time_are_all_kept(desk: Desk) -> None:
    configuration = desk.open()

    async def write(number: int) -> None:
        await configuration.write([Edit(f"projects./p{number}.trust_level", "trusted")])

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(write, number)
    assert len(configuration.settings.projects) == 8
    assert len(desk.open().settings.projects) == 8
