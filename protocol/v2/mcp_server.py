"""mcpServer*/*: MCP servers, what they offer, and what they ask of users."""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification, ServerRequest
from protocol.wire import Empty, OneOf, UInt, UInt32, Wire

McpServerOauthClientRegistration = Literal["auto", "cimd", "dcr"]
"""How this program makes itself known to a server's authority: as it likes, by a document's address, or by
registering."""


class McpServerOauthLoginParams(Wire):
    """Log in to a server; null for what is configured. The login is given up after `timeout_secs`."""

    name: str
    client_registration: McpServerOauthClientRegistration | None = None
    scopes: list[str] | None = None
    thread_id: str | None = None
    timeout_secs: int | None = None


class McpServerOauthLoginResponse(Wire):
    """Where the user has to go to log in; `login_id` names the login in its notification."""

    authorization_url: str
    login_id: str | None = None


MCP_SERVER_OAUTH_LOGIN = ClientRequest(
    "mcpServer/oauth/login", McpServerOauthLoginParams, McpServerOauthLoginResponse, availability="later"
)


class McpServerRefreshResponse(Wire):
    """Servers are configured anew."""


CONFIG_MCP_SERVER_RELOAD = ClientRequest(
    "config/mcpServer/reload", Empty, McpServerRefreshResponse, availability="later"
)
"""Configure the servers anew, in loaded threads too."""


McpServerStatusDetail = Literal["full", "toolsAndAuthOnly"]
"""How much to tell: with `toolsAndAuthOnly` no resources."""


class ListMcpServerStatusParams(Wire):
    """A page of servers: of a thread, which has those of its project too, or of the user. A null `limit` means all."""

    cursor: str | None = None
    detail: McpServerStatusDetail | None = None
    limit: UInt32 | None = None
    server_name: str | None = None
    thread_id: str | None = None


McpAuthStatus = Literal["unknown", "unsupported", "notLoggedIn", "bearerToken", "oAuth"]
"""How a server knows its user. `unsupported`: it wants no login; `unknown`: it has not been asked yet."""


class ResourceTemplate(Wire):
    """A kind of resource, by a template of its address; as MCP describes it."""

    name: str
    uri_template: str
    annotations: Any = None
    description: str | None = None
    mime_type: str | None = None
    title: str | None = None


class Resource(Wire):
    """Something that a server lets be read; as MCP describes it. `size` is in bytes."""

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
"""Where a server is in its life."""


class McpServerInfo(Wire):
    """What a server says of itself."""

    name: str
    version: str
    description: str | None = None
    icons: list[Any] | None = None
    title: str | None = None
    website_url: str | None = None


class Tool(Wire):
    """A tool of a server; as MCP describes it."""

    input_schema: Any
    name: str
    meta: Annotated[Any, Field(alias="_meta")] = None
    annotations: Any = None
    description: str | None = None
    icons: list[Any] | None = None
    output_schema: Any = None
    title: str | None = None


class McpServerStatus(Wire):
    """A server. `http_origin` is null for a program, `runtime_status` outside of a thread; `tools_error` says why its
    tools are not known.
    """

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
    """A page, by name; `next_cursor` is null on the last one."""

    data: list[McpServerStatus]
    next_cursor: str | None = None


MCP_SERVER_STATUS_LIST = ClientRequest(
    "mcpServerStatus/list", ListMcpServerStatusParams, ListMcpServerStatusResponse, access="read", availability="later"
)


class McpResourceReadTarget(Wire):
    """Which of several links of an app a resource is read by."""

    connector_id: str
    link_id: str | None


class McpResourceReadParams(Wire):
    """Read a resource of a server, as a thread would if one is named. `origin_call_id` comes back with the answer."""

    server: str
    uri: str
    meta: Annotated[dict[str, Any] | None, Field(alias="_meta")] = None
    connector_id: str | None = None
    origin_call_id: str | None = None
    target: McpResourceReadTarget | None = None
    thread_id: str | None = None


class TextResourceContent(Wire):
    """A resource that is text."""

    text: str
    uri: str
    meta: Annotated[Any, Field(alias="_meta")] = None
    mime_type: str | None = None


class BlobResourceContent(Wire):
    """A resource that is bytes, in Base64."""

    blob: str
    uri: str
    meta: Annotated[Any, Field(alias="_meta")] = None
    mime_type: str | None = None


ResourceContent = TextResourceContent | BlobResourceContent
"""What was read."""


class McpResourceReadResponse(Wire):
    """The resource, which may have parts."""

    contents: list[ResourceContent]
    origin_call_id: str | None = None


MCP_SERVER_RESOURCE_READ = ClientRequest(
    "mcpServer/resource/read", McpResourceReadParams, McpResourceReadResponse, availability="later"
)


class McpServerEventStreamStartParams(Wire):
    """Subscribe to events of a server, under an id of the client's choice."""

    arguments: Any
    name: str
    server: str
    subscription_id: str
    thread_id: str
    meta: Annotated[Any, Field(alias="_meta")] = None


class McpServerEventStreamStartResponse(Wire):
    """Events are sent from now on."""


MCP_SERVER_EVENT_STREAM_START = ClientRequest(
    "mcpServer/event/stream/start",
    McpServerEventStreamStartParams,
    McpServerEventStreamStartResponse,
    experimental="mcpServer/event/stream/start",
    availability="later",
)


class McpServerEventStreamStopParams(Wire):
    """End a subscription."""

    subscription_id: str


class McpServerEventStreamStopResponse(Wire):
    """No more events are sent."""


MCP_SERVER_EVENT_STREAM_STOP = ClientRequest(
    "mcpServer/event/stream/stop",
    McpServerEventStreamStopParams,
    McpServerEventStreamStopResponse,
    experimental="mcpServer/event/stream/stop",
    availability="later",
)


class McpServerToolCallParams(Wire):
    """Call a tool of a server in the name of a thread, whose turn does not hear of it."""

    server: str
    thread_id: str
    tool: str
    meta: Annotated[Any, Field(alias="_meta")] = None
    arguments: Any = None


class McpServerToolCallResponse(Wire):
    """What the tool returned, in MCP's own shapes."""

    content: list[Any]
    meta: Annotated[Any, Field(alias="_meta")] = None
    is_error: bool | None = None
    structured_content: Any = None


MCP_SERVER_TOOL_CALL = ClientRequest(
    "mcpServer/tool/call", McpServerToolCallParams, McpServerToolCallResponse, availability="later"
)


McpElicitationStringType = Literal["string"]
"""The type of a text."""


class McpElicitationUntitledSingleSelectEnumSchema(Wire, extra="forbid"):
    """One of some texts."""

    enum: list[str]
    type: McpElicitationStringType
    default: str | None = None
    description: str | None = None
    title: str | None = None


class McpElicitationConstOption(Wire, extra="forbid"):
    """A choice, and what it is called."""

    const: str
    title: str


class McpElicitationTitledSingleSelectEnumSchema(Wire, extra="forbid"):
    """One of some texts that have titles."""

    one_of: list[McpElicitationConstOption]
    type: McpElicitationStringType
    default: str | None = None
    description: str | None = None
    title: str | None = None


McpElicitationSingleSelectEnumSchema = (
    McpElicitationUntitledSingleSelectEnumSchema | McpElicitationTitledSingleSelectEnumSchema
)
"""One of several."""


class McpElicitationUntitledEnumItems(Wire, extra="forbid"):
    """The texts to choose from."""

    enum: list[str]
    type: McpElicitationStringType


McpElicitationArrayType = Literal["array"]
"""The type of a list."""


class McpElicitationUntitledMultiSelectEnumSchema(Wire, extra="forbid"):
    """Some of several texts."""

    items: McpElicitationUntitledEnumItems
    type: McpElicitationArrayType
    default: list[str] | None = None
    description: str | None = None
    max_items: UInt | None = None
    min_items: UInt | None = None
    title: str | None = None


class McpElicitationTitledEnumItems(Wire, extra="forbid"):
    """The texts to choose from, with titles."""

    any_of: list[McpElicitationConstOption]


class McpElicitationTitledMultiSelectEnumSchema(Wire, extra="forbid"):
    """Some of several texts that have titles."""

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
"""Some of several."""


class McpElicitationLegacyTitledEnumSchema(Wire, extra="forbid"):
    """One of some texts, with titles in a list beside them: an older form."""

    enum: list[str]
    type: McpElicitationStringType
    default: str | None = None
    description: str | None = None
    enum_names: list[str] | None = None
    title: str | None = None


McpElicitationEnumSchema = (
    McpElicitationSingleSelectEnumSchema | McpElicitationMultiSelectEnumSchema | McpElicitationLegacyTitledEnumSchema
)
"""A choice."""


McpElicitationStringFormat = Literal["email", "uri", "date", "date-time"]
"""What a text has to look like."""


class McpElicitationStringSchema(Wire, extra="forbid"):
    """A text; lengths are in characters."""

    type: McpElicitationStringType
    default: str | None = None
    description: str | None = None
    format: McpElicitationStringFormat | None = None
    max_length: UInt32 | None = None
    min_length: UInt32 | None = None
    title: str | None = None


McpElicitationNumberType = Literal["number", "integer"]
"""The type of a number."""


class McpElicitationNumberSchema(Wire, extra="forbid"):
    """A number."""

    type: McpElicitationNumberType
    default: float | None = None
    description: str | None = None
    maximum: float | None = None
    minimum: float | None = None
    title: str | None = None


McpElicitationBooleanType = Literal["boolean"]
"""The type of yes or no."""


class McpElicitationBooleanSchema(Wire, extra="forbid"):
    """Yes or no."""

    type: McpElicitationBooleanType
    default: bool | None = None
    description: str | None = None
    title: str | None = None


McpElicitationPrimitiveSchema = (
    McpElicitationEnumSchema | McpElicitationStringSchema | McpElicitationNumberSchema | McpElicitationBooleanSchema
)
"""What a field of a form can be."""


McpElicitationObjectType = Literal["object"]
"""The type of a form."""


class McpElicitationSchema(Wire, extra="forbid"):
    """A form: its fields by their names, of which those in `required` have to be filled in."""

    properties: dict[str, McpElicitationPrimitiveSchema]
    type: McpElicitationObjectType
    schema_uri: Annotated[str | None, Field(alias="$schema")] = None
    required: list[str] | None = None


class McpServerElicitationRequestParams(OneOf):
    """A question of a server for the user. `turn_id` is null where no turn is the reason for it."""

    server_name: str
    thread_id: str
    turn_id: str | None = None


class OpenaiUserVerificationMcpServerElicitationRequestParams(McpServerElicitationRequestParams):
    """The user has to prove to be there, by answering `challenge`."""

    mode: Literal["openai/userVerification"] = "openai/userVerification"
    challenge: str
    description: str
    title: str
    meta: Annotated[Any, Field(alias="_meta")] = None


class FormMcpServerElicitationRequestParams(McpServerElicitationRequestParams):
    """A form to be filled in."""

    mode: Literal["form"] = "form"
    message: str
    requested_schema: McpElicitationSchema
    meta: Annotated[Any, Field(alias="_meta")] = None


class OpenaiFormMcpServerElicitationRequestParams(McpServerElicitationRequestParams):
    """A form of a kind that OpenAI has added."""

    mode: Literal["openai/form"] = "openai/form"
    message: str
    requested_schema: Any
    meta: Annotated[Any, Field(alias="_meta")] = None


class OldOpenaiFormMcpServerElicitationRequestParams(McpServerElicitationRequestParams):
    """The same under the name that it had before."""

    mode: Literal["openaiForm"] = "openaiForm"
    message: str
    requested_schema: Any
    meta: Annotated[Any, Field(alias="_meta")] = None


class UrlMcpServerElicitationRequestParams(McpServerElicitationRequestParams):
    """A page for the user to visit."""

    mode: Literal["url"] = "url"
    elicitation_id: str
    message: str
    url: str
    meta: Annotated[Any, Field(alias="_meta")] = None


McpServerElicitationAction = Literal["accept", "decline", "cancel"]
"""What the user did: agreed, refused, or went away."""


class McpServerElicitationRequestResponse(Wire):
    """The user's answer; `content` is the filled form, null unless the user agreed."""

    action: McpServerElicitationAction
    meta: Annotated[Any, Field(alias="_meta")] = None
    content: Any = None


MCP_SERVER_ELICITATION_REQUEST = ServerRequest(
    "mcpServer/elicitation/request", McpServerElicitationRequestParams, McpServerElicitationRequestResponse
)


class McpToolCallProgressNotification(Wire):
    """What a tool says while it works."""

    item_id: str
    message: str
    thread_id: str
    turn_id: str


ITEM_MCP_TOOL_CALL_PROGRESS = ServerNotification("item/mcpToolCall/progress", McpToolCallProgressNotification)


class McpServerOauthLoginCompletedNotification(Wire):
    """A login has ended; `error` says why it failed."""

    name: str
    success: bool
    error: str | None = None
    login_id: str | None = None
    thread_id: str | None = None


MCP_SERVER_OAUTH_LOGIN_COMPLETED = ServerNotification(
    "mcpServer/oauthLogin/completed", McpServerOauthLoginCompletedNotification
)


McpServerStartupFailureReason = Literal["reauthenticationRequired"]
"""A reason that a client can do something about."""


McpServerStartupState = Literal["starting", "ready", "failed", "cancelled"]
"""How far a server has come."""


class McpServerStatusUpdatedNotification(Wire):
    """A server that is started for a thread has come further."""

    name: str
    status: McpServerStartupState
    error: str | None = None
    failure_reason: McpServerStartupFailureReason | None = None
    thread_id: str | None = None


MCP_SERVER_STARTUP_STATUS_UPDATED = ServerNotification(
    "mcpServer/startupStatus/updated", McpServerStatusUpdatedNotification
)


class McpServerEventNotification(Wire):
    """An event, as MCP shapes notifications."""

    method: str
    params: Any


class McpServerEventStreamNotification(Wire):
    """An event of a subscription."""

    notification: McpServerEventNotification
    subscription_id: str


MCP_SERVER_EVENT_STREAM_NOTIFICATION = ServerNotification(
    "mcpServer/event/stream/notification", McpServerEventStreamNotification
)
