"""The configuration in force and where each value comes from. Members are spelled as in config.toml."""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.methods import ClientRequest
from protocol.v2.model import ReasoningEffort, ReasoningSummary, Verbosity
from protocol.v2.permissions import ApprovalsReviewer, AskForApproval, SandboxMode
from protocol.wire import AbsolutePath, Experimental, SnakeWire, Wire


class AnalyticsConfig(Wire, extra="allow"):
    """Whether usage data may be sent."""

    enabled: bool | None = None


AllowDenyRequirement = Literal["allow", "deny"]
"""Yes or no, where a third value may come."""


class BrowserUseOriginPolicyConfig(SnakeWire):
    """What the agent's browser may do on a site."""

    access: AllowDenyRequirement | None = None
    downloads: AllowDenyRequirement | None = None
    full_cdp_access: AllowDenyRequirement | None = None
    uploads: AllowDenyRequirement | None = None


class BrowserUseConfig(SnakeWire):
    """The agent's browser; `origins` is by origin."""

    allow_history_access: bool | None = None
    default_origin_policy: BrowserUseOriginPolicyConfig | None = None
    origins: dict[str, BrowserUseOriginPolicyConfig] | None = None


class ComputerUseMacosConfig(SnakeWire):
    """Apps on macOS by bundle id."""

    bundle_ids: dict[str, AllowDenyRequirement] | None = None


class ComputerUseWindowsExeConfig(SnakeWire):
    """A Windows program, known by its signature."""

    access: AllowDenyRequirement
    product_name: str
    publisher_name: str
    binary_name: str | None = None


class ComputerUseWindowsConfig(Wire):
    """Apps on Windows by application id, and programs."""

    aumids: dict[str, AllowDenyRequirement] | None = None
    exes: list[ComputerUseWindowsExeConfig] | None = None


class ComputerUseConfig(SnakeWire):
    """Which apps the agent may operate."""

    default_app_access: AllowDenyRequirement | None = None
    macos: ComputerUseMacosConfig | None = None
    windows: ComputerUseWindowsConfig | None = None


AppToolApproval = Literal["auto", "prompt", "writes", "approve"]
"""When an app's tool needs approval."""


class AppsDefaultConfig(SnakeWire):
    """What holds for apps that have no settings of their own."""

    approvals_reviewer: ApprovalsReviewer | None = None
    default_tools_approval_mode: AppToolApproval | None = None
    destructive_enabled: bool = True
    enabled: bool = True
    open_world_enabled: bool = True


class AppsConfig(Wire, extra="allow"):
    """Settings of apps: for all of them, and for each by its name."""

    default: Annotated[AppsDefaultConfig | None, Field(alias="_default")] = None


WebSearchProvider = Literal["standalone", "search_mcp"]
"""Who searches the web."""

WebSearchMode = Literal["disabled", "cached", "indexed", "live"]
"""Whether and how fresh the web is searched."""

WebSearchContextSize = Literal["low", "medium", "high"]
"""How much of the results the model gets."""


class WebSearchLocation(Wire, extra="forbid"):
    """Where the user is, roughly."""

    city: str | None = None
    country: str | None = None
    region: str | None = None
    timezone: str | None = None


class WebSearchToolConfig(SnakeWire, extra="forbid"):
    """Settings of web search."""

    allowed_domains: list[str] | None = None
    context_size: WebSearchContextSize | None = None
    location: WebSearchLocation | None = None


class ToolsV2(SnakeWire):
    """Settings of tools."""

    web_search: WebSearchToolConfig | None = None


ForcedChatgptWorkspaceIds = str | list[str]
"""The workspace, or the workspaces, that a sign-in must belong to."""

ForcedLoginMethod = Literal["chatgpt", "api"]
"""The only way to sign in."""

AutoCompactTokenLimitScope = Literal["total", "body_after_prefix"]
"""Which tokens count towards automatic compaction."""


class SandboxWorkspaceWrite(SnakeWire):
    """Details of the sandbox mode `workspace-write`."""

    exclude_slash_tmp: bool = False
    exclude_tmpdir_env_var: bool = False
    network_access: bool = False
    writable_roots: list[str] = []


class Config(SnakeWire, extra="allow"):
    """The configuration in force. Keys that have no member here are kept."""

    analytics: AnalyticsConfig | None = None
    approval_policy: AskForApproval | None = None
    approvals_reviewer: ApprovalsReviewer | None = None
    apps: Annotated[AppsConfig | None, Experimental("config/read.apps")] = None
    browser_use: BrowserUseConfig | None = None
    client_search_provider: WebSearchProvider | None = None
    compact_prompt: str | None = None
    computer_use: ComputerUseConfig | None = None
    desktop: dict[str, Any] | None = None
    developer_instructions: str | None = None
    forced_chatgpt_workspace_id: ForcedChatgptWorkspaceIds | None = None
    forced_login_method: ForcedLoginMethod | None = None
    instructions: str | None = None
    model: str | None = None
    model_auto_compact_token_limit: int | None = None
    model_auto_compact_token_limit_scope: AutoCompactTokenLimitScope | None = None
    model_context_window: int | None = None
    model_provider: str | None = None
    model_reasoning_effort: ReasoningEffort | None = None
    model_reasoning_summary: ReasoningSummary | None = None
    model_verbosity: Verbosity | None = None
    review_model: str | None = None
    sandbox_mode: SandboxMode | None = None
    sandbox_workspace_write: SandboxWorkspaceWrite | None = None
    service_tier: str | None = None
    tools: ToolsV2 | None = None
    web_search: WebSearchMode | None = None


class PackagedDefaultsConfigLayerSource(Wire):
    """Defaults that came with the installation."""

    type: Literal["packagedDefaults"] = "packagedDefaults"
    file: AbsolutePath


class MdmConfigLayerSource(Wire):
    """Device management on macOS."""

    type: Literal["mdm"] = "mdm"
    domain: str
    key: str


class SystemConfigLayerSource(Wire):
    """The machine's file."""

    type: Literal["system"] = "system"
    file: AbsolutePath


class EnterpriseManagedConfigLayerSource(Wire):
    """A policy of the organisation."""

    type: Literal["enterpriseManaged"] = "enterpriseManaged"
    id: str
    name: str


class UserConfigLayerSource(Wire):
    """The user's file, or a profile of it."""

    type: Literal["user"] = "user"
    file: AbsolutePath
    profile: str | None = None


class ProjectConfigLayerSource(Wire):
    """A project's folder."""

    type: Literal["project"] = "project"
    dot_codex_folder: AbsolutePath


class SessionFlagsConfigLayerSource(Wire):
    """The command line or the client."""

    type: Literal["sessionFlags"] = "sessionFlags"


class LegacyManagedConfigTomlFromFileConfigLayerSource(Wire):
    """A managed file, as older installations have it."""

    type: Literal["legacyManagedConfigTomlFromFile"] = "legacyManagedConfigTomlFromFile"
    file: AbsolutePath


class LegacyManagedConfigTomlFromMdmConfigLayerSource(Wire):
    """Managed configuration from device management, as older installations have it."""

    type: Literal["legacyManagedConfigTomlFromMdm"] = "legacyManagedConfigTomlFromMdm"


ConfigLayerSource = Annotated[
    PackagedDefaultsConfigLayerSource
    | MdmConfigLayerSource
    | SystemConfigLayerSource
    | EnterpriseManagedConfigLayerSource
    | UserConfigLayerSource
    | ProjectConfigLayerSource
    | SessionFlagsConfigLayerSource
    | LegacyManagedConfigTomlFromFileConfigLayerSource
    | LegacyManagedConfigTomlFromMdmConfigLayerSource,
    Field(discriminator="type"),
]
"""Where a layer of configuration comes from."""


class ConfigLayerMetadata(Wire):
    """A layer and its version, which changes with its content."""

    name: ConfigLayerSource
    version: str


class ConfigLayer(Wire):
    """A layer with its content; `disabled_reason` says why it does not count."""

    config: Any
    name: ConfigLayerSource
    version: str
    disabled_reason: str | None = None


class ConfigReadParams(Wire):
    """Read the configuration as it holds in `cwd`."""

    cwd: str | None = None
    include_layers: bool = False


class ConfigReadResponse(Wire):
    """The configuration, the origin of each key (dotted), and the layers if they were asked for, strongest first."""

    config: Config
    origins: dict[str, ConfigLayerMetadata]
    layers: list[ConfigLayer] | None = None


CONFIG_READ = ClientRequest("config/read", ConfigReadParams, ConfigReadResponse, access="read")
