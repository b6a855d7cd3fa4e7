"""skills/*: which skills can be used where."""

import os

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from protocol.v2 import skills as wire


@handles(wire.SKILLS_LIST)
async def list_skills(ctx: RequestContext, params: wire.SkillsListParams) -> wire.SkillsListResponse:
    """What holds in each folder; without folders, in the one that the daemon was started in."""
    entries: list[wire.SkillsListEntry] = []
    for cwd in params.cwds or [os.getcwd()]:
        folder = absolute(cwd)
        listing = await ctx.extensions.skills.listing(folder, ctx.settings, again=params.force_reload)
        entries.append(listing.entry(cwd))
    return wire.SkillsListResponse(data=entries)


@handles(wire.SKILLS_EXTRA_ROOTS_SET)
def set_extra_roots(ctx: RequestContext, params: wire.SkillsExtraRootsSetParams) -> wire.SkillsExtraRootsSetResponse:
    ctx.extensions.skills.set_extra_roots(params.extra_roots)
    return wire.SkillsExtraRootsSetResponse()


def absolute(cwd: str) -> str:
    """A folder as clients name it, seen from where the daemon was started."""
    return os.path.abspath(cwd)
