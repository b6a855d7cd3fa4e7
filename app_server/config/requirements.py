"""requirements.toml: what an organisation demands of the configuration, which no layer can change."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from msgspec import Struct, field

from app_server.config.network_proxy import NetworkRequirements
from app_server.config.network_tables import SURFACES, read_network_requirements
from app_server.config.permission_profiles import NamedProfile
from app_server.config.table import Problem, TableReader, dotted

PINNED = (
    "allow_login_shell",
    "chatgpt_base_url",
    "check_for_update_on_startup",
    "cli_auth_credentials_store",
    "feedback",
    "log_dir",
    "model_catalog_json",
    "model_provider",
    "model_providers",
    "otel",
    "sqlite_home",
)
"""Settings whose value is demanded under their own name."""

CHOICES = {
    "allowed_approval_policies": ("approval_policy", "on-request"),
    "allowed_approvals_reviewers": ("approvals_reviewer", "user"),
    "allowed_web_search_modes": ("web_search", "disabled"),
    "allowed_login_methods": ("forced_login_method", None),
}
"""Lists of what a setting may be: the setting, and what it is while nobody has chosen (None: anything)."""

SANDBOX_MODES = ("read-only", "workspace-write", "danger-full-access")

NOT_ENFORCED = ("enforce_residency", "guardian_policy_config", "hooks", "mcp_servers", "rules")
"""Demands that this version reads and does not act on; users are told, because they rely on them."""

OTHER_NAMES = frozenset({"features", *NOT_ENFORCED, *(path[0] for path in SURFACES)})

OVERRIDDEN = "Configured value for `{key}` is overridden by the required value {value} from {file}."
FALLBACK = "Configured value for `{key}` is disallowed by requirements; falling back to required value {value}."
NOT_ALLOWED = "invalid value for `{key}`: `{value}` is not in the allowed set [{allowed}] (set by {file})"


class Requirements(Struct, frozen=True):
    """The demands. `table` is the file, in which everything was found to be of the right type."""

    file: str
    table: Mapping[str, Any] = field(default_factory=dict[str, Any])
    network: NetworkRequirements | None = None

    @property
    def features(self) -> Mapping[str, bool]:
        """Features that must be on or off."""
        return {**self.table.get("feature_requirements", {}), **self.table.get("features", {})}

    @property
    def developer_instructions(self) -> str | None:
        """What the model is told beside the user's own instructions."""
        return self.table.get("additional_developer_instructions")

    def allowed(self, name: str) -> list[str] | None:
        """What one of the lists in CHOICES lets a setting be, None for anything."""
        values: list[str] | None = self.table.get(name)
        if values is not None and name == "allowed_web_search_modes" and "disabled" not in values:
            return [*values, "disabled"]
        return values

    def impose(self, table: dict[str, Any]) -> list[Problem]:
        """Make the merged configuration one that is allowed; what it had said otherwise is noted."""
        notes: list[Problem] = []
        for key in PINNED:
            if (demanded := self.table.get(key)) is None:
                continue
            if isinstance(demanded, dict):
                demanded = {**_table(table.get(key)), **cast("dict[str, Any]", demanded)}
            if table.get(key, demanded) != demanded:
                notes.append(self._overridden((key,), self.table[key]))
            table[key] = demanded
        for name, on in self.features.items():
            features = table["features"] = _table(table.get("features"))
            if features.get(name, on) != on:
                notes.append(self._overridden(("features", name), on))
            features[name] = on
        for name, (key, default) in CHOICES.items():
            if (allowed := self.allowed(name)) is None or not allowed:
                continue
            chosen, fallback = kind_of(table.get(key, default)), default if default in allowed else allowed[0]
            if chosen in allowed or (chosen is None and len(allowed) > 1):
                continue
            if key in table:
                notes.append(self._fallback(key, chosen, fallback, allowed))
            table[key] = fallback
        return notes

    def limited(self, profiles: Mapping[str, NamedProfile]) -> Mapping[str, str]:
        """Why the profiles that may not be used may not, by their names."""
        return {name: reason for name, profile in profiles.items() if (reason := self._refusal(profile)) is not None}

    def default_profile(self, profiles: Sequence[str]) -> str | None:
        """The profile in force where the configured one may not be used, out of those that may."""
        wanted = self.table.get("default_permissions")
        return wanted if wanted in profiles else next(iter(profiles), None)

    def sandbox_mode(self, mode: str) -> tuple[str, Problem | None]:
        """The sandbox mode in force where `mode` is configured, and a note if that is another one."""
        allowed: list[str] | None = self.table.get("allowed_sandbox_modes")
        if allowed is None or mode in allowed:
            return mode, None
        fallback = next((other for other in SANDBOX_MODES if other in allowed), "read-only")
        return fallback, self._fallback("sandbox_mode", mode, fallback, allowed)

    def profile_note(self, name: str, fallback: str, reason: str) -> Problem:
        """The note that another profile is in force than the configured one."""
        summary = FALLBACK.format(key="default_permissions", value=fallback)
        return Problem(("default_permissions",), f"`{name}`: {reason}", decisive=False, summary=summary, imposed=True)

    def refuse(self, key: str, value: Any) -> str | None:
        """Why a value may not be chosen for `approval_policy`, `approvals_reviewer`, `sandbox_mode`, `web_search` or
        `forced_login_method`; None if it may."""
        names = {setting: name for name, (setting, _) in CHOICES.items()} | {"sandbox_mode": "allowed_sandbox_modes"}
        allowed, kind = self.allowed(names[key]), kind_of(value)
        return None if allowed is None or kind in allowed else self._not_allowed(key, kind, allowed)

    def check_write(self, path: Sequence[str], value: Any) -> tuple[str, str] | None:
        """Why a user may not write the value: the kind of the refusal and the reason. None is for what may be written.

        A value that is taken away (None) leaves what is demanded in force.
        """
        if path[0] in PINNED and self.table.get(path[0]) is not None:
            return "configRequirementReadonly", f"`{path[0]}` is managed by requirements and cannot be changed"
        if value is None:
            return None
        for name, on in self.features.items():
            if path[0] == "features" and _leaf(path[1:], value, name) not in (None, on):
                allowed = ", ".join(f"{known}={_shown(flag)}" for known, flag in self.features.items())
                wrong = f"features.{name}={_shown(not on)}"
                reason = f"invalid value for `features`: `{wrong}` is not in the allowed set [{allowed}]"
                return "configValidationError", f"Invalid configuration: {reason} (set by {self.file})"
        limited = {setting for setting, _ in CHOICES.values()} | {"sandbox_mode"}
        if len(path) == 1 and path[0] in limited and (refusal := self.refuse(path[0], value)) is not None:
            return "configValidationError", f"Invalid configuration: {refusal}"
        return None

    def _refusal(self, profile: NamedProfile) -> str | None:
        named: dict[str, bool] | None = self.table.get("allowed_permission_profiles")
        if named is not None and not named.get(profile.name, False):
            return f"requirements do not allow it (set by {self.file})"
        if self.table.get("allowed_sandbox_modes") is None:
            return None
        return self.refuse("sandbox_mode", mode_of(profile))

    def _fallback(self, key: str, chosen: str | None, fallback: str, allowed: Sequence[str]) -> Problem:
        summary = FALLBACK.format(key=key, value=f"`{fallback}`")
        return Problem((key,), self._not_allowed(key, chosen, allowed), decisive=False, summary=summary, imposed=True)

    def _overridden(self, path: tuple[str, ...], demanded: Any) -> Problem:
        summary = OVERRIDDEN.format(key=dotted(path), value=_shown(demanded), file=self.file)
        message = f"{self.file} demands {_shown(demanded)}"
        return Problem(path, message, decisive=False, summary=summary, imposed=True)

    def _not_allowed(self, key: str, value: str | None, allowed: Sequence[str]) -> str:
        return NOT_ALLOWED.format(key=key, value=value, allowed=", ".join(allowed), file=self.file)


def read_requirements(table: Mapping[str, Any], file: str) -> tuple[Requirements | None, list[Problem]]:
    """The demands in a table, None if there are none, and what is wrong in it.

    Where something is of the wrong type, nobody knows what is demanded: that is decisive.
    """
    if not table:
        return None, []
    reader = TableReader(table)
    network = read_network_requirements(reader)
    problems = reader.problems
    own = {key: value for key, value in table.items() if key not in {path[0] for path in SURFACES}}
    problems += _wrong_types(own)
    for key in own:
        if key in NOT_ENFORCED:
            text = f"`{key}` is demanded, and this version does not act on it"
            summary = f"A requirement is not enforced: {key}."
            problems.append(Problem((key,), text, decisive=False, summary=summary))
    wrong = {problem.path[0] for problem in problems if problem.decisive}
    return Requirements(file, {key: value for key, value in own.items() if key not in wrong}, network), problems


def kind_of(value: Any) -> str | None:
    """The name of a choice; that of `{ granular = ... }` is `granular`. Older names count as what they mean now."""
    if isinstance(value, dict):
        return next(iter(cast("dict[str, Any]", value)), None)
    return {"guardian_subagent": "auto_review"}.get(value, value) if isinstance(value, str) else None


def mode_of(profile: NamedProfile) -> str:
    """The sandbox mode that lets through as much as a profile."""
    if profile.full_access:
        return "danger-full-access"
    return "workspace-write" if any(rule.access == "write" for rule in profile.rules) else "read-only"


def _wrong_types(table: Mapping[str, Any]) -> Iterator[Problem]:
    # What clients are told has the types; they are only needed where there are demands.
    import difflib

    from pydantic import ValidationError

    from protocol.v2.config_requirements import ConfigRequirements

    known = {*ConfigRequirements.model_fields, *OTHER_NAMES}
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            text = f"`{key}` is not a known requirement.{hint}"
            yield Problem((key,), text, decisive=False, summary="Ignoring an unrecognized requirement.")
    try:
        ConfigRequirements.model_validate(wire_form(table))
    except ValidationError as error:
        for path, message in {(_place(detail["loc"]), detail["msg"]) for detail in error.errors()}:
            yield Problem(path, message, decisive=True)


def wire_form(table: Mapping[str, Any]) -> dict[str, Any]:
    """The demands of a file, without those of the network, as clients are told them."""
    told = {key: value for key, value in table.items() if key not in ("features", "hooks", "network")}
    if "features" in table or "feature_requirements" in table:
        told["feature_requirements"] = {**_table(told.get("feature_requirements")), **_table(table.get("features"))}
    if isinstance(table.get("hooks"), dict):
        told["hooks"] = {**{event: [] for event in _EVENTS}, **_hooks(table["hooks"])}
    modes = told.get("allowed_web_search_modes")
    if isinstance(modes, list) and "disabled" not in modes:
        told["allowed_web_search_modes"] = [*cast("list[Any]", modes), "disabled"]
    return told


_EVENTS = (
    "PermissionRequest",
    "PostCompact",
    "PostToolUse",
    "PreCompact",
    "PreToolUse",
    "SessionStart",
    "Stop",
    "SubagentStart",
    "SubagentStop",
    "UserPromptSubmit",
)


def _hooks(table: Mapping[str, Any]) -> dict[str, Any]:
    """Hooks with the names that clients know: the time is `timeoutSec` there, and `async` is always said."""
    told: dict[str, Any] = dict(table)
    for event, groups in table.items():
        if isinstance(groups, list):
            told[event] = [_hook_group(group) for group in cast("list[Any]", groups)]
    return told


def _hook_group(group: Any) -> Any:
    if not isinstance(group, dict) or not isinstance(hooks := cast("dict[str, Any]", group).get("hooks", []), list):
        return cast("Any", group)
    told: list[Any] = []
    for hook in cast("list[Any]", hooks):
        if isinstance(hook, dict):
            said = cast("dict[str, Any]", hook)
            entries = {"timeoutSec" if key == "timeout" else key: value for key, value in said.items()}
            told.append({"async": False, **entries})
        else:
            told.append(hook)
    return {**cast("dict[str, Any]", group), "hooks": told}


def _place(location: tuple[int | str, ...]) -> tuple[str, ...]:
    # Only the first part is sure to be a key of the file.
    return (_snake(str(location[0])),) if location else ("",)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _leaf(path: Sequence[str], value: Any, name: str) -> Any:
    """What a write at `path` below a table says of `name` in it."""
    if path:
        return value if path[0] == name else None
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


def _table(value: Any) -> dict[str, Any]:
    return dict(cast("dict[str, Any]", value)) if isinstance(value, dict) else {}


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)
