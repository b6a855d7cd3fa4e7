"""Projects: names for folders, to which threads belong."""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.v2.thread_data import SortDirection
from protocol.wire import AbsolutePath, UInt32, Wire

ProjectSortKey = Literal["position", "recencyAt"]
"""The order that users gave projects, or by their newest threads."""


class ProjectListParams(Wire):
    """A page of projects: the first ones unless there is a sort key, with which the last ones come first."""

    cursor: str | None = None
    limit: UInt32 | None = None
    sort_direction: SortDirection | None = None
    sort_key: ProjectSortKey | None = None


class ProjectRoot(Wire):
    """A folder of a project."""

    path: AbsolutePath


class Project(Wire):
    """A project. Times are in Unix seconds; `recency_at` is that of its newest thread, or null without threads."""

    created_at: int
    id: str
    metadata: dict[str, str]
    name: str
    position: int
    roots: list[ProjectRoot]
    updated_at: int
    recency_at: int | None = None


class ProjectListResponse(Wire):
    """One page of projects."""

    data: list[Project]
    next_cursor: str | None = None


PROJECT_LIST = ClientRequest(
    "project/list",
    ProjectListParams,
    ProjectListResponse,
    experimental="project/list",
    access="read",
)


class ProjectReadParams(Wire):
    """Read a project."""

    project_id: str


class ProjectReadResponse(Wire):
    """The project."""

    project: Project


PROJECT_READ = ClientRequest(
    "project/read",
    ProjectReadParams,
    ProjectReadResponse,
    experimental="project/read",
    access="read",
)


class ProjectCreateParams(Wire):
    """Make a project, once for each `idempotency_key`: the same key gives the same project again."""

    idempotency_key: str
    name: str
    roots: list[ProjectRoot]
    metadata: dict[str, str] | None = None


class ProjectCreateResponse(Wire):
    """The project, new or known."""

    project: Project


PROJECT_CREATE = ClientRequest(
    "project/create",
    ProjectCreateParams,
    ProjectCreateResponse,
    experimental="project/create",
    access="act",
)


class ProjectImportParams(Wire):
    """Make a project, once for each `idempotency_key`, and let these threads belong to it."""

    idempotency_key: str
    name: str
    roots: list[ProjectRoot]
    metadata: dict[str, str] | None = None
    threads: list[str] | None = None


class ProjectImportResponse(Wire):
    """The project, new or known."""

    project: Project


PROJECT_IMPORT = ClientRequest(
    "project/import",
    ProjectImportParams,
    ProjectImportResponse,
    experimental="project/import",
    access="act",
)


class ProjectUpdateParams(Wire):
    """Change what is given of a project; `metadata` and `roots` are replaced as a whole."""

    project_id: str
    metadata: dict[str, str] | None = None
    name: str | None = None
    roots: list[ProjectRoot] | None = None


class ProjectUpdateResponse(Wire):
    """The project as it is now."""

    project: Project


PROJECT_UPDATE = ClientRequest(
    "project/update",
    ProjectUpdateParams,
    ProjectUpdateResponse,
    experimental="project/update",
    access="act",
)


class ProjectMoveParams(Wire):
    """Put a project before another one, or at the end."""

    project_id: str
    before_project_id: str | None = None


class ProjectMoveResponse(Wire):
    """The project is there."""


PROJECT_MOVE = ClientRequest(
    "project/move",
    ProjectMoveParams,
    ProjectMoveResponse,
    experimental="project/move",
    access="act",
)


class ProjectDeleteParams(Wire):
    """Remove a project; its threads belong to none then."""

    project_id: str


class ProjectDeleteResponse(Wire):
    """The project is gone."""


PROJECT_DELETE = ClientRequest(
    "project/delete",
    ProjectDeleteParams,
    ProjectDeleteResponse,
    experimental="project/delete",
    access="act",
)


ProjectChangeType = Literal["created", "updated", "deleted"]
"""What happened to a project."""


class ProjectChangedNotification(Wire):
    """A project was made, changed or removed."""

    change_type: ProjectChangeType
    project_id: str


PROJECT_CHANGED = ServerNotification("project/changed", ProjectChangedNotification)


class ThreadProjectUpdatedNotification(Wire):
    """A thread belongs to another project now, or to none (null)."""

    project_id: str | None
    thread_id: str


THREAD_PROJECT_UPDATED = ServerNotification("thread/project/updated", ThreadProjectUpdatedNotification)
