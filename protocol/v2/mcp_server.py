"""mcp_server"""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification, ServerRequest
from protocol.wire import Empty, OneOf, UInt, UInt32, Wire

McpServerOauthClientRegistration = Literal["auto", "cimd", "dcr"]


class McpServerOauthLoginParams(Wire):
    name: str
    client_registration: McpServerOauthClientRegistration | None = None
    scopes: list[str] | None = None
    thread_id: str | None = None
    timeout_secs: int | None = None


class McpServerOauthLoginResponse(Wire):
    authorization_url: str
    login_id: str | None = None


MCP_SERVER_OAUTH_LOGIN = ClientRequest(
    "mcpServer/oauth/login", McpServerOauthLoginParams, McpServerOauthLoginResponse, availability="later"
)


class McpServerRefreshResponse(Wire): ...


CONFIG_MCP_SERVER_RELOAD = ClientRequest("config/mcpServer/reload", Empty, McpServerRefreshResponse)


McpServerStatusDetail = Literal["full", "toolsAndAuthOnly"]


class ListMcpServerStatusParams(Wire):
    cursor: str | None = None
    detail: McpServerStatusDetail | None = None
    limit: UInt32 | None = None
    server_name: str | None = None
    thread_id: str | None = None


McpAuthStatus = Literal["unknown", "unsupported", "notLoggedIn", "bearerToken", "oAuth"]


class ResourceTemplate(Wire):
    name: str
    uri_template: str
    annotations: Any = None
    description: str | None = None
    mime_type: str | None = None
    title: str | None = None


class Resource(Wire):
    name: str
    uri: str
    meta: Annotated[Any, Field(alias="_meta")] = None
    annotations: Any = None
    description: str | None = None
    icons: list[Any] | None = None
    mime_type: str | None = None
    size: int | None = None
    title: str | None = None


McpServerConnectionStatus = Literal[
    "notStarted", "starting", "connected", "authenticationRequired", "failed", "cancelled", "disabled"
]


class McpServerInfo(Wire):
    name: str
    version: str
    description: str | None = None
    icons: list[Any] | None = None
    title: str | None = None
    website_url: str | None = None


class Tool(Wire):
    input_schema: Any
    name: str
    meta: Annotated[Any, Field(alias="_meta")] = None
    annotations: Any = None
    description: str | None = None
    icons: list[Any] | None = None
    output_schema: Any = None
    title: str | None = None


class McpServerStatus(Wire):
    auth_status: McpAuthStatus
    name: str
    resource_templates: list[ResourceTemplate]
    resources: list[Resource]
    tools: dict[str, Tool]
    http_origin: str | None = None
    plugin_id: str | None = None
    runtime_status: McpServerConnectionStatus | None = None
    server_capabilities: Any = None
    server_info: McpServerInfo | None = None
    tool_list_meta: Any = None
    tools_error: str | None = None


class ListMcpServerStatusResponse(Wire):
    data: list[McpServerStatus]
    next_cursor: str | None = None


MCP_SERVER_STATUS_LIST = ClientRequest(
    "mcpServerStatus/list", ListMcpServerStatusParams, ListMcpServerStatusResponse, access="read"
)


class McpResourceReadTarget(Wire):
    connector_id: str
    link_id: str | None


class McpResourceReadParams(Wire):
    server: str
    uri: str
    meta: Annotated[dict[str, Any] | None, Field(alias="_meta")] = None
    connector_id: str | None = None
    origin_call_id: str | None = None
    target: McpResourceReadTarget | None = None
    thread_id: str | None = None


class ResourceContent0(Wire):
    text: str
    uri: str
    meta: Annotated[Any, Field(alias="_meta")] = None
    mime_type: str | None = None


class ResourceContent1(Wire):
    blob: str
    uri: str
    meta: Annotated[Any, Field(alias="_meta")] = None
    mime_type: str | None = None


ResourceContent = ResourceContent0 | ResourceContent1


class McpResourceReadResponse(Wire):
    contents: list[ResourceContent]
    origin_call_id: str | None = None


MCP_SERVER_RESOURCE_READ = ClientRequest(
    "mcpServer/resource/read", McpResourceReadParams, McpResourceReadResponse, availability="later"
)


class McpServerEventStreamStartParams(Wire):
    arguments: Any
    name: str
    server: str
    subscription_id: str
    thread_id: str
    meta: Annotated[Any, Field(alias="_meta")] = None


class McpServerEventStreamStartResponse(Wire): ...


MCP_SERVER_EVENT_STREAM_START = ClientRequest(
    "mcpServer/event/stream/start",
    McpServerEventStreamStartParams,
    McpServerEventStreamStartResponse,
    experimental="mcpServer/event/stream/start",
    availability="later",
)


class McpServerEventStreamStopParams(Wire):
    subscription_id: str


class McpServerEventStreamStopResponse(Wire): ...


MCP_SERVER_EVENT_STREAM_STOP = ClientRequest(
    "mcpServer/event/stream/stop",
    McpServerEventStreamStopParams,
    McpServerEventStreamStopResponse,
    experimental="mcpServer/event/stream/stop",
    availability="later",
)


class McpServerToolCallParams(Wire):
    server: str
    thread_id: str
    tool: str
    meta: Annotated[Any, Field(alias="_meta")] = None
    arguments: Any = None


class McpServerToolCallResponse(Wire):
    content: list[Any]
    meta: Annotated[Any, Field(alias="_meta")] = None
    is_error: bool | None = None
    structured_content: Any = None


MCP_SERVER_TOOL_CALL = ClientRequest(
    "mcpServer/tool/call", McpServerToolCallParams, McpServerToolCallResponse, availability="later"
)


McpElicitationStringType = Literal["string"]


class McpElicitationUntitledSingleSelectEnumSchema(Wire, extra="forbid"):
    enum: list[str]
    type: McpElicitationStringType
    default: str | None = None
    description: str | None = None
    title: str | None = None


class McpElicitationConstOption(Wire, extra="forbid"):
    const: str
    title: str


class McpElicitationTitledSingleSelectEnumSchema(Wire, extra="forbid"):
    one_of: list[McpElicitationConstOption]
    type: McpElicitationStringType
    default: str | None = None
    description: str | None = None
    title: str | None = None


McpElicitationSingleSelectEnumSchema = (
    McpElicitationUntitledSingleSelectEnumSchema | McpElicitationTitledSingleSelectEnumSchema
)


class McpElicitationUntitledEnumItems(Wire, extra="forbid"):
    enum: list[str]
    type: McpElicitationStringType


McpElicitationArrayType = Literal["array"]


class McpElicitationUntitledMultiSelectEnumSchema(Wire, extra="forbid"):
    items: McpElicitationUntitledEnumItems
    type: McpElicitationArrayType
    default: list[str] | None = None
    description: str | None = None
    max_items: UInt | None = None
    min_items: UInt | None = None
    title: str | None = None


class McpElicitationTitledEnumItems(Wire, extra="forbid"):
    any_of: list[McpElicitationConstOption]


class McpElicitationTitledMultiSelectEnumSchema(Wire, extra="forbid"):
    items: McpElicitationTitledEnumItems
    type: McpElicitationArrayType
    default: list[str] | None = None
    description: str | None = None
    max_items: UInt | None = None
    min_items: UInt | None = None
    title: str | None = None


McpElicitationMultiSelectEnumSchema = (
    McpElicitationUntitledMultiSelectEnumSchema | McpElicitationTitledMultiSelectEnumSchema
)


class McpElicitationLegacyTitledEnumSchema(Wire, extra="forbid"):
    enum: list[str]
    type: McpElicitationStringType
    default: str | None = None
    description: str | None = None
    enum_names: list[str] | None = None
    title: str | None = None


McpElicitationEnumSchema = (
    McpElicitationSingleSelectEnumSchema | McpElicitationMultiSelectEnumSchema | McpElicitationLegacyTitledEnumSchema
)


McpElicitationStringFormat = Literal["email", "uri", "date", "date-time"]


class McpElicitationStringSchema(Wire, extra="forbid"):
    type: McpElicitationStringType
    default: str | None = None
    description: str | None = None
    format: McpElicitationStringFormat | None = None
    max_length: UInt32 | None = None
    min_length: UInt32 | None = None
    title: str | None = None


McpElicitationNumberType = Literal["number", "integer"]


class McpElicitationNumberSchema(Wire, extra="forbid"):
    type: McpElicitationNumberType
    default: float | None = None
    description: str | None = None
    maximum: float | None = None
    minimum: float | None = None
    title: str | None = None


McpElicitationBooleanType = Literal["boolean"]


class McpElicitationBooleanSchema(Wire, extra="forbid"):
    type: McpElicitationBooleanType
    default: bool | None = None
    description: str | None = None
    title: str | None = None


McpElicitationPrimitiveSchema = (
    McpElicitationEnumSchema | McpElicitationStringSchema | McpElicitationNumberSchema | McpElicitationBooleanSchema
)


McpElicitationObjectType = Literal["object"]


class McpElicitationSchema(Wire, extra="forbid"):
    properties: dict[str, McpElicitationPrimitiveSchema]
    type: McpElicitationObjectType
    schema_uri: Annotated[str | None, Field(alias="$schema")] = None
    required: list[str] | None = None


class McpServerElicitationRequestParams(OneOf):
    server_name: str
    thread_id: str
    turn_id: str | None = None


class OpenaiUserVerificationMcpServerElicitationRequestParams(McpServerElicitationRequestParams):
    mode: Literal["openai/userVerification"] = "openai/userVerification"
    challenge: str
    description: str
    title: str
    meta: Annotated[Any, Field(alias="_meta")] = None


class FormMcpServerElicitationRequestParams(McpServerElicitationRequestParams):
    mode: Literal["form"] = "form"
    message: str
    requested_schema: McpElicitationSchema
    meta: Annotated[Any, Field(alias="_meta")] = None


class OpenaiFormMcpServerElicitationRequestParams(McpServerElicitationRequestParams):
    mode: Literal["openai/form"] = "openai/form"
    message: str
    requested_schema: Any
    meta: Annotated[Any, Field(alias="_meta")] = None


class OldOpenaiFormMcpServerElicitationRequestParams(McpServerElicitationRequestParams):
    mode: Literal["openaiForm"] = "openaiForm"
    message: str
    requested_schema: Any
    meta: Annotated[Any, Field(alias="_meta")] = None


class UrlMcpServerElicitationRequestParams(McpServerElicitationRequestParams):
    mode: Literal["url"] = "url"
    elicitation_id: str
    message: str
    url: str
    meta: Annotated[Any, Field(alias="_meta")] = None


McpServerElicitationAction = Literal["accept", "decline", "cancel"]


class McpServerElicitationRequestResponse(Wire):
    action: McpServerElicitationAction
    meta: Annotated[Any, Field(alias="_meta")] = None
    content: Any = None


MCP_SERVER_ELICITATION_REQUEST = ServerRequest(
    "mcpServer/elicitation/request", McpServerElicitationRequestParams, McpServerElicitationRequestResponse
)


class McpToolCallProgressNotification(Wire):
    item_id: str
    message: str
    thread_id: str
    turn_id: str


ITEM_MCP_TOOL_CALL_PROGRESS = ServerNotification("item/mcpToolCall/progress", McpToolCallProgressNotification)


class McpServerOauthLoginCompletedNotification(Wire):
    name: str
    success: bool
    error: str | None = None
    login_id: str | None = None
    thread_id: str | None = None


MCP_SERVER_OAUTH_LOGIN_COMPLETED = ServerNotification(
    "mcpServer/oauthLogin/completed", McpServerOauthLoginCompletedNotification
)


McpServerStartupFailureReason = Literal["reauthenticationRequired"]


McpServerStartupState = Literal["starting", "ready", "failed", "cancelled"]


class McpServerStatusUpdatedNotification(Wire):
    name: str
    status: McpServerStartupState
    error: str | None = None
    failure_reason: McpServerStartupFailureReason | None = None
    thread_id: str | None = None


MCP_SERVER_STARTUP_STATUS_UPDATED = ServerNotification(
    "mcpServer/startupStatus/updated", McpServerStatusUpdatedNotification
)


class McpServerEventNotification(Wire):
    method: str
    params: Any


class McpServerEventStreamNotification(Wire):
    notification: McpServerEventNotification
    subscription_id: str


MCP_SERVER_EVENT_STREAM_NOTIFICATION = ServerNotification(
    "mcpServer/event/stream/notification", McpServerEventStreamNotification
)
