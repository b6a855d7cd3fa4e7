"""externalAgentConfig/*: what other coding agents have configured, and taking it over."""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import Empty, UInt32, Wire


class ExternalAgentConfigDetectParams(Wire):
    """Where to look: in the user's home, in the projects of `cwds`. `migration_source` is the agent, Claude Code unless
    it says `cursor`. Sessions are limited in number and by their age in days; nulls are 50 and 30. `source` says who
    asks.
    """

    cwds: list[str] | None = None
    include_home: bool = False
    max_session_age_days: UInt32 | None = None
    max_sessions: UInt32 | None = None
    migration_source: str | None = None
    source: str | None = None


ExternalAgentDetectedConnectorSource = Literal["remoteMcpServersConfig", "sessionToolUse"]
"""What tells that a service was used: configuration, or a session."""


class ExternalAgentDetectedConnectorCandidate(Wire):
    """A service that the other agent used and that an app might stand for."""

    name: str
    session_count: UInt32
    source: ExternalAgentDetectedConnectorSource


class CommandMigration(Wire):
    """A command, by the name of the skill that it would become."""

    name: str


class HookMigration(Wire):
    """An event that there are hooks for."""

    name: str


class McpServerMigration(Wire):
    """An MCP server."""

    name: str


class PluginsMigration(Wire):
    """Plugins of a marketplace."""

    marketplace_name: str
    plugin_names: list[str]


class SessionMigration(Wire):
    """A session: its file, the folder it worked in, and what it was about."""

    cwd: str
    path: str
    title: str | None = None


class SkillMigration(Wire):
    """A skill, by its folder."""

    name: str


class SubagentMigration(Wire):
    """A sub-agent."""

    name: str


class MigrationDetails(Wire):
    """What an item consists of; only the list of its kind is filled."""

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
"""What could be taken over."""


class ExternalAgentConfigMigrationItem(Wire):
    """Something that could be taken over and is not there yet. `cwd` is the project's root, null for the user's own."""

    description: str
    item_type: ExternalAgentConfigMigrationItemType
    cwd: str | None = None
    details: MigrationDetails | None = None


class ExternalAgentConfigDetectResponse(Wire):
    """What was found: of the user first, then of each project."""

    items: list[ExternalAgentConfigMigrationItem]
    connectors: list[ExternalAgentDetectedConnectorCandidate] = []


EXTERNAL_AGENT_CONFIG_DETECT = ClientRequest(
    "externalAgentConfig/detect",
    ExternalAgentConfigDetectParams,
    ExternalAgentConfigDetectResponse,
    access="read",
)


class ExternalAgentConfigImportParams(Wire):
    """Take over these items, as `detect` has told them. `provider_id` says in the history who did it."""

    migration_items: list[ExternalAgentConfigMigrationItem]
    migration_source: str | None = None
    provider_id: str | None = None
    source: str | None = None


class ExternalAgentConfigImportResponse(Wire):
    """The import has begun; notifications tell of it under this id."""

    import_id: str


EXTERNAL_AGENT_CONFIG_IMPORT = ClientRequest(
    "externalAgentConfig/import",
    ExternalAgentConfigImportParams,
    ExternalAgentConfigImportResponse,
    availability="later",
)


class ExternalAgentConfigImportItemTypeFailure(Wire):
    """Something that could not be taken over, at which stage and why."""

    failure_stage: str
    item_type: ExternalAgentConfigMigrationItemType
    message: str
    cwd: str | None = None
    error_type: str | None = None
    source: str | None = None
    sub_error_type: str | None = None


class ExternalAgentConfigImportHistoryRecordSuccessParams(Wire):
    """Something that a client has taken over by itself, from where and to where."""

    item_type: ExternalAgentConfigMigrationItemType
    cwd: str | None = None
    source: str | None = None
    target: str | None = None
    title: str | None = None


class ExternalAgentConfigImportHistoryRecordTypeResultParams(Wire):
    """What came of one kind of items."""

    failures: list[ExternalAgentConfigImportItemTypeFailure]
    item_type: ExternalAgentConfigMigrationItemType
    successes: list[ExternalAgentConfigImportHistoryRecordSuccessParams]


class ExternalAgentConfigImportHistoryRecordParams(Wire):
    """Keep in the history what a client has taken over by itself."""

    item_type_results: list[ExternalAgentConfigImportHistoryRecordTypeResultParams]
    provider_id: str


class ExternalAgentConfigImportHistoryRecordResponse(Wire):
    """The id under which it is kept."""

    import_id: str


EXTERNAL_AGENT_CONFIG_IMPORT_RECORD_HISTORY = ClientRequest(
    "externalAgentConfig/import/recordHistory",
    ExternalAgentConfigImportHistoryRecordParams,
    ExternalAgentConfigImportHistoryRecordResponse,
)


ExternalAgentImportedConnectorSource = Literal["remoteMcpServersConfig"]
"""What told that a service was used."""


class ExternalAgentImportedConnectorCandidate(Wire):
    """A service that was used in what was taken over."""

    name: str
    session_count: UInt32
    source: ExternalAgentImportedConnectorSource


class ExternalAgentConfigImportItemTypeSuccess(Wire):
    """Something that was taken over, from where and to where; for a session `target` is the thread."""

    item_type: ExternalAgentConfigMigrationItemType
    cwd: str | None = None
    source: str | None = None
    target: str | None = None
    title: str | None = None


class ExternalAgentConfigImportHistory(Wire):
    """One import. Milliseconds since 1970."""

    completed_at_ms: int
    failures: list[ExternalAgentConfigImportItemTypeFailure]
    import_id: str
    successes: list[ExternalAgentConfigImportItemTypeSuccess]
    provider_id: str | None = None


class ExternalAgentConfigImportHistoriesReadResponse(Wire):
    """All imports, the latest first."""

    connectors: list[ExternalAgentImportedConnectorCandidate]
    data: list[ExternalAgentConfigImportHistory]


EXTERNAL_AGENT_CONFIG_IMPORT_READ_HISTORIES = ClientRequest(
    "externalAgentConfig/import/readHistories",
    Empty,
    ExternalAgentConfigImportHistoriesReadResponse,
    access="read",
)
"""Read what was taken over, and from where."""


class ExternalAgentConfigImportTypeResult(Wire):
    """What came of one kind of items."""

    failures: list[ExternalAgentConfigImportItemTypeFailure]
    item_type: ExternalAgentConfigMigrationItemType
    successes: list[ExternalAgentConfigImportItemTypeSuccess]


class ExternalAgentConfigImportProgressNotification(Wire):
    """A part of an import is done."""

    import_id: str
    item_type_results: list[ExternalAgentConfigImportTypeResult]


EXTERNAL_AGENT_CONFIG_IMPORT_PROGRESS = ServerNotification(
    "externalAgentConfig/import/progress", ExternalAgentConfigImportProgressNotification
)


class ExternalAgentConfigImportCompletedNotification(Wire):
    """An import has ended, with all that came of it."""

    import_id: str
    item_type_results: list[ExternalAgentConfigImportTypeResult]


EXTERNAL_AGENT_CONFIG_IMPORT_COMPLETED = ServerNotification(
    "externalAgentConfig/import/completed", ExternalAgentConfigImportCompletedNotification
)
