"""v2.permissions"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.wire import AbsolutePath, SnakeWire, Wire

NetworkAccess = Literal["restricted", "enabled"]

SandboxMode = Literal["read-only", "workspace-write", "danger-full-access"]


class DangerFullAccessSandboxPolicy(Wire):
    type: Literal["dangerFullAccess"] = "dangerFullAccess"


class ReadOnlySandboxPolicy(Wire):
    type: Literal["readOnly"] = "readOnly"
    network_access: bool = False


class ExternalSandboxSandboxPolicy(Wire):
    type: Literal["externalSandbox"] = "externalSandbox"
    network_access: NetworkAccess = "restricted"


class WorkspaceWriteSandboxPolicy(Wire):
    type: Literal["workspaceWrite"] = "workspaceWrite"
    exclude_slash_tmp: bool = False
    exclude_tmpdir_env_var: bool = False
    network_access: bool = False
    writable_roots: list[AbsolutePath] = []


SandboxPolicy = Annotated[
    DangerFullAccessSandboxPolicy | ReadOnlySandboxPolicy | ExternalSandboxSandboxPolicy | WorkspaceWriteSandboxPolicy,
    Field(discriminator="type"),
]


class GranularApproval(SnakeWire):
    mcp_elicitations: bool
    rules: bool
    sandbox_approval: bool
    request_permissions: bool = False
    skill_approval: bool = False


class GranularAskForApproval(Wire, extra="forbid"):
    granular: GranularApproval


AskForApproval = Literal["untrusted", "on-request", "never"] | GranularAskForApproval

ApprovalsReviewer = Literal["user", "auto_review", "guardian_subagent"]


class ActivePermissionProfile(Wire):
    id: str
    extends: str | None = None


LegacyAppPathString = str

FileSystemAccessMode = Literal["read", "write", "deny"]


class RootFileSystemSpecialPath(Wire):
    kind: Literal["root"] = "root"


class MinimalFileSystemSpecialPath(Wire):
    kind: Literal["minimal"] = "minimal"


class ProjectRootsFileSystemSpecialPath(Wire):
    kind: Literal["project_roots"] = "project_roots"
    subpath: LegacyAppPathString | None = None


class TmpdirFileSystemSpecialPath(Wire):
    kind: Literal["tmpdir"] = "tmpdir"


class SlashTmpFileSystemSpecialPath(Wire):
    kind: Literal["slash_tmp"] = "slash_tmp"


class UnknownFileSystemSpecialPath(Wire):
    kind: Literal["unknown"] = "unknown"
    path: str
    subpath: LegacyAppPathString | None = None


FileSystemSpecialPath = Annotated[
    RootFileSystemSpecialPath
    | MinimalFileSystemSpecialPath
    | ProjectRootsFileSystemSpecialPath
    | TmpdirFileSystemSpecialPath
    | SlashTmpFileSystemSpecialPath
    | UnknownFileSystemSpecialPath,
    Field(discriminator="kind"),
]


class PathFileSystemPath(Wire):
    type: Literal["path"] = "path"
    path: LegacyAppPathString


class GlobPatternFileSystemPath(Wire):
    type: Literal["glob_pattern"] = "glob_pattern"
    pattern: str


class SpecialFileSystemPath(Wire):
    type: Literal["special"] = "special"
    value: FileSystemSpecialPath


FileSystemPath = Annotated[
    PathFileSystemPath | GlobPatternFileSystemPath | SpecialFileSystemPath, Field(discriminator="type")
]


class FileSystemSandboxEntry(Wire):
    access: FileSystemAccessMode
    path: FileSystemPath


class AdditionalFileSystemPermissions(Wire):
    entries: list[FileSystemSandboxEntry] | None = None
    glob_scan_max_depth: Annotated[int, Field(ge=1)] | None = None
    read: list[LegacyAppPathString] | None = None
    write: list[LegacyAppPathString] | None = None


class AdditionalNetworkPermissions(Wire):
    enabled: bool | None = None


class AdditionalPermissionProfile(Wire):
    file_system: AdditionalFileSystemPermissions | None = None
    network: AdditionalNetworkPermissions | None = None


class GrantedPermissionProfile(Wire):
    file_system: AdditionalFileSystemPermissions | None = None
    network: AdditionalNetworkPermissions | None = None


class RequestPermissionProfile(Wire, extra="forbid"):
    file_system: AdditionalFileSystemPermissions | None = None
    network: AdditionalNetworkPermissions | None = None


PermissionGrantScope = Literal["turn", "session"]

NetworkPolicyRuleAction = Literal["allow", "deny"]


class NetworkPolicyAmendment(Wire):
    action: NetworkPolicyRuleAction
    host: str


NetworkApprovalProtocol = Literal["http", "https", "socks5Tcp", "socks5Udp"]


class NetworkApprovalContext(Wire):
    host: str
    protocol: NetworkApprovalProtocol
