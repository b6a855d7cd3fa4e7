from typing import Any

import pytest

from app_server.config.layer import Layer
from app_server.config.layers import LayerStack
from app_server.extensions.hooks import list_hooks
from app_server.extensions.manifests import Manifest
from protocol.v2.hooks import CommandHookMetadata, HooksListEntry, McpToolHookMetadata
from tests.unit.extensions.conftest import Home


def _listed(home: Home, stack: LayerStack | None = None) -> HooksListEntry:
    return list_hooks(stack or home.stack, (), "/work")


def _command(command: str = "x", **more: Any) -> dict[str, Any]:
    return {"type": "command", "command": command, **more}


def _group(*hooks: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [{"hooks": list(hooks), **more}]


# Trust that was given with the reference has to hold here.
@pytest.mark.parametrize(
    ("event", "group", "begins"),
    [
        ("Stop", _group(_command()), "6f144774"),
        ("Stop", _group(_command(), matcher="never read"), "6f144774"),
        ("Stop", _group(_command("proj stop")), "1435dfcc"),
        ("PreToolUse", _group(_command()), "250c1e97"),
        ("PreToolUse", _group(_command(commandWindows="w")), "250c1e97"),
        ("PreToolUse", _group(_command(statusMessage="m")), "ca857e28"),
        ("PreToolUse", _group(_command(additionalContextLimit=5)), "98b978d3"),
        ("PreToolUse", _group({**_command(), "async": True}), "200dc617"),
        ("PreToolUse", _group(_command(), matcher=""), "b22089b1"),
        ("PreToolUse", _group(_command(), matcher="*"), "d45cad3a"),
        ("PreToolUse", _group(_command(), matcher="Bash|Edit"), "e33d9917"),
        ("SessionEnd", _group(_command(timeout=5)), "b1aa6329"),
        ("Interrupt", _group(_command(timeout=30)), "a5c004c9"),
        ("PreToolUse", _group({"type": "mcp_tool", "server": "s", "tool": "t"}), "512cf58f"),
        ("PreToolUse", _group({"type": "mcp_tool", "server": "s", "tool": "t", "timeout": 4}), "56fe19e3"),
        (
            "PreToolUse",
            _group({"type": "mcp_tool", "server": "s", "tool": "t", "timeout": 4, "input": {"a": 1}}),
            "e312ca59",
        ),
    ],
)
def test_the_hash_of_a_hook_is_the_one_that_the_reference_gives_it(
    home: Home, event: str, group: list[dict[str, Any]], begins: str
) -> None:
    home.write(".codex/hooks.json", {"hooks": {event: group}})
    (hook,) = _listed(home).hooks
    assert hook.current_hash.startswith(f"sha256:{begins}")


def test_hooks_of_all_files_are_listed_in_order(home: Home) -> None:
    home.write(
        ".codex/hooks.json",
        {
            "description": "mine",
            "hooks": {
                "Stop": _group(_command("last", timeout=0)),
                "PreToolUse": [
                    *_group(_command("first", timeout=5, statusMessage="Look"), _command("second"), matcher="^Bash$"),
                    *_group({"type": "mcp_tool", "server": "s", "tool": "t"}),
                ],
            },
        },
    )
    home.configure('[[hooks.Stop]]\n[[hooks.Stop.hooks]]\ntype = "command"\ncommand = "from toml"\n')
    entry = _listed(home)
    json, toml = str(home.codex / "hooks.json"), str(home.codex / "config.toml")
    assert [(hook.key, hook.event_name, hook.timeout_sec, hook.display_order) for hook in entry.hooks] == [
        (f"{json}:pre_tool_use:0:0", "preToolUse", 5, 0),
        (f"{json}:pre_tool_use:0:1", "preToolUse", 600, 1),
        (f"{json}:pre_tool_use:1:0", "preToolUse", 600, 2),
        (f"{json}:stop:0:0", "stop", 1, 3),
        (f"{toml}:stop:0:0", "stop", 600, 4),
    ]
    first, _, tool, _, last = entry.hooks
    assert isinstance(first, CommandHookMetadata)
    assert isinstance(tool, McpToolHookMetadata)
    assert (first.command, first.matcher, first.status_message, first.source) == ("first", "^Bash$", "Look", "user")
    assert (tool.server, tool.tool, tool.matcher) == ("s", "t", None)
    assert (last.source_path, last.trust_status, last.enabled) == (toml, "untrusted", True)
    assert entry.warnings == [f"loading hooks from both {json} and {toml}; prefer a single representation"]


def test_a_hook_is_trusted_as_it_was_when_its_user_trusted_it(home: Home) -> None:
    path = home.codex / "hooks.json"

    def trust(command: str) -> tuple[str, bool]:
        home.write(".codex/hooks.json", {"hooks": {"Stop": _group(_command(command))}})
        (hook,) = _listed(home).hooks
        return hook.trust_status, hook.enabled

    assert trust("x") == ("untrusted", True)
    (hook,) = _listed(home).hooks
    state = f'[hooks.state."{path}:stop:0:0"]\n'
    home.configure(f'{state}trusted_hash = "{hook.current_hash}"\n')
    assert trust("x") == ("trusted", True)
    assert trust("y") == ("modified", True)
    home.configure(f"{state}enabled = false\n")
    assert trust("x") == ("untrusted", False)


def test_a_project_cannot_trust_its_own_hooks(home: Home) -> None:
    folder = home.project / ".codex"
    home.write(folder / "hooks.json", {"hooks": {"Stop": _group(_command())}})
    source = {"type": "project", "dotCodexFolder": str(folder)}
    plain = LayerStack(home.codex, (*home.stack.layers, Layer(source, {})))
    (hook,) = _listed(home, plain).hooks
    assert (hook.source, hook.source_path) == ("project", str(folder / "hooks.json"))
    state = {"hooks": {"state": {hook.key: {"trusted_hash": hook.current_hash}}}}
    trusting = LayerStack(home.codex, (*home.stack.layers, Layer(source, state)))
    assert [hook.trust_status for hook in _listed(home, trusting).hooks] == ["untrusted"]
    untrusted = Layer(source, {}, disabled_reason="the project is not trusted")
    assert _listed(home, LayerStack(home.codex, (*home.stack.layers, untrusted))).hooks == []


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        ("{", "is not valid JSON"),
        ("[]", "it must be an object"),
        ({"Stop": []}, "unknown field `Stop`, expected `description` or `hooks`"),
        ({"hooks": {"Stop": 5}}, "`Stop` must be a list"),
        ({"hooks": {"Stop": _group({"command": "x"})}}, "missing field `type`"),
        ({"hooks": {"Stop": _group({"type": "command"})}}, "missing field `command`"),
        ({"hooks": {"Stop": _group({"type": "shell"})}}, "unknown hook type `shell`"),
        ({"hooks": {"Stop": _group(_command(timeout=-1))}}, "`timeout` must be a whole number of seconds"),
        ({"hooks": {"Stop": _group(_command(""))}}, "skipping empty hook command"),
        ({"hooks": {"Stop": _group({"type": "prompt"})}}, "prompt hooks are not supported yet"),
        ({"hooks": {"PreToolUse": _group(_command(), matcher="[")}}, 'invalid matcher "["'),
    ],
)
def test_what_is_wrong_in_hooks_json_is_told_and_the_rest_is_listed(
    home: Home, content: str | dict[str, Any], warning: str
) -> None:
    home.write(".codex/hooks.json", content)
    home.configure('[[hooks.SessionStart]]\nhooks = [{ type = "command", command = "kept" }]\n')
    entry = _listed(home)
    assert [hook.event_name for hook in entry.hooks] == ["sessionStart"]
    (told,) = entry.warnings
    assert warning in told
    assert str(home.codex / "hooks.json") in told
    assert entry.errors == []


def test_what_is_wrong_in_config_toml_is_an_error_of_that_file(home: Home) -> None:
    home.configure('[[hooks.Stop]]\nhooks = [{ type = "command" }]\n[[hooks.PreCompact]]\nhooks = []\n')
    (error,) = _listed(home).errors
    assert error.path == str(home.codex / "config.toml")
    assert "missing field `command`" in error.message


def test_unknown_events_are_passed_over_and_hooks_can_be_switched_off_as_a_whole(home: Home) -> None:
    home.write(".codex/hooks.json", {"hooks": {"Tomorrow": _group(_command()), "Stop": _group(_command())}})
    assert [hook.event_name for hook in _listed(home).hooks] == ["stop"]
    home.configure("[features]\nhooks = false\n")
    assert _listed(home).hooks == []


def test_hooks_of_plugins_are_named_by_the_plugin(home: Home) -> None:
    manifest = Manifest("/plugin", "p", hooks={"hooks/hooks.json": {"hooks": {"Stop": _group(_command())}}})
    (hook,) = list_hooks(home.stack, [("p@m", manifest)], "/work").hooks
    assert (hook.key, hook.source, hook.plugin_id) == ("p@m:hooks/hooks.json:stop:0:0", "plugin", "p@m")
    assert hook.source_path == "/plugin/hooks/hooks.json"
