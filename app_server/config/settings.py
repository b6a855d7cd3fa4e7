"""What configuration comes to: frozen, typed, with every default filled in. Cheap to import."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from msgspec import Struct, field
from msgspec.structs import replace

from app_server.config.account import DEFAULT_ACCOUNT, AccountSettings, read_account
from app_server.config.auto_review import DEFAULT_AUTO_REVIEW, AutoReviewSettings, read_auto_review
from app_server.config.instructions_file import read_instructions
from app_server.config.network_proxy import NetworkProxySettings, NetworkRequirements
from app_server.config.network_tables import managed_network
from app_server.config.permission_profiles import BUILT_IN, NamedProfile, read_profiles
from app_server.config.requirements import Requirements
from app_server.config.table import Problem, TableReader
from app_server.telemetry.secrecy import Discreet

DEFAULT_MODELS = MappingProxyType(
    {"openai": "gpt-6.1-sol", "demo": "demo", "ollama": "gpt-oss:20b", "lmstudio": "openai/gpt-oss-20b"}
)
"""The model that a provider is asked for when configuration names none."""

CLOUD_PROVIDERS = MappingProxyType(
    {
        "amazon-bedrock": "Amazon Bedrock Mantle",
        "amazon-bedrock-runtime": "Amazon Bedrock Runtime",
        "gcp": "Google Cloud Vertex AI",
    }
)
"""The names of providers of other clouds by their keys. Their settings are kept; they answer nobody yet."""


class ModelProviderSettings(Discreet, frozen=True):
    """How to reach one server of models. `stream_idle_timeout_ms` is the longest silence within an answer."""

    name: str
    base_url: str | None = None
    env_key: str | None = None
    env_key_instructions: str | None = None
    http_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    env_http_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    query_params: Mapping[str, str] = field(default_factory=dict[str, str])
    request_max_retries: int = 4
    stream_max_retries: int = 5
    stream_idle_timeout_ms: int = 300_000
    wire_api: str = "responses"
    experimental_bearer_token: str | None = None
    requires_openai_auth: bool = False
    """Whether requests carry what the user has signed in with."""
    sign_in_first: bool = False
    """Whether that goes before `env_key`, because nobody chose the variable."""
    follows_account: bool = False
    """Whether a ChatGPT account is asked at the place of such accounts and not at `base_url`."""
    account_only: bool = False
    """Whether no key counts, because `forced_login_method` leaves only ChatGPT accounts."""

    def api_key(self, environ: Mapping[str, str] = os.environ) -> str | None:
        """The key that needs no signing in: the variable `env_key`, else the configured token."""
        if self.account_only:
            return None
        from_environment = environ.get(self.env_key, "").strip() if self.env_key else ""
        return from_environment or self.experimental_bearer_token


class SandboxWorkspaceWriteSettings(Struct, frozen=True):
    """What the sandbox mode `workspace-write` adds to the workspace; roots are absolute paths."""

    writable_roots: tuple[str, ...] = ()
    network_access: bool = False
    exclude_tmpdir_env_var: bool = False
    exclude_slash_tmp: bool = False


class ShellEnvironmentPolicy(Discreet, frozen=True):
    """What commands inherit of the daemon's environment.

    `inherit` is "all", "core" (home, path, shell, user, language, temporary folders) or "none". Patterns are compared
    with names in any case of letters; `*` stands for anything and `?` for one character. What is inherited loses the
    names that look like secrets and those in `provider_keys` (unless `ignore_default_excludes`), then the names in
    `exclude`; `set` is added, and of all that only `include_only` is kept, if it names anything.
    """

    inherit: str = "all"
    ignore_default_excludes: bool = False
    exclude: tuple[str, ...] = ()
    set: Mapping[str, str] = field(default_factory=dict[str, str])
    include_only: tuple[str, ...] = ()
    use_profile: bool = False
    """`experimental_use_profile`: shells of the agent read the login profile where a call does not say."""
    provider_keys: frozenset[str] = frozenset()
    """The variables from which the configured model providers take their keys."""


class CommandLimits(Struct, frozen=True):
    """What one command and everything it starts may use together; None is no limit. `memory_mb` is in MiB."""

    memory_mb: int | None = None
    processes: int | None = 4096
    cpu_seconds: int | None = None


class Settings(Struct, frozen=True):
    """The configuration in force. None means that nobody chose and the user of the value decides.

    `approval_policy` is a name or `{"granular": {...}}`. `projects` maps a folder to its trust level.
    `default_permissions` names the permission profile in force; with None it is `sandbox_mode` that counts.
    """

    codex_home: Path
    model: str
    model_provider: str
    model_reasoning_effort: str | None = None
    model_reasoning_summary: str | None = None
    model_verbosity: str | None = None
    model_context_window: int | None = None
    model_catalog: Path | None = None
    """`model_catalog_json`: a file that describes models, and takes the place of the built-in list."""
    service_tier: str | None = None
    approval_policy: str | Mapping[str, Any] = "on-request"
    approvals_reviewer: str = "user"
    auto_review: AutoReviewSettings = DEFAULT_AUTO_REVIEW
    approval_unattended_seconds: int | None = None
    """How long a question waits while nobody is connected to answer it; None is for ever."""
    sandbox_mode: str = "read-only"
    sandbox_workspace_write: SandboxWorkspaceWriteSettings = SandboxWorkspaceWriteSettings()
    default_permissions: str | None = None
    permission_profiles: Mapping[str, NamedProfile] = field(default_factory=lambda: BUILT_IN)
    shell_environment_policy: ShellEnvironmentPolicy = ShellEnvironmentPolicy()
    command_limits: CommandLimits = CommandLimits()
    allow_login_shell: bool = True
    background_terminal_max_timeout: int = 300_000
    """The longest wait for a command in the background, in milliseconds."""
    tool_output_token_limit: int = 10_000
    """The most that the model is given of a command's output, whatever it asks for."""
    model_providers: Mapping[str, ModelProviderSettings] = field(default_factory=dict[str, ModelProviderSettings])
    cloud_providers: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """What is configured of the providers in CLOUD_PROVIDERS, which cannot be used yet."""
    account: AccountSettings = DEFAULT_ACCOUNT
    base_instructions: str | None = None
    developer_instructions: str | None = None
    personality: str | None = None
    project_doc_max_bytes: int = 32_768
    project_doc_fallback_filenames: tuple[str, ...] = ()
    project_root_markers: tuple[str, ...] = (".git",)
    hide_agent_reasoning: bool = False
    show_raw_agent_reasoning: bool = True
    projects: Mapping[str, str] = field(default_factory=dict[str, str])
    features: Mapping[str, bool] = field(default_factory=dict[str, bool])
    extensions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """The tables of EXTENSIONS as they stand: each is read by what it configures."""
    network_proxy: NetworkProxySettings | None = None
    """The rules of the managed proxy for profiles that have none of their own; None where nothing asks for a proxy."""
    network_requirements: NetworkRequirements | None = None
    """What an organisation demands of the network; it is already part of every NetworkProxySettings."""
    requirements: Requirements | None = None
    """Everything that it demands; imposed on these settings already, and to be imposed on what clients choose."""

    @property
    def provider(self) -> ModelProviderSettings:
        """The settings of the provider in force."""
        return self.model_providers[self.model_provider]

    def feature(self, name: str, *, default: bool = False) -> bool:
        """Whether the named feature is on."""
        return self.features.get(name, default)


APPROVAL_POLICIES = ("untrusted", "on-request", "never")
SANDBOX_MODES = ("read-only", "workspace-write", "danger-full-access")
ENVIRONMENT_INHERITANCE = ("all", "core", "none")
COMMAND_LIMITS = ("memory_mb", "processes", "cpu_seconds")
EXTENSIONS = ("apps", "marketplaces", "mcp_servers", "plugins", "skills")
REVIEWERS = ("user", "auto_review", "guardian_subagent")


def built_in_providers(openai_base_url: str | None, environ: Mapping[str, str]) -> dict[str, ModelProviderSettings]:
    """The providers that need no entry in a file."""
    openai_url = openai_base_url or environ.get("OPENAI_BASE_URL", "").strip()
    return {
        "openai": ModelProviderSettings(
            "OpenAI",
            openai_url or "https://api.openai.com/v1",
            env_key="OPENAI_API_KEY",
            env_key_instructions="Create a key at https://platform.openai.com/api-keys",
            requires_openai_auth=True,
            sign_in_first=True,
            follows_account=not openai_url,
        ),
        "ollama": ModelProviderSettings("Ollama", "http://localhost:11434/v1"),
        "lmstudio": ModelProviderSettings("LM Studio", "http://localhost:1234/v1"),
        "demo": ModelProviderSettings("Demo (offline, no model)", wire_api="demo"),
    }


def read_settings(
    table: Mapping[str, Any],
    codex_home: Path,
    signed_in: bool,
    environ: Mapping[str, str],
    demands: Requirements | None = None,
    trust: str | None = None,
) -> tuple[Settings, TableReader]:
    """Turn a merged table into settings. What is wrong is left at its default and noted in the reader's problems.

    `signed_in` tells whether there are credentials of an account, which makes OpenAI the provider where none is chosen.
    `demands` have been imposed on the table. `trust` is what the user has said of the project: in a folder that was
    decided about, commands may write where nothing else is configured.
    """
    reader = TableReader(table)
    providers, clouds = _read_providers(reader, environ)
    account = read_account(reader)
    if account.forced_method == "chatgpt":
        # A variable that a provider names itself is its own key; OPENAI_API_KEY is what somebody else signs in with.
        providers = {name: replace(one, account_only=one.sign_in_first) for name, one in providers.items()}
    provider = reader.text("model_provider", decisive=True)
    if provider is None:
        provider = "openai" if signed_in or providers["openai"].api_key(environ) else "demo"
    elif provider in CLOUD_PROVIDERS:
        reader.problem("model_provider", f"turnloom does not support {CLOUD_PROVIDERS[provider]} yet", decisive=True)
        provider = "demo"
    elif provider not in providers:
        known = ", ".join(sorted(providers))
        reader.problem(
            "model_provider", f"Model provider `{provider}` not found; known providers: {known}", decisive=True
        )
        provider = "demo"
    if reader.raw("profile") is not None:
        reader.problem(
            "profile",
            "`profile` in config.toml is no longer supported; set its keys directly, or put them into NAME.config.toml "
            "beside it and start with `--profile NAME`",
            decisive=True,
        )
    network_requirements = None if demands is None else demands.network
    network = managed_network(reader, network_requirements)
    profiles, profile = read_profiles(reader, network)
    sandbox_mode = reader.choice("sandbox_mode", SANDBOX_MODES, decisive=True)
    if profile is None and sandbox_mode is None:
        profile = ":read-only" if trust is None else ":workspace"
    if demands is not None:
        profiles, profile, sandbox_mode = _limit_sandbox(reader, demands, profiles, profile, sandbox_mode)
    chosen: dict[str, Any] = {
        "model": reader.text("model", decisive=True) or DEFAULT_MODELS.get(provider, DEFAULT_MODELS["openai"]),
        "model_provider": provider,
        "model_providers": MappingProxyType(providers),
        "cloud_providers": MappingProxyType(clouds),
        "account": account,
        "approval_policy": _read_approval_policy(reader),
        "sandbox_mode": sandbox_mode,
        "default_permissions": profile,
        "permission_profiles": profiles,
        "approval_unattended_seconds": reader.count("approval_unattended_seconds", least=1),
        "approvals_reviewer": reader.choice("approvals_reviewer", REVIEWERS, decisive=True),
        "auto_review": read_auto_review(reader),
        "sandbox_workspace_write": _read_workspace_write(reader),
        "shell_environment_policy": _read_shell_environment(reader, providers),
        "command_limits": _read_command_limits(reader),
        "allow_login_shell": reader.flag("allow_login_shell"),
        "background_terminal_max_timeout": reader.count("background_terminal_max_timeout"),
        "tool_output_token_limit": reader.count("tool_output_token_limit"),
        "model_reasoning_effort": reader.text("model_reasoning_effort"),
        "model_reasoning_summary": reader.choice(
            "model_reasoning_summary", ("auto", "concise", "detailed", "none"), decisive=False
        ),
        "model_verbosity": reader.choice("model_verbosity", ("low", "medium", "high"), decisive=False),
        "model_context_window": reader.count("model_context_window", least=1),
        "model_catalog": None if (file := reader.text("model_catalog_json")) is None else codex_home / file,
        "service_tier": reader.text("service_tier"),
        "base_instructions": read_instructions(reader) or reader.text("instructions", decisive=True),
        "developer_instructions": reader.text("developer_instructions", decisive=True),
        "personality": reader.choice("personality", ("none", "friendly", "pragmatic"), decisive=False),
        "project_doc_max_bytes": reader.count("project_doc_max_bytes"),
        "project_doc_fallback_filenames": reader.texts("project_doc_fallback_filenames"),
        "project_root_markers": reader.texts("project_root_markers"),
        "hide_agent_reasoning": reader.flag("hide_agent_reasoning"),
        "show_raw_agent_reasoning": reader.flag("show_raw_agent_reasoning"),
        "projects": _read_projects(reader),
        "features": MappingProxyType(_read_features(reader) | ({"network_proxy": True} if network.feature else {})),
        "extensions": MappingProxyType({name: reader.table(name).entries() for name in EXTENSIONS}),
        "network_proxy": network.rules(),
        "network_requirements": network_requirements,
        "requirements": demands,
    }
    settings = Settings(codex_home=codex_home, **{name: value for name, value in chosen.items() if value is not None})
    return settings, reader


def _limit_sandbox(
    reader: TableReader,
    demands: Requirements,
    profiles: Mapping[str, NamedProfile],
    profile: str | None,
    sandbox_mode: str | None,
) -> tuple[Mapping[str, NamedProfile], str | None, str | None]:
    """What may be used of the profiles, and the default profile and sandbox mode that are in force then."""
    refused = demands.limited(profiles)
    limited = {
        name: replace(known, problem=refused[name]) if name in refused else known for name, known in profiles.items()
    }
    if profile is None:
        sandbox_mode, note = demands.sandbox_mode(sandbox_mode or "read-only")
        reader.problems.extend([] if note is None else [note])
    elif profile in refused:
        usable = [name for name, known in limited.items() if known.problem is None]
        fallback = demands.default_profile(usable)
        if fallback is None:
            reader.problem("default_permissions", "requirements allow no permission profile", decisive=True)
        elif reader.raw("default_permissions") is not None:
            reader.problems.append(demands.profile_note(profile, fallback, refused[profile]))
        profile = fallback or ":read-only"
    elif reader.raw("default_permissions") is None:
        wanted = demands.table.get("default_permissions")
        profile = wanted if wanted in limited and wanted not in refused else profile
    return MappingProxyType(limited), profile, sandbox_mode


_NO_CREDENTIALS_YET = ("auth", "aws", "gateway_oauth")
"""Ways to credentials of a provider that are kept for others; what is asked goes out without them."""


def _read_providers(
    reader: TableReader, environ: Mapping[str, str]
) -> tuple[dict[str, ModelProviderSettings], dict[str, Mapping[str, str]]]:
    providers = built_in_providers(reader.text("openai_base_url", decisive=True), environ)
    clouds: dict[str, Mapping[str, str]] = {}
    for name, entry in reader.tables("model_providers", decisive=True):
        if name in CLOUD_PROVIDERS:
            place = entry if name == "gcp" else entry.table("aws")
            known = ("profile", "region", "project_id", "location", "credential_file")
            clouds[name] = {key: value for key in known if (value := place.text(key)) is not None}
            continue
        if name in ("openai", "demo"):
            entry.problem("", f"model_providers.{name} is built in and cannot be redefined", decisive=True)
            continue
        for key in _NO_CREDENTIALS_YET:
            if entry.raw(key) is not None:
                path, message = ("model_providers", name, key), f"turnloom cannot get credentials by `{key}` yet"
                reader.problems.append(Problem(path, message, decisive=False, summary=f"{message}."))
        wire_api = entry.text("wire_api", decisive=True) or "responses"
        if wire_api != "responses":
            entry.problem(
                "wire_api", f'wire_api = "{wire_api}" is not supported; set wire_api = "responses"', decisive=True
            )
        base_url = entry.text("base_url", decisive=True)
        built_in = providers.get(name)
        if base_url is None and built_in is not None:
            base_url = built_in.base_url
        if base_url is None:
            entry.problem("base_url", f"model_providers.{name}.base_url is missing", decisive=True)
        elif not base_url.startswith(("http://", "https://")):
            entry.problem("base_url", f"base_url must begin with http:// or https://, got `{base_url}`", decisive=True)
        needs_login = entry.flag("requires_openai_auth", decisive=True) or False
        env_key = entry.text("env_key", decisive=True)
        implied = env_key is None and needs_login
        if implied:
            env_key = "OPENAI_API_KEY"
        chosen: dict[str, Any] = {
            "base_url": base_url,
            "env_key": env_key,
            "env_key_instructions": entry.text("env_key_instructions"),
            "http_headers": entry.text_map("http_headers"),
            "env_http_headers": entry.text_map("env_http_headers"),
            "query_params": entry.text_map("query_params"),
            "request_max_retries": entry.count("request_max_retries", most=100),
            "stream_max_retries": entry.count("stream_max_retries", most=100),
            "stream_idle_timeout_ms": entry.count("stream_idle_timeout_ms", least=1),
            "requires_openai_auth": needs_login,
            "experimental_bearer_token": entry.text("experimental_bearer_token", decisive=True),
            "sign_in_first": implied,
        }
        present = {key: value for key, value in chosen.items() if value is not None}
        providers[name] = ModelProviderSettings(entry.text("name") or name, **present)
    return providers, clouds


def _read_approval_policy(reader: TableReader) -> str | Mapping[str, Any] | None:
    value = reader.raw("approval_policy")
    if isinstance(value, dict) and set(cast("dict[str, Any]", value)) == {"granular"}:
        granular = reader.table("approval_policy").table("granular", decisive=True)
        required = ("mcp_elicitations", "rules", "sandbox_approval")
        for name in required:
            if granular.raw(name) is None:
                granular.problem("", f"`{name}` is missing: true asks, false refuses without asking", decisive=True)
        names = (*required, "request_permissions", "skill_approval")
        chosen = {name: granular.flag(name, decisive=True) for name in names}
        return {"granular": {name: bool(flag) for name, flag in chosen.items()}}
    return reader.choice("approval_policy", APPROVAL_POLICIES, decisive=True)


def _read_workspace_write(reader: TableReader) -> SandboxWorkspaceWriteSettings:
    entry = reader.table("sandbox_workspace_write", decisive=True)
    roots: list[str] = []
    for root in entry.texts("writable_roots", decisive=True) or ():
        path = os.path.expanduser(root)
        if os.path.isabs(path):
            roots.append(os.path.normpath(path))
        else:
            entry.problem("writable_roots", f"writable_roots must be absolute paths, got `{root}`", decisive=True)
    return SandboxWorkspaceWriteSettings(
        tuple(roots),
        network_access=entry.flag("network_access", decisive=True) or False,
        exclude_tmpdir_env_var=entry.flag("exclude_tmpdir_env_var", decisive=True) or False,
        exclude_slash_tmp=entry.flag("exclude_slash_tmp", decisive=True) or False,
    )


def _read_shell_environment(
    reader: TableReader, providers: Mapping[str, ModelProviderSettings]
) -> ShellEnvironmentPolicy:
    entry = reader.table("shell_environment_policy", decisive=True)
    keys = {provider.env_key for provider in providers.values() if provider.env_key}
    for provider in providers.values():
        keys.update(provider.env_http_headers.values())
    exclude, include_only = _read_environment_filters(entry)
    return ShellEnvironmentPolicy(
        entry.choice("inherit", ENVIRONMENT_INHERITANCE, decisive=True) or "all",
        ignore_default_excludes=entry.flag("ignore_default_excludes", decisive=True) or False,
        exclude=exclude,
        set=MappingProxyType(entry.text_map("set") or {}),
        include_only=include_only,
        use_profile=entry.flag("experimental_use_profile") or False,
        provider_keys=frozenset(keys),
    )


def _read_environment_filters(entry: TableReader) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The patterns of `exclude` and `include_only`: two lists, or together in the table `filters`."""
    older = [entry.texts(name, decisive=True) for name in ("exclude", "include_only")]
    if entry.raw("filters") is None:
        return older[0] or (), older[1] or ()
    if older != [None, None]:
        entry.problem(
            "filters", "`filters` takes the place of `exclude` and `include_only`; use one form", decisive=True
        )
    filters = entry.table("filters", decisive=True)
    chosen = {name: filters.choice(name, ("include", "exclude"), decisive=True) for name in filters.names()}
    excluded, included = (tuple(n for n, way in chosen.items() if way == kind) for kind in ("exclude", "include"))
    return excluded, included


def _read_command_limits(reader: TableReader) -> CommandLimits:
    entry = reader.table("command_limits", decisive=True)
    for name in entry.names():
        if name not in COMMAND_LIMITS:
            entry.problem(name, "there is no such limit; known limits: " + ", ".join(COMMAND_LIMITS), decisive=True)
    given = {name: entry.count(name, decisive=True) for name in COMMAND_LIMITS}
    # Zero is how a limit that is on by default, or that a weaker layer sets, is taken away.
    return CommandLimits(**{name: value or None for name, value in given.items() if value is not None})


def _read_projects(reader: TableReader) -> Mapping[str, str]:
    levels = (
        (path, entry.choice("trust_level", ("trusted", "untrusted"))) for path, entry in reader.tables("projects")
    )
    return MappingProxyType({path: level for path, level in levels if level is not None})


def _read_features(reader: TableReader) -> dict[str, bool]:
    features = reader.table("features")
    flags = ((name, features.raw(name)) for name in features.names())
    return {name: value for name, value in flags if isinstance(value, bool)}
