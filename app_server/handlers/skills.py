"""skills/list. Skills are not supported yet, so none is available anywhere; the terminal UI needs the answer."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from protocol.v2.skills import SKILLS_LIST, SkillsListEntry, SkillsListParams, SkillsListResponse


@handles(SKILLS_LIST)
async def list_skills(ctx: RequestContext, params: SkillsListParams) -> SkillsListResponse:
    return SkillsListResponse(data=[SkillsListEntry(cwd=cwd, errors=[], skills=[]) for cwd in params.cwds])
