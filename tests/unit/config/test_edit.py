"""Writing config.toml: what is written, what is refused, and what becomes of the rest of the file."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from app_server.config.edit import Edit, WriteRefused, Written, write
from app_server.config.layers import LayerStack, load_settings

FILE = """\
# mine
model = "m" # the usual
approval_policy = "never"

# servers
[mcp_servers.a]
command = "x"  # cmd
args = ["1"]

[tui]
theme = "dark"
"""


class Home:
    def __init__(self, path: Path) -> None:
        self.path, self.file = path, path / "config.toml"
        self.file.write_text(FILE)

    def load(self, *overrides: str, strict: bool = False) -> LayerStack:
        return load_settings(
            self.path, overrides, system_config=self.path / "etc" / "config.toml", environ={}, strict=strict
        )

    def demand(self, text: str) -> None:
        (self.path / "etc").mkdir(exist_ok=True)
        (self.path / "etc" / "requirements.toml").write_text(text)

    def write(self, *edits: tuple[Any, ...], **more: Any) -> Written:
        return write(self.load(), [Edit(*edit) for edit in edits], **more)

    def refusal(self, *edits: tuple[Any, ...], **more: Any) -> tuple[str, str]:
        """The kind and the reason; nothing was written."""
        before = self.file.read_bytes()
        with pytest.raises(WriteRefused) as raised:
            self.write(*edits, **more)
        assert self.file.read_bytes() == before
        return raised.value.kind, str(raised.value)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_value_is_replaced_where_it_stands(home: Home) -> None:
    written = home.write(("model", "n"))
    assert home.file.read_text() == FILE.replace('"m"', '"n"')
    assert written.overridden is None
    assert written.layer.version == home.load().user.version


def test_a_table_is_merged_by_upsert_and_replaced_by_replace(home: Home) -> None:
    home.write(("mcp_servers.a", {"command": "y", "env": {"K": "v"}}, "upsert"))
    added = FILE.replace('"x"', '"y"').replace('["1"]\n', '["1"]\n\n[mcp_servers.a.env]\nK = "v"\n')
    assert home.file.read_text() == added
    home.write(("mcp_servers.a", {"command": "z"}))
    assert home.file.read_text() == FILE.replace('"x"', '"z"').replace('args = ["1"]\n', "")


def test_null_takes_a_setting_away_and_what_is_not_there_stays_away(home: Home) -> None:
    home.write(("tui.theme", None), ("tui.nothing.below", None), ("nobody", None))
    assert home.file.read_text() == FILE.replace('theme = "dark"\n', "")


def test_trust_is_written_as_the_terminal_client_writes_it(home: Home) -> None:
    home.write(('projects."/projects/a.b".trust_level', "trusted"))
    assert home.file.read_text() == FILE + '\n[projects."/projects/a.b"]\ntrust_level = "trusted"\n'
    assert home.load().settings().projects == {"/projects/a.b": "trusted"}


def test_a_file_that_does_not_exist_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.file.unlink()
    home.write(("model", "m"))
    assert home.file.read_text() == 'model = "m"\n'
    assert home.file.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link_and_the_mode_stays_what_it_was(home: Home) -> None:
    real = home.path / "dotfiles.toml"
    home.file.rename(real)
    real.chmod(0o640)
    home.file.symlink_to(real.name)
    home.write(("model", "n"))
    assert home.file.is_symlink()
    assert tomllib.loads(real.read_text())["model"] == "n"
    assert real.stat().st_mode & 0o777 == 0o640


def test_nothing_is_left_beside_the_file(home: Home) -> None:
    home.write(("model", "n"))
    home.refusal(("sandbox_mode", "open"))
    assert os.listdir(home.path) == ["config.toml"]


def test_what_changes_nothing_writes_nothing(home: Home) -> None:
    before = home.file.stat()
    home.write(("model", "m"))
    home.write()
    assert home.file.stat().st_ino == before.st_ino


def test_a_version_that_is_gone_is_a_conflict(home: Home) -> None:
    version = home.load().user.version
    home.write(("model", "n"), expected_version=version)
    kind, reason = home.refusal(("model", "o"), expected_version=version)
    assert kind == "configVersionConflict"
    assert reason == "Configuration was modified since last read. Fetch latest version and retry."


def test_only_the_users_own_file_is_written(home: Home) -> None:
    home.write(("model", "n"), file_path=str(home.file))
    for other in ("/etc/codex/config.toml", "config.toml"):
        assert home.refusal(("model", "o"), file_path=other)[0] == "configLayerReadonly"


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("", 1, "keyPath must not be empty"),
        ("a..b", 1, "keyPath segments must not be empty"),
        ("a.", 1, "keyPath segments must not be empty"),
        ('a."b', 1, "unterminated quoted keyPath segment"),
        ('a."b"c', 1, "expected `.` after the quoted segment"),
        ("model.x", 1, "cannot set value on non-table parent"),
        ("tui", {"a": [None]}, "invalid type: null, expected any valid TOML value"),
        ("tui.x", 1 << 63, "has more than 64 bits"),
        ("tui.x", float(1 << 70), "has more than 64 bits"),
        ("profile", "work", "use `--profile <name>`"),
        ("approval_policy", "sometimes", "must be one of `untrusted`, `on-request`, `never`"),
        ("model_verbosity", 5, "must be one of"),
        ("model_provider", "nobody", "Model provider `nobody` not found; known providers:"),
        ("model_providers.x", {"base_url": "ftp://x"}, "must begin with http://"),
        ("default_permissions", ":nothing", "unknown permission profile"),
        ("profiles.work.model", "n", "use `--profile <name>`"),
        ("tui", [1], "must be a table, got a list (in `tui`)"),
        ("otel.tool_result", "x", "must be a table, got a string (in `otel.tool_result`)"),
        ("plugins", {"a@b": 5}, 'must be a table, got the number 5 (in `plugins."a@b"`)'),
        ("features", {"goals": True, "apps": "yes"}, "must be true or false, got a string (in `features.apps`)"),
        ("features.nobody", 5, "must be true or false, got the number 5 (in `features.nobody`)"),
        ("notify", "bell", "must be a list of strings, got a string (in `notify`)"),
        ("tui.theme", 5, "must be a string, got the number 5 (in `tui.theme`)"),
        ("tui.notifications", 7, "must be true or false or a list of strings, got the number 7"),
        ("tui.keymap.global.copy", "ctrl+a", "must be a key such as `ctrl-a`"),
        ("file_opener", "ed", "must be one of `vscode`, `vscode-insiders`, `windsurf`, `cursor`, `none`, got `ed`"),
        ("history.max_bytes", -1, "must be a whole number, at least 0, got the number -1 (in `history.max_bytes`)"),
        ("mcp_oauth_callback_port", 70000, "must be a whole number from 0 to 65535"),
        ("hooks.Stop", {}, "must be a list, got a table (in `hooks.Stop`)"),
        ("hooks.Stop", [{"hooks": [{"command": "x"}]}], "`type` is missing (in `hooks.Stop.0.hooks.0`)"),
        ("skills.config", 5, "must be a list, got the number 5 (in `skills.config`)"),
        ("skills.config", [{"enabled": True}, {"name": "x"}], "`enabled` is missing (in `skills.config.1`)"),
        ("apps.x.enabled", 5, "must be true or false, got the number 5 (in `apps.x.enabled`)"),
        ("browser_use", [], "must be a table, got a list (in `browser_use`)"),
        ("approval_policy", {"granular": {"rules": True}}, "`mcp_elicitations` is missing"),
        ("model_providers.x", {"base_url": "http://127.0.0.1:1"}, "`name` is missing (in `model_providers.x`)"),
        ("permissions.mine", {"filesystem": {"/x": "look"}}, "permissions.mine.filesystem"),
        ("mcp_servers.a.env", {"A": 1}, "must be a string, got the number 1 (in `mcp_servers.a.env.A`)"),
        ("mcp_servers.b", {"url": "http://127.0.0.1:1", "args": []}, "`args` is not for a server with `url`"),
        ("mcp_servers.b", {"url": "http://127.0.0.1:1", "bearer_token": "x"}, "name a variable with"),
        ("mcp_servers.b", {"args": ["1"]}, "must have either `command` or `url` (in `mcp_servers.b`)"),
        ("mcp_servers.a.url", "http://127.0.0.1:1", "must have either `command` or `url` (in `mcp_servers.a`)"),
        ("web_search", "sometimes", "one of `disabled`, `cached`, `indexed`, `live`, got `sometimes`"),
        ("tools.web_search", {"context_size": "huge"}, "(in `tools.web_search.context_size`)"),
        ("projects./a.trust_level", "maybe", "must be one of `trusted`, `untrusted`"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(home: Home, path: str, value: Any, reason: str) -> None:
    kind, told = home.refusal((path, value))
    assert (kind, reason in told) == ("configValidationError", True), told


def test_of_several_edits_all_are_made_or_none(home: Home) -> None:
    home.refusal(("model", "n"), ("sandbox_mode", "open"))
    home.write(("model_provider", "p"), ("model_providers.p", {"name": "P", "base_url": "http://127.0.0.1:1"}))
    assert home.load().with_thread_config().model_provider == "p"


def test_an_older_mistake_elsewhere_does_not_keep_a_setting_from_being_written(home: Home) -> None:
    home.file.write_text('sandbox_mode = "open"\nmodel_verbosity = 5\n')
    home.write(("model", "n"))
    home.write(("sandbox_mode", "read-only"))
    assert home.file.read_text() == 'sandbox_mode = "read-only"\nmodel_verbosity = 5\nmodel = "n"\n'


def test_what_is_of_the_wrong_kind_elsewhere_or_in_an_older_form_is_left_as_it_is(home: Home) -> None:
    home.file.write_text("tui = 5\n\n[features]\ngoals = 1\n")
    home.write(("features.apps", True), ("tools.web_search", True))
    assert tomllib.loads(home.file.read_text()) == {
        "tui": 5,
        "features": {"goals": 1, "apps": True},
        "tools": {"web_search": True},
    }


def test_a_file_that_cannot_be_understood_is_left_alone(home: Home) -> None:
    home.file.write_text('model = "x"\nmodel_provider = \n')
    kind, reason = home.refusal(("model", "n"))
    assert kind == "configValidationError"
    assert "line 2" in reason
    home.file.write_bytes(b"model = '\xff'\n")
    assert "not UTF-8" in home.refusal(("model", "n"))[1]


def test_an_unknown_setting_is_written_but_not_under_strict_config(home: Home) -> None:
    home.write(("aproval_policy", "never"))
    assert home.file.read_text().splitlines()[3] == 'aproval_policy = "never"'
    home.file.write_text(FILE)
    with pytest.raises(WriteRefused, match="did you mean `approval_policy`"):
        write(home.load(strict=True), [Edit("aproval_policy", "never")])


def test_a_stronger_layer_is_told_with_the_value_in_force(home: Home) -> None:
    stack = home.load('model="flag"', "tui.theme=light")
    written = write(stack, [Edit("service_tier", "flex"), Edit("model", "n")])
    assert written.overridden is not None
    layer, value = written.overridden
    assert (layer.kind, value) == ("sessionFlags", "flag")
    whole = write(stack, [Edit("tui", {"theme": "blue", "auto_recap": False})])
    assert whole.overridden is not None
    assert whole.overridden[1] == {"theme": "light", "auto_recap": False}
    assert write(stack, [Edit("tui.auto_recap", True)]).overridden is None


DEMANDS = """
allowed_approval_policies = ["on-request", "never"]
allowed_sandbox_modes = ["read-only"]
model_provider = "openai"
[features]
goals = true
"""


@pytest.mark.parametrize(
    ("path", "value", "kind", "reason"),
    [
        ("approval_policy", "untrusted", "configValidationError", "not in the allowed set [on-request, never]"),
        ("sandbox_mode", "danger-full-access", "configValidationError", "not in the allowed set [read-only]"),
        ("default_permissions", ":workspace", "configValidationError", "is not in the allowed set [read-only]"),
        ("model_provider", "ollama", "configRequirementReadonly", "is managed by requirements and cannot be changed"),
        ("model_provider", None, "configRequirementReadonly", "is managed by requirements and cannot be changed"),
        ("features.goals", False, "configValidationError", "`features.goals=false` is not in the allowed set"),
        ("features", {"goals": False}, "configValidationError", "`features.goals=false` is not in the allowed set"),
    ],
)
def test_what_an_organisation_does_not_allow_is_refused(
    home: Home, path: str, value: Any, kind: str, reason: str
) -> None:
    home.demand(DEMANDS)
    told = home.refusal((path, value))
    assert (told[0], reason in told[1]) == (kind, True), told


def test_what_it_does_allow_is_written(home: Home) -> None:
    home.demand(DEMANDS)
    home.write(("approval_policy", "on-request"), ("features.goals", True), ("features.memories", True))
    assert home.load().settings().approval_policy == "on-request"


def test_a_change_by_somebody_else_is_not_lost(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program replaces the file between reading and writing: the write is made again on what is there then."""
    replace, others = os.fsync, [FILE.replace('"dark"', '"light"')]

    def other_first(fd: int) -> None:
        if others:
            home.file.write_text(others.pop())
        replace(fd)

    monkeypatch.setattr(os, "fsync", other_first)
    home.write(("model", "n"))
    assert home.file.read_text() == FILE.replace('"dark"', '"light"').replace('"m"', '"n"')


LISTED = """\
model = "m"

# What I do not want here.
[[skills.config]]
name = "one" # too loud
enabled = false

# The second one.
[[skills.config]]
name = "two"
enabled = false

[tui]
theme = "dark"
"""


def test_tables_of_a_list_stay_where_they_are_with_their_comments(home: Home) -> None:
    home.file.write_text(LISTED)
    one, two = {"name": "one", "enabled": False}, {"name": "two", "enabled": False}
    home.write(("skills.config", [one, two | {"enabled": True}, {"name": "three", "enabled": False}]))
    assert home.file.read_text() == LISTED.replace(
        'name = "two"\nenabled = false\n\n',
        'name = "two"\nenabled = true\n\n[[skills.config]]\nname = "three"\nenabled = false\n\n',
    )
    home.write(("skills.config", [two | {"enabled": True}]))
    kept = LISTED[: LISTED.index("# What")] + LISTED[LISTED.index("# The second") :]
    assert home.file.read_text() == kept.replace("false", "true")


def test_the_last_table_of_a_list_leaves_no_empty_table_behind(home: Home) -> None:
    home.file.write_text(LISTED)
    home.write(("skills.config", None))
    assert home.file.read_text() == 'model = "m"\n\n[tui]\ntheme = "dark"\n'


def test_a_list_of_tables_is_written_with_headers(home: Home) -> None:
    hook = {"matcher": "Bash", "hooks": [{"type": "command", "command": "true"}]}
    home.write(("hooks.PreToolUse", [hook]))
    assert home.file.read_text() == FILE + (
        '\n[[hooks.PreToolUse]]\nmatcher = "Bash"\nhooks = [{ type = "command", command = "true" }]\n'
    )
