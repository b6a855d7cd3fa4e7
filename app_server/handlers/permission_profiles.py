"""permissionProfile/list: the named sets of permissions that threads can choose from."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from protocol.jsonrpc import invalid_request
from protocol.v2.permissions import (
    PERMISSION_PROFILE_LIST,
    PermissionProfileListParams,
    PermissionProfileListResponse,
    PermissionProfileSummary,
)


@handles(PERMISSION_PROFILE_LIST)
def list_profiles(ctx: RequestContext, params: PermissionProfileListParams) -> PermissionProfileListResponse:
    profiles = list(ctx.settings.permission_profiles.values())
    start = _start(params.cursor, len(profiles))
    end = len(profiles) if params.limit is None else start + max(1, params.limit)
    page = [
        PermissionProfileSummary(id=profile.name, description=profile.description, allowed=profile.problem is None)
        for profile in profiles[start:end]
    ]
    return PermissionProfileListResponse(data=page, next_cursor=str(end) if end < len(profiles) else None)


def _start(cursor: str | None, count: int) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit()) or int(cursor[:9]) > count:
        raise invalid_request(f"invalid cursor: {cursor}")
    return int(cursor[:9])
