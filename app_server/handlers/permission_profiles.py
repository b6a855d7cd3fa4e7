"""permissionProfile/list: the named sets of permissions that threads can choose from."""

from app_server.handlers.context import RequestContext
from app_server.handlers.paging import counted_page
from app_server.handlers.registry import handles
from protocol.v2.permissions import (
    PERMISSION_PROFILE_LIST,
    PermissionProfileListParams,
    PermissionProfileListResponse,
    PermissionProfileSummary,
)


@handles(PERMISSION_PROFILE_LIST)
async def list_profiles(ctx: RequestContext, params: PermissionProfileListParams) -> PermissionProfileListResponse:
    """Those of the project that `cwd` is in are among them."""
    settings = (await ctx.configuration.in_folder(params.cwd)).settings()
    profiles = list(settings.permission_profiles.values())
    page, following = counted_page(profiles, params.cursor, params.limit, "permission profiles")
    data = [
        PermissionProfileSummary(id=profile.name, description=profile.description, allowed=profile.problem is None)
        for profile in page
    ]
    return PermissionProfileListResponse(data=data, next_cursor=following)
