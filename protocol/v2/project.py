"""project"""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.v2.thread_data import SortDirection
from protocol.wire import AbsolutePath, UInt32, Wire

ProjectSortKey = Literal["position", "recencyAt"]


class ProjectListParams(Wire):
    cursor: str | None = None
    limit: UInt32 | None = None
    sort_direction: SortDirection | None = None
    sort_key: ProjectSortKey | None = None


class ProjectRoot(Wire):
    path: AbsolutePath


class Project(Wire):
    created_at: int
    id: str
    metadata: dict[str, str]
    name: str
    position: int
    roots: list[ProjectRoot]
    updated_at: int
    recency_at: int | None = None


class ProjectListResponse(Wire):
    data: list[Project]
    next_cursor: str | None = None


PROJECT_LIST = ClientRequest(
    "project/list",
    ProjectListParams,
    ProjectListResponse,
    experimental="project/list",
    access="read",
    availability="later",
)


class ProjectReadParams(Wire):
    project_id: str


class ProjectReadResponse(Wire):
    project: Project


PROJECT_READ = ClientRequest(
    "project/read",
    ProjectReadParams,
    ProjectReadResponse,
    experimental="project/read",
    access="read",
    availability="later",
)


class ProjectCreateParams(Wire):
    idempotency_key: str
    name: str
    roots: list[ProjectRoot]
    metadata: dict[str, str] | None = None


class ProjectCreateResponse(Wire):
    project: Project


PROJECT_CREATE = ClientRequest(
    "project/create",
    ProjectCreateParams,
    ProjectCreateResponse,
    experimental="project/create",
    access="act",
    availability="later",
)


class ProjectImportParams(Wire):
    idempotency_key: str
    name: str
    roots: list[ProjectRoot]
    metadata: dict[str, str] | None = None
    threads: list[str] | None = None


class ProjectImportResponse(Wire):
    project: Project


PROJECT_IMPORT = ClientRequest(
    "project/import",
    ProjectImportParams,
    ProjectImportResponse,
    experimental="project/import",
    access="act",
    availability="later",
)


class ProjectUpdateParams(Wire):
    project_id: str
    metadata: dict[str, str] | None = None
    name: str | None = None
    roots: list[ProjectRoot] | None = None


class ProjectUpdateResponse(Wire):
    project: Project


PROJECT_UPDATE = ClientRequest(
    "project/update",
    ProjectUpdateParams,
    ProjectUpdateResponse,
    experimental="project/update",
    access="act",
    availability="later",
)


class ProjectMoveParams(Wire):
    project_id: str
    before_project_id: str | None = None


class ProjectMoveResponse(Wire): ...


PROJECT_MOVE = ClientRequest(
    "project/move",
    ProjectMoveParams,
    ProjectMoveResponse,
    experimental="project/move",
    access="act",
    availability="later",
)


class ProjectDeleteParams(Wire):
    project_id: str


class ProjectDeleteResponse(Wire): ...


PROJECT_DELETE = ClientRequest(
    "project/delete",
    ProjectDeleteParams,
    ProjectDeleteResponse,
    experimental="project/delete",
    access="act",
    availability="later",
)


ProjectChangeType = Literal["created", "updated", "deleted"]


class ProjectChangedNotification(Wire):
    change_type: ProjectChangeType
    project_id: str


PROJECT_CHANGED = ServerNotification("project/changed", ProjectChangedNotification)


class ThreadProjectUpdatedNotification(Wire):
    project_id: str | None
    thread_id: str


THREAD_PROJECT_UPDATED = ServerNotification("thread/project/updated", ThreadProjectUpdatedNotification)
