"""What an organisation demands of the configuration."""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.methods import ClientRequest
from protocol.v2.config import AllowDenyRequirement, ForcedLoginMethod, WebSearchMode
from protocol.v2.model import ReasoningEffort
from protocol.v2.permissions import ApprovalsReviewer, AskForApproval, LegacyAppPathString, SandboxMode
from protocol.wire import Empty, Experimental, SnakeWire, UInt, UInt16, Wire

WindowsSandboxImplementation = Literal["elevated", "unelevated", "mxc"]
"""A way of sandboxing on Windows."""

NetworkDomainPermission = Literal["allow", "deny"]
"""Whether a domain may be reached."""


class ApplicationNetworkRequirements(Wire):
    """What the application itself may reach, by domain."""

    domains: dict[str, NetworkDomainPermission]
    enabled: bool


class ApplicationStorageRequirements(Wire):
    """Where the application keeps projects."""

    default_project_parent: LegacyAppPathString | None = None
    projectless_workspace_root: LegacyAppPathString | None = None


class ApplicationRequirements(Wire):
    """Demands on the desktop application."""

    network: ApplicationNetworkRequirements | None = None
    storage: ApplicationStorageRequirements | None = None


class AutoReviewRequirements(Wire):
    """When a reviewing model must be used."""

    ignore_rules: list[str] | None = None
    required_on_models: list[str] | None = None


BrowserUseAccessApprovalLifetime = Literal["turn", "thread"]
"""How long an approval of a site lasts."""


class BrowserUseOriginPolicy(Wire):
    """What the agent's browser may do on a site."""

    access: AllowDenyRequirement | None = None
    access_approval_lifetime: BrowserUseAccessApprovalLifetime | None = None
    auto_review: AllowDenyRequirement | None = None
    downloads: AllowDenyRequirement | None = None
    full_cdp_access: AllowDenyRequirement | None = None
    persistent_approval: bool | None = None
    uploads: AllowDenyRequirement | None = None


class RequestHeader(Wire):
    """An HTTP header."""

    name: str
    value: str


class BrowserUseExtensionRequirements(Wire):
    """Demands on the browser extension."""

    request_headers: list[RequestHeader] | None = None


class BrowserUseRequirements(Wire):
    """Demands on the agent's browser; `origins` is by origin."""

    allow_global_persistent_approval: bool | None = None
    allow_history_access: bool | None = None
    allow_webmcp: bool | None = None
    default_origin_policy: BrowserUseOriginPolicy | None = None
    disable_auto_review: bool | None = None
    extension: BrowserUseExtensionRequirements | None = None
    origins: dict[str, BrowserUseOriginPolicy] | None = None


CliAuthCredentialsStoreMode = Literal["file", "keyring", "auto", "ephemeral"]
"""Where credentials are kept."""


class ComputerUseMacosRequirements(Wire):
    """Apps on macOS by bundle id."""

    bundle_ids: dict[str, AllowDenyRequirement] | None = None


class ComputerUseWindowsExeRequirement(Wire):
    """A Windows program, known by its signature."""

    access: AllowDenyRequirement
    product_name: str
    publisher_name: str
    binary_name: str | None = None


class ComputerUseWindowsRequirements(Wire):
    """Apps on Windows by application id, and programs."""

    aumids: dict[str, AllowDenyRequirement] | None = None
    exes: list[ComputerUseWindowsExeRequirement] | None = None


class ComputerUseRequirements(Wire):
    """Demands on which apps the agent may operate."""

    allow_locked_computer_use: bool | None = None
    allow_persistent_approval: bool | None = None
    default_app_access: AllowDenyRequirement | None = None
    macos: ComputerUseMacosRequirements | None = None
    windows: ComputerUseWindowsRequirements | None = None


ResidencyRequirement = Literal["us"]
"""Where data must stay."""


class FeedbackRequirements(Wire):
    """Whether feedback may be sent."""

    enabled: bool | None = None


class CommandConfiguredHookHandler(Wire):
    """A command to run; `timeout_sec` is in seconds."""

    type: Literal["command"] = "command"
    async_: Annotated[bool, Field(alias="async")]
    command: str
    additional_context_limit: UInt | None = None
    command_windows: str | None = None
    status_message: str | None = None
    timeout_sec: UInt | None = None


class McpToolConfiguredHookHandler(Wire):
    """An MCP tool to call; `timeout_sec` is in seconds."""

    type: Literal["mcp_tool"] = "mcp_tool"
    input: dict[str, Any]
    server: str
    tool: str
    status_message: str | None = None
    timeout_sec: UInt | None = None


class PromptConfiguredHookHandler(Wire):
    """A model to ask."""

    type: Literal["prompt"] = "prompt"


class AgentConfiguredHookHandler(Wire):
    """An agent to run."""

    type: Literal["agent"] = "agent"


ConfiguredHookHandler = Annotated[
    CommandConfiguredHookHandler
    | McpToolConfiguredHookHandler
    | PromptConfiguredHookHandler
    | AgentConfiguredHookHandler,
    Field(discriminator="type"),
]
"""What a hook does."""


class ConfiguredHookMatcherGroup(Wire):
    """Hooks that run together when `matcher` (a regular expression) fits."""

    hooks: list[ConfiguredHookHandler]
    matcher: str | None = None


class ManagedHooksRequirements(Wire):
    """Hooks that users cannot remove, by event, and the folders that their programs are in."""

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
    """Demands on the built-in browser."""

    allow_external_browser_settings_import: bool | None = None


class NewThreadModelDefaults(Wire):
    """The model that new threads begin with."""

    model: str | None = None
    model_reasoning_effort: ReasoningEffort | None = None
    service_tier: str | None = None


class ModelsRequirements(Wire):
    """Demands on models."""

    new_thread: NewThreadModelDefaults | None = None


NetworkUnixSocketPermission = Literal["allow", "deny"]
"""Whether a unix socket may be reached."""


class NetworkRequirements(Wire):
    """Demands on the network proxy for commands. The lists are older than `domains` and `unix_sockets`."""

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
"""How telemetry is encoded over HTTP."""


class OtelTlsConfig(Wire):
    """Files with keys and certificates."""

    ca_certificate: Annotated[str | None, Field(alias="ca-certificate")] = None
    client_certificate: Annotated[str | None, Field(alias="client-certificate")] = None
    client_private_key: Annotated[str | None, Field(alias="client-private-key")] = None


class OtlpHttp(Wire):
    """An OTLP collector over HTTP."""

    endpoint: str
    headers: dict[str, str]
    protocol: OtelHttpProtocol
    tls: OtelTlsConfig | None = None


class OtlpHttpOtelExporter(Wire, extra="forbid"):
    """Send to an OTLP collector over HTTP."""

    otlp_http: Annotated[OtlpHttp, Field(alias="otlp-http")]


class OtlpGrpc(Wire):
    """An OTLP collector over gRPC."""

    endpoint: str
    headers: dict[str, str]
    tls: OtelTlsConfig | None = None


class OtlpGrpcOtelExporter(Wire, extra="forbid"):
    """Send to an OTLP collector over gRPC."""

    otlp_grpc: Annotated[OtlpGrpc, Field(alias="otlp-grpc")]


OtelExporter = Literal["none", "statsig"] | OtlpHttpOtelExporter | OtlpGrpcOtelExporter
"""Where telemetry goes."""


class OtelToolResultLogConfig(SnakeWire):
    """How much of a tool's result is logged, in bytes."""

    max_bytes: UInt


class OtelRequirements(SnakeWire):
    """Demands on telemetry."""

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
    """Everything that is demanded; None leaves the user free."""

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
    """The demands, None if there are none."""

    requirements: ConfigRequirements | None = None
    supports_independent_speed_modes: bool | None = None


CONFIG_REQUIREMENTS_READ = ClientRequest(
    "configRequirements/read", Empty, ConfigRequirementsReadResponse, access="read"
)
"""Read what an organisation demands of the configuration."""
