"""v2.config_requirements"""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.methods import ClientRequest, Empty
from protocol.v2.config import AllowDenyRequirement, ForcedLoginMethod, WebSearchMode
from protocol.v2.model import ReasoningEffort
from protocol.v2.permissions import ApprovalsReviewer, AskForApproval, LegacyAppPathString, SandboxMode
from protocol.wire import Experimental, SnakeWire, UInt, UInt16, Wire

WindowsSandboxImplementation = Literal["elevated", "unelevated", "mxc"]

NetworkDomainPermission = Literal["allow", "deny"]


class ApplicationNetworkRequirements(Wire):
    domains: dict[str, NetworkDomainPermission]
    enabled: bool


class ApplicationStorageRequirements(Wire):
    default_project_parent: LegacyAppPathString | None = None
    projectless_workspace_root: LegacyAppPathString | None = None


class ApplicationRequirements(Wire):
    network: ApplicationNetworkRequirements | None = None
    storage: ApplicationStorageRequirements | None = None


class AutoReviewRequirements(Wire):
    ignore_rules: list[str] | None = None
    required_on_models: list[str] | None = None


BrowserUseAccessApprovalLifetime = Literal["turn", "thread"]


class BrowserUseOriginPolicy(Wire):
    access: AllowDenyRequirement | None = None
    access_approval_lifetime: BrowserUseAccessApprovalLifetime | None = None
    auto_review: AllowDenyRequirement | None = None
    downloads: AllowDenyRequirement | None = None
    full_cdp_access: AllowDenyRequirement | None = None
    persistent_approval: bool | None = None
    uploads: AllowDenyRequirement | None = None


class RequestHeader(Wire):
    name: str
    value: str


class BrowserUseExtensionRequirements(Wire):
    request_headers: list[RequestHeader] | None = None


class BrowserUseRequirements(Wire):
    allow_global_persistent_approval: bool | None = None
    allow_history_access: bool | None = None
    allow_webmcp: bool | None = None
    default_origin_policy: BrowserUseOriginPolicy | None = None
    disable_auto_review: bool | None = None
    extension: BrowserUseExtensionRequirements | None = None
    origins: dict[str, BrowserUseOriginPolicy] | None = None


CliAuthCredentialsStoreMode = Literal["file", "keyring", "auto", "ephemeral"]


class ComputerUseMacosRequirements(Wire):
    bundle_ids: dict[str, AllowDenyRequirement] | None = None


class ComputerUseWindowsExeRequirement(Wire):
    access: AllowDenyRequirement
    product_name: str
    publisher_name: str
    binary_name: str | None = None


class ComputerUseWindowsRequirements(Wire):
    aumids: dict[str, AllowDenyRequirement] | None = None
    exes: list[ComputerUseWindowsExeRequirement] | None = None


class ComputerUseRequirements(Wire):
    allow_locked_computer_use: bool | None = None
    allow_persistent_approval: bool | None = None
    default_app_access: AllowDenyRequirement | None = None
    macos: ComputerUseMacosRequirements | None = None
    windows: ComputerUseWindowsRequirements | None = None


ResidencyRequirement = Literal["us"]


class FeedbackRequirements(Wire):
    enabled: bool | None = None


class CommandConfiguredHookHandler(Wire):
    type: Literal["command"] = "command"
    async_: Annotated[bool, Field(alias="async")]
    command: str
    additional_context_limit: UInt | None = None
    command_windows: str | None = None
    status_message: str | None = None
    timeout_sec: UInt | None = None


class McpToolConfiguredHookHandler(Wire):
    type: Literal["mcp_tool"] = "mcp_tool"
    input: dict[str, Any]
    server: str
    tool: str
    status_message: str | None = None
    timeout_sec: UInt | None = None


class PromptConfiguredHookHandler(Wire):
    type: Literal["prompt"] = "prompt"


class AgentConfiguredHookHandler(Wire):
    type: Literal["agent"] = "agent"


ConfiguredHookHandler = Annotated[
    CommandConfiguredHookHandler
    | McpToolConfiguredHookHandler
    | PromptConfiguredHookHandler
    | AgentConfiguredHookHandler,
    Field(discriminator="type"),
]


class ConfiguredHookMatcherGroup(Wire):
    hooks: list[ConfiguredHookHandler]
    matcher: str | None = None


class ManagedHooksRequirements(Wire):
    permission_request: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="PermissionRequest")]
    post_compact: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="PostCompact")]
    post_tool_use: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="PostToolUse")]
    pre_compact: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="PreCompact")]
    pre_tool_use: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="PreToolUse")]
    session_start: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="SessionStart")]
    stop: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="Stop")]
    subagent_start: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="SubagentStart")]
    subagent_stop: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="SubagentStop")]
    user_prompt_submit: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="UserPromptSubmit")]
    interrupt: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="Interrupt")] = []
    post_model_request: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="PostModelRequest")] = []
    pre_model_request: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="PreModelRequest")] = []
    session_end: Annotated[list[ConfiguredHookMatcherGroup], Field(alias="SessionEnd")] = []
    managed_dir: str | None = None
    windows_managed_dir: str | None = None


class InAppBrowserRequirements(Wire):
    allow_external_browser_settings_import: bool | None = None


class NewThreadModelDefaults(Wire):
    model: str | None = None
    model_reasoning_effort: ReasoningEffort | None = None
    service_tier: str | None = None


class ModelsRequirements(Wire):
    new_thread: NewThreadModelDefaults | None = None


NetworkUnixSocketPermission = Literal["allow", "deny"]


class NetworkRequirements(Wire):
    allow_local_binding: bool | None = None
    allow_unix_sockets: list[str] | None = None
    allow_upstream_proxy: bool | None = None
    allowed_domains: list[str] | None = None
    dangerously_allow_all_unix_sockets: bool | None = None
    dangerously_allow_non_loopback_proxy: bool | None = None
    denied_domains: list[str] | None = None
    domains: dict[str, NetworkDomainPermission] | None = None
    enabled: bool | None = None
    http_port: UInt16 | None = None
    managed_allowed_domains_only: bool | None = None
    review_domains: list[str] | None = None
    socks_port: UInt16 | None = None
    unix_sockets: dict[str, NetworkUnixSocketPermission] | None = None


OtelHttpProtocol = Literal["binary", "json"]


class OtelTlsConfig(Wire):
    ca_certificate: Annotated[str | None, Field(alias="ca-certificate")] = None
    client_certificate: Annotated[str | None, Field(alias="client-certificate")] = None
    client_private_key: Annotated[str | None, Field(alias="client-private-key")] = None


class OtlpHttp(Wire):
    endpoint: str
    headers: dict[str, str]
    protocol: OtelHttpProtocol
    tls: OtelTlsConfig | None = None


class OtlpHttpOtelExporter(Wire, extra="forbid"):
    otlp_http: Annotated[OtlpHttp, Field(alias="otlp-http")]


class OtlpGrpc(Wire):
    endpoint: str
    headers: dict[str, str]
    tls: OtelTlsConfig | None = None


class OtlpGrpcOtelExporter(Wire, extra="forbid"):
    otlp_grpc: Annotated[OtlpGrpc, Field(alias="otlp-grpc")]


OtelExporter = Literal["none", "statsig"] | OtlpHttpOtelExporter | OtlpGrpcOtelExporter


class OtelToolResultLogConfig(SnakeWire):
    max_bytes: UInt


class OtelRequirements(SnakeWire):
    environment: str | None = None
    exporter: OtelExporter | None = None
    log_agent_responses: bool | None = None
    log_guardian_assessments: bool | None = None
    log_sse_deltas: bool | None = None
    log_user_prompt: bool | None = None
    metrics_exporter: OtelExporter | None = None
    span_attributes: dict[str, str] | None = None
    tool_result: OtelToolResultLogConfig | None = None
    trace_exporter: OtelExporter | None = None
    tracestate: dict[str, dict[str, str]] | None = None


class ConfigRequirements(Wire):
    additional_developer_instructions: str | None = None
    allow_appshots: bool | None = None
    allow_browser_and_computer_use: bool | None = None
    allow_login_shell: bool | None = None
    allow_managed_hooks_only: bool | None = None
    allow_remote_control: bool | None = None
    allowed_approval_policies: list[AskForApproval] | None = None
    allowed_approvals_reviewers: Annotated[
        list[ApprovalsReviewer] | None, Experimental("configRequirements/read.allowedApprovalsReviewers")
    ] = None
    allowed_login_methods: list[ForcedLoginMethod] | None = None
    allowed_permission_profiles: dict[str, bool] | None = None
    allowed_sandbox_modes: list[SandboxMode] | None = None
    allowed_web_search_modes: list[WebSearchMode] | None = None
    allowed_windows_sandbox_implementations: list[WindowsSandboxImplementation] | None = None
    application: Annotated[ApplicationRequirements | None, Experimental("configRequirements/read.application")] = None
    auto_review: AutoReviewRequirements | None = None
    browser_use: BrowserUseRequirements | None = None
    chatgpt_base_url: str | None = None
    check_for_update_on_startup: bool | None = None
    cli_auth_credentials_store: CliAuthCredentialsStoreMode | None = None
    computer_use: ComputerUseRequirements | None = None
    default_permissions: str | None = None
    enforce_residency: ResidencyRequirement | None = None
    feature_requirements: dict[str, bool] | None = None
    feedback: FeedbackRequirements | None = None
    hooks: Annotated[ManagedHooksRequirements | None, Experimental("configRequirements/read.hooks")] = None
    in_app_browser: InAppBrowserRequirements | None = None
    log_dir: str | None = None
    model_catalog_json: str | None = None
    model_provider: str | None = None
    model_providers: dict[str, Any] | None = None
    models: ModelsRequirements | None = None
    network: Annotated[NetworkRequirements | None, Experimental("configRequirements/read.network")] = None
    otel: OtelRequirements | None = None
    sqlite_home: str | None = None


class ConfigRequirementsReadResponse(Wire):
    requirements: ConfigRequirements | None = None
    supports_independent_speed_modes: bool | None = None


CONFIG_REQUIREMENTS_READ = ClientRequest("configRequirements/read", Empty, ConfigRequirementsReadResponse)
