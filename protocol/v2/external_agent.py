"""external_agent"""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import Empty, UInt32, Wire


class ExternalAgentConfigDetectParams(Wire):
    cwds: list[str] | None = None
    include_home: bool = False
    max_session_age_days: UInt32 | None = None
    max_sessions: UInt32 | None = None
    migration_source: str | None = None
    source: str | None = None


ExternalAgentDetectedConnectorSource = Literal["remoteMcpServersConfig", "sessionToolUse"]


class ExternalAgentDetectedConnectorCandidate(Wire):
    name: str
    session_count: UInt32
    source: ExternalAgentDetectedConnectorSource


class CommandMigration(Wire):
    name: str


class HookMigration(Wire):
    name: str


class McpServerMigration(Wire):
    name: str


class PluginsMigration(Wire):
    marketplace_name: str
    plugin_names: list[str]


class SessionMigration(Wire):
    cwd: str
    path: str
    title: str | None = None


class SkillMigration(Wire):
    name: str


class SubagentMigration(Wire):
    name: str


class MigrationDetails(Wire):
    commands: list[CommandMigration] = []
    hooks: list[HookMigration] = []
    mcp_servers: list[McpServerMigration] = []
    memory: list[str] = []
    plugins: list[PluginsMigration] = []
    sessions: list[SessionMigration] = []
    skills: list[SkillMigration] = []
    subagents: list[SubagentMigration] = []


ExternalAgentConfigMigrationItemType = Literal[
    "AGENTS_MD",
    "CONFIG",
    "SKILLS",
    "PLUGINS",
    "MCP_SERVER_CONFIG",
    "SUBAGENTS",
    "HOOKS",
    "COMMANDS",
    "MEMORY",
    "SESSIONS",
]


class ExternalAgentConfigMigrationItem(Wire):
    description: str
    item_type: ExternalAgentConfigMigrationItemType
    cwd: str | None = None
    details: MigrationDetails | None = None


class ExternalAgentConfigDetectResponse(Wire):
    items: list[ExternalAgentConfigMigrationItem]
    connectors: list[ExternalAgentDetectedConnectorCandidate] = []


EXTERNAL_AGENT_CONFIG_DETECT = ClientRequest(
    "externalAgentConfig/detect",
    ExternalAgentConfigDetectParams,
    ExternalAgentConfigDetectResponse,
    access="read",
)


class ExternalAgentConfigImportParams(Wire):
    migration_items: list[ExternalAgentConfigMigrationItem]
    migration_source: str | None = None
    provider_id: str | None = None
    source: str | None = None


class ExternalAgentConfigImportResponse(Wire):
    import_id: str


EXTERNAL_AGENT_CONFIG_IMPORT = ClientRequest(
    "externalAgentConfig/import",
    ExternalAgentConfigImportParams,
    ExternalAgentConfigImportResponse,
    availability="later",
)


class ExternalAgentConfigImportItemTypeFailure(Wire):
    failure_stage: str
    item_type: ExternalAgentConfigMigrationItemType
    message: str
    cwd: str | None = None
    error_type: str | None = None
    source: str | None = None
    sub_error_type: str | None = None


class ExternalAgentConfigImportHistoryRecordSuccessParams(Wire):
    item_type: ExternalAgentConfigMigrationItemType
    cwd: str | None = None
    source: str | None = None
    target: str | None = None
    title: str | None = None


class ExternalAgentConfigImportHistoryRecordTypeResultParams(Wire):
    failures: list[ExternalAgentConfigImportItemTypeFailure]
    item_type: ExternalAgentConfigMigrationItemType
    successes: list[ExternalAgentConfigImportHistoryRecordSuccessParams]


class ExternalAgentConfigImportHistoryRecordParams(Wire):
    item_type_results: list[ExternalAgentConfigImportHistoryRecordTypeResultParams]
    provider_id: str


class ExternalAgentConfigImportHistoryRecordResponse(Wire):
    import_id: str


EXTERNAL_AGENT_CONFIG_IMPORT_RECORD_HISTORY = ClientRequest(
    "externalAgentConfig/import/recordHistory",
    ExternalAgentConfigImportHistoryRecordParams,
    ExternalAgentConfigImportHistoryRecordResponse,
)


ExternalAgentImportedConnectorSource = Literal["remoteMcpServersConfig"]


class ExternalAgentImportedConnectorCandidate(Wire):
    name: str
    session_count: UInt32
    source: ExternalAgentImportedConnectorSource


class ExternalAgentConfigImportItemTypeSuccess(Wire):
    item_type: ExternalAgentConfigMigrationItemType
    cwd: str | None = None
    source: str | None = None
    target: str | None = None
    title: str | None = None


class ExternalAgentConfigImportHistory(Wire):
    completed_at_ms: int
    failures: list[ExternalAgentConfigImportItemTypeFailure]
    import_id: str
    successes: list[ExternalAgentConfigImportItemTypeSuccess]
    provider_id: str | None = None


class ExternalAgentConfigImportHistoriesReadResponse(Wire):
    connectors: list[ExternalAgentImportedConnectorCandidate]
    data: list[ExternalAgentConfigImportHistory]


EXTERNAL_AGENT_CONFIG_IMPORT_READ_HISTORIES = ClientRequest(
    "externalAgentConfig/import/readHistories",
    Empty,
    ExternalAgentConfigImportHistoriesReadResponse,
    access="read",
)


class ExternalAgentConfigImportTypeResult(Wire):
    failures: list[ExternalAgentConfigImportItemTypeFailure]
    item_type: ExternalAgentConfigMigrationItemType
    successes: list[ExternalAgentConfigImportItemTypeSuccess]


class ExternalAgentConfigImportProgressNotification(Wire):
    import_id: str
    item_type_results: list[ExternalAgentConfigImportTypeResult]


EXTERNAL_AGENT_CONFIG_IMPORT_PROGRESS = ServerNotification(
    "externalAgentConfig/import/progress", ExternalAgentConfigImportProgressNotification
)


class ExternalAgentConfigImportCompletedNotification(Wire):
    import_id: str
    item_type_results: list[ExternalAgentConfigImportTypeResult]


EXTERNAL_AGENT_CONFIG_IMPORT_COMPLETED = ServerNotification(
    "externalAgentConfig/import/completed", ExternalAgentConfigImportCompletedNotification
)
