"""project/*: the projects that threads belong to."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from protocol.v2 import project as wire


@handles(wire.PROJECT_LIST)
async def list_projects(ctx: RequestContext, params: wire.ProjectListParams) -> wire.ProjectListResponse:
    return await ctx.library.projects.page(params)


@handles(wire.PROJECT_READ)
async def read(ctx: RequestContext, params: wire.ProjectReadParams) -> wire.ProjectReadResponse:
    return wire.ProjectReadResponse(project=await ctx.library.projects.read(params.project_id))


@handles(wire.PROJECT_CREATE)
async def create(ctx: RequestContext, params: wire.ProjectCreateParams) -> wire.ProjectCreateResponse:
    made = await ctx.library.projects.create(params.idempotency_key, params.name, params.roots, params.metadata)
    return wire.ProjectCreateResponse(project=made)


@handles(wire.PROJECT_IMPORT)
async def import_project(ctx: RequestContext, params: wire.ProjectImportParams) -> wire.ProjectImportResponse:
    made = await ctx.library.projects.create(
        params.idempotency_key, params.name, params.roots, params.metadata, params.threads or ()
    )
    return wire.ProjectImportResponse(project=made)


@handles(wire.PROJECT_UPDATE)
async def update(ctx: RequestContext, params: wire.ProjectUpdateParams) -> wire.ProjectUpdateResponse:
    return wire.ProjectUpdateResponse(project=await ctx.library.projects.update(params))


@handles(wire.PROJECT_MOVE)
async def move(ctx: RequestContext, params: wire.ProjectMoveParams) -> wire.ProjectMoveResponse:
    await ctx.library.projects.move(params.project_id, params.before_project_id)
    return wire.ProjectMoveResponse()


@handles(wire.PROJECT_DELETE)
async def delete(ctx: RequestContext, params: wire.ProjectDeleteParams) -> wire.ProjectDeleteResponse:
    await ctx.library.projects.delete(params.project_id)
    return wire.ProjectDeleteResponse()
