"""What a command may touch and who is asked: sandbox policies, permission profiles, approval policies."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest
from protocol.wire import AbsolutePath, ExperimentalUse, SnakeWire, UInt32, Wire

NetworkAccess = Literal["restricted", "enabled"]
"""Whether an outer sandbox lets commands reach the network."""

SandboxMode = Literal["read-only", "workspace-write", "danger-full-access"]
"""A sandbox policy by its short name, as configuration spells it."""


class DangerFullAccessSandboxPolicy(Wire):
    """No sandbox at all."""

    type: Literal["dangerFullAccess"] = "dangerFullAccess"


class ReadOnlySandboxPolicy(Wire):
    """Everything can be read, nothing written."""

    type: Literal["readOnly"] = "readOnly"
    network_access: bool = False


class ExternalSandboxSandboxPolicy(Wire):
    """The host is a sandbox already; no further one is put around commands."""

    type: Literal["externalSandbox"] = "externalSandbox"
    network_access: NetworkAccess = "restricted"


class WorkspaceWriteSandboxPolicy(Wire):
    """Everything can be read; the working directory, `writable_roots` and (unless excluded) the temporary
    folders can be written."""

    type: Literal["workspaceWrite"] = "workspaceWrite"
    exclude_slash_tmp: bool = False
    exclude_tmpdir_env_var: bool = False
    network_access: bool = False
    writable_roots: list[AbsolutePath] = []


SandboxPolicy = Annotated[
    DangerFullAccessSandboxPolicy | ReadOnlySandboxPolicy | ExternalSandboxSandboxPolicy | WorkspaceWriteSandboxPolicy,
    Field(discriminator="type"),
]
"""How commands are confined."""


class GranularApproval(SnakeWire):
    """Which kinds of question may be put to the user; a kind that is off is refused without asking."""

    mcp_elicitations: bool
    rules: bool
    sandbox_approval: bool
    request_permissions: bool = False
    skill_approval: bool = False


class GranularAskForApproval(Wire, extra="forbid"):
    """Approval by kind instead of by one word."""

    granular: Annotated[GranularApproval, ExperimentalUse("askForApproval.granular")]


AskForApproval = Literal["untrusted", "on-request", "never"] | GranularAskForApproval
"""When the user is asked before a command runs."""

ApprovalsReviewer = Literal["user", "auto_review", "guardian_subagent"]
"""Who answers approval questions: the user, or a reviewing model (which once was `guardian_subagent`)."""


class ActivePermissionProfile(Wire):
    """The named profile in force and the profile that it builds on."""

    id: str
    extends: str | None = None


LegacyAppPathString = str
"""A path as the client wrote it; on the wire it may be relative or of another operating system."""

FileSystemAccessMode = Literal["read", "write", "deny"]
"""What may be done under a path; `deny` forbids reading too."""


class RootFileSystemSpecialPath(Wire):
    """The whole file system."""

    kind: Literal["root"] = "root"


class MinimalFileSystemSpecialPath(Wire):
    """Only what a program needs to start: system libraries and binaries."""

    kind: Literal["minimal"] = "minimal"


class ProjectRootsFileSystemSpecialPath(Wire):
    """The thread's workspace folders, or `subpath` within each."""

    kind: Literal["project_roots"] = "project_roots"
    subpath: LegacyAppPathString | None = None


class TmpdirFileSystemSpecialPath(Wire):
    """The folder that `TMPDIR` names."""

    kind: Literal["tmpdir"] = "tmpdir"


class SlashTmpFileSystemSpecialPath(Wire):
    """`/tmp`."""

    kind: Literal["slash_tmp"] = "slash_tmp"


class UnknownFileSystemSpecialPath(Wire):
    """A name that this version does not know, kept as it was written."""

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
"""A place that is known by its role."""


class PathFileSystemPath(Wire):
    """A file or a folder with all below it."""

    type: Literal["path"] = "path"
    path: LegacyAppPathString


class GlobPatternFileSystemPath(Wire):
    """Every path that matches a pattern."""

    type: Literal["glob_pattern"] = "glob_pattern"
    pattern: str


class SpecialFileSystemPath(Wire):
    """A place by its role."""

    type: Literal["special"] = "special"
    value: FileSystemSpecialPath


FileSystemPath = Annotated[
    PathFileSystemPath | GlobPatternFileSystemPath | SpecialFileSystemPath, Field(discriminator="type")
]
"""What a permission entry is about."""


class FileSystemSandboxEntry(Wire):
    """One rule of a file system permission."""

    access: FileSystemAccessMode
    path: FileSystemPath


class AdditionalFileSystemPermissions(Wire):
    """Paths to open beyond the policy: `entries`, or the plain lists `read` and `write`.

    `glob_scan_max_depth` bounds, in folders, how deep patterns are looked for.
    """

    entries: list[FileSystemSandboxEntry] | None = None
    glob_scan_max_depth: Annotated[int, Field(ge=1)] | None = None
    read: list[LegacyAppPathString] | None = None
    write: list[LegacyAppPathString] | None = None


class AdditionalNetworkPermissions(Wire):
    """Network access beyond the policy; None leaves it as it is."""

    enabled: bool | None = None


class AdditionalPermissionProfile(Wire):
    """What a command asks for beyond the policy."""

    file_system: AdditionalFileSystemPermissions | None = None
    network: AdditionalNetworkPermissions | None = None


class GrantedPermissionProfile(Wire):
    """What the user granted, which may be less than what was asked for."""

    file_system: AdditionalFileSystemPermissions | None = None
    network: AdditionalNetworkPermissions | None = None


class RequestPermissionProfile(Wire, extra="forbid"):
    """What the agent asks for."""

    file_system: AdditionalFileSystemPermissions | None = None
    network: AdditionalNetworkPermissions | None = None


PermissionGrantScope = Literal["turn", "session"]
"""How long a grant lasts."""

NetworkPolicyRuleAction = Literal["allow", "deny"]
"""What a network rule does."""


class NetworkPolicyAmendment(Wire):
    """A rule for one host, to be kept."""

    action: NetworkPolicyRuleAction
    host: str


NetworkApprovalProtocol = Literal["http", "https", "socks5Tcp", "socks5Udp"]
"""How a command tried to reach a host."""


class NetworkApprovalContext(Wire):
    """The host that a command tried to reach."""

    host: str
    protocol: NetworkApprovalProtocol


class PermissionProfileListParams(Wire):
    """A page of the permission profiles that a thread in `cwd` could choose from."""

    cursor: str | None = None
    cwd: str | None = None
    limit: UInt32 | None = None


class PermissionProfileSummary(Wire):
    """A profile by its name; one that is not `allowed` cannot be chosen."""

    allowed: bool
    id: str
    description: str | None = None


class PermissionProfileListResponse(Wire):
    """One page of profiles, the built-in ones first."""

    data: list[PermissionProfileSummary]
    next_cursor: str | None = None


PERMISSION_PROFILE_LIST = ClientRequest(
    "permissionProfile/list", PermissionProfileListParams, PermissionProfileListResponse, access="read"
)
