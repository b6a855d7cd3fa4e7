"""The settings that a session goes on with, as its file tells them."""

from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct, field

Json = Mapping[str, Any]


class SessionSettings(Struct):
    """What the last records of each kind say; None where the file says nothing.

    `sandbox`, `approval_policy` and `collaboration_mode` are in the file's own words (snake_case), for the threads
    room to read.
    """

    cwd: str = "/"
    workspace_roots: list[str] | None = None
    model: str | None = None
    model_provider: str | None = None
    effort: str | None = None
    approval_policy: Any = None
    approvals_reviewer: str | None = None
    sandbox: Json | None = None
    permission_profile: str | None = None
    summary: str | None = None
    personality: str | None = None
    service_tier: str | None = None
    base_instructions: str | None = None
    collaboration_mode: Json | None = None
    disabled_plugin_ids: list[str] = field(default_factory=list[str])
    dynamic_tools: list[Any] = field(default_factory=list[Any])

    def begin(self, meta: Json) -> None:
        """The record of the session itself."""
        self._take(meta, cwd="cwd", model_provider="model_provider")
        self.workspace_roots = _texts(meta.get("runtime_workspace_roots"))
        instructions = meta.get("base_instructions")
        if isinstance(instructions, dict):
            self._take(cast("Json", instructions), base_instructions="text")
        if isinstance(tools := meta.get("dynamic_tools"), list):
            self.dynamic_tools = cast("list[Any]", tools)

    def turn_context(self, context: Json) -> None:
        """What a turn ran with."""
        self._take(context, model="model", summary="summary", approvals_reviewer="approvals_reviewer")
        self._rules(context)
        self.effort = _text(context.get("effort"))

    def applied(self, settings: Json) -> None:
        """Settings that were made those of the thread."""
        self._take(settings, model="model", model_provider="model_provider_id", cwd="cwd", service_tier="service_tier")
        self._take(settings, approvals_reviewer="approvals_reviewer")
        self._rules(settings)
        self.effort = _text(settings.get("reasoning_effort"))
        if (roots := _texts(settings.get("runtime_workspace_roots"))) is not None:
            self.workspace_roots = roots
        self.disabled_plugin_ids = _texts(settings.get("disabled_plugin_ids")) or []

    def _rules(self, record: Json) -> None:
        self._take(record, personality="personality")
        self.approval_policy = record.get("approval_policy", self.approval_policy)
        if isinstance(sandbox := record.get("sandbox_policy"), dict):
            self.sandbox = cast("Json", sandbox)
        if "permission_profile" in record or "active_permission_profile" in record:
            profile = record.get("active_permission_profile")
            self.permission_profile = _text(cast("Json", profile).get("id")) if isinstance(profile, dict) else None
        if isinstance(mode := record.get("collaboration_mode"), dict):
            self.collaboration_mode = cast("Json", mode)

    def _take(self, record: Json, **names: str) -> None:
        for ours, theirs in names.items():
            if (value := _text(record.get(theirs))) is not None:
                setattr(self, ours, value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> list[str] | None:
    if not isinstance(value, list):
        return None
    return [text for text in cast("list[Any]", value) if isinstance(text, str)]
