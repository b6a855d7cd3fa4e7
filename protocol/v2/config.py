"""v2.config"""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.methods import ClientRequest
from protocol.v2.model import ReasoningEffort, ReasoningSummary, Verbosity
from protocol.v2.permissions import ApprovalsReviewer, AskForApproval, SandboxMode
from protocol.wire import AbsolutePath, Experimental, SnakeWire, Wire


class AnalyticsConfig(Wire, extra="allow"):
    enabled: bool | None = None


AllowDenyRequirement = Literal["allow", "deny"]


class BrowserUseOriginPolicyConfig(SnakeWire):
    access: AllowDenyRequirement | None = None
    downloads: AllowDenyRequirement | None = None
    full_cdp_access: AllowDenyRequirement | None = None
    uploads: AllowDenyRequirement | None = None


class BrowserUseConfig(SnakeWire):
    allow_history_access: bool | None = None
    default_origin_policy: BrowserUseOriginPolicyConfig | None = None
    origins: dict[str, BrowserUseOriginPolicyConfig] | None = None


class ComputerUseMacosConfig(SnakeWire):
    bundle_ids: dict[str, AllowDenyRequirement] | None = None


class ComputerUseWindowsExeConfig(SnakeWire):
    access: AllowDenyRequirement
    product_name: str
    publisher_name: str
    binary_name: str | None = None


class ComputerUseWindowsConfig(Wire):
    aumids: dict[str, AllowDenyRequirement] | None = None
    exes: list[ComputerUseWindowsExeConfig] | None = None


class ComputerUseConfig(SnakeWire):
    default_app_access: AllowDenyRequirement | None = None
    macos: ComputerUseMacosConfig | None = None
    windows: ComputerUseWindowsConfig | None = None


AppToolApproval = Literal["auto", "prompt", "writes", "approve"]


class AppsDefaultConfig(SnakeWire):
    approvals_reviewer: ApprovalsReviewer | None = None
    default_tools_approval_mode: AppToolApproval | None = None
    destructive_enabled: bool = True
    enabled: bool = True
    open_world_enabled: bool = True


class AppsConfig(Wire):
    default: Annotated[AppsDefaultConfig | None, Field(alias="_default")] = None


WebSearchProvider = Literal["standalone", "search_mcp"]

WebSearchMode = Literal["disabled", "cached", "indexed", "live"]

WebSearchContextSize = Literal["low", "medium", "high"]


class WebSearchLocation(Wire, extra="forbid"):
    city: str | None = None
    country: str | None = None
    region: str | None = None
    timezone: str | None = None


class WebSearchToolConfig(SnakeWire, extra="forbid"):
    allowed_domains: list[str] | None = None
    context_size: WebSearchContextSize | None = None
    location: WebSearchLocation | None = None


class ToolsV2(SnakeWire):
    web_search: WebSearchToolConfig | None = None


ForcedChatgptWorkspaceIds = str | list[str]

ForcedLoginMethod = Literal["chatgpt", "api"]

AutoCompactTokenLimitScope = Literal["total", "body_after_prefix"]


class SandboxWorkspaceWrite(SnakeWire):
    exclude_slash_tmp: bool = False
    exclude_tmpdir_env_var: bool = False
    network_access: bool = False
    writable_roots: list[str] = []


class Config(SnakeWire, extra="allow"):
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
    type: Literal["packagedDefaults"] = "packagedDefaults"
    file: AbsolutePath


class MdmConfigLayerSource(Wire):
    type: Literal["mdm"] = "mdm"
    domain: str
    key: str


class SystemConfigLayerSource(Wire):
    type: Literal["system"] = "system"
    file: AbsolutePath


class EnterpriseManagedConfigLayerSource(Wire):
    type: Literal["enterpriseManaged"] = "enterpriseManaged"
    id: str
    name: str


class UserConfigLayerSource(Wire):
    type: Literal["user"] = "user"
    file: AbsolutePath
    profile: str | None = None


class ProjectConfigLayerSource(Wire):
    type: Literal["project"] = "project"
    dot_codex_folder: AbsolutePath


class SessionFlagsConfigLayerSource(Wire):
    type: Literal["sessionFlags"] = "sessionFlags"


class LegacyManagedConfigTomlFromFileConfigLayerSource(Wire):
    type: Literal["legacyManagedConfigTomlFromFile"] = "legacyManagedConfigTomlFromFile"
    file: AbsolutePath


class LegacyManagedConfigTomlFromMdmConfigLayerSource(Wire):
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


class ConfigLayerMetadata(Wire):
    name: ConfigLayerSource
    version: str


class ConfigLayer(Wire):
    config: Any
    name: ConfigLayerSource
    version: str
    disabled_reason: str | None = None


class ConfigReadParams(Wire):
    cwd: str | None = None
    include_layers: bool = False


class ConfigReadResponse(Wire):
    config: Config
    origins: dict[str, ConfigLayerMetadata]
    layers: list[ConfigLayer] | None = None


CONFIG_READ = ClientRequest("config/read", ConfigReadParams, ConfigReadResponse)
