"""skills/*: which skills can be used where, and which are switched on."""

from app_server.config.edit import Edit
from app_server.config.working_folder import absolute, working_folder
from app_server.extensions.skill_rules import is_meant, rules_in, switched_off, with_rule
from app_server.handlers.config import write
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from protocol.jsonrpc import invalid_params, invalid_request
from protocol.v2 import skills as wire


@handles(wire.SKILLS_LIST)
async def list_skills(ctx: RequestContext, params: wire.SkillsListParams) -> wire.SkillsListResponse:
    """What holds in each folder; without folders, in the one that the daemon was started in."""
    entries: list[wire.SkillsListEntry] = []
    for cwd in params.cwds or [working_folder()]:
        folder = named_folder(cwd)
        settings = (await ctx.configuration.in_folder(folder)).settings()
        listing = await ctx.extensions.skills.listing(folder, settings, again=params.force_reload)
        entries.append(listing.entry(cwd))
    return wire.SkillsListResponse(data=entries)


@handles(wire.SKILLS_EXTRA_ROOTS_SET)
def set_extra_roots(ctx: RequestContext, params: wire.SkillsExtraRootsSetParams) -> wire.SkillsExtraRootsSetResponse:
    ctx.extensions.skills.set_extra_roots(params.extra_roots)
    return wire.SkillsExtraRootsSetResponse()


@handles(wire.SKILLS_CONFIG_WRITE)
async def write_config(ctx: RequestContext, params: wire.SkillsConfigWriteParams) -> wire.SkillsConfigWriteResponse:
    if bool(params.name) == bool(params.path):
        raise invalid_params("skills/config/write requires exactly one of path or name")
    chosen = {"path": params.path} if params.path else {"name": params.name}
    rule = {**chosen, "enabled": params.enabled}
    skills = await ctx.extensions.skills.known(working_folder(), ctx.settings)
    before = rules_in((await ctx.configuration.refresh()).user.table.get("skills"))
    rules = with_rule(before, skills, rule)
    meant = [skill for skill in skills if is_meant(skill, rule)]
    if not meant and (rules == before or not params.enabled):
        raise invalid_request(f"there is no skill `{params.path or params.name}`; skills/list tells which there are")
    await write(ctx, [Edit("skills.config", rules or None)])
    off = switched_off(meant, rules_in(ctx.settings.extensions.get("skills")))
    return wire.SkillsConfigWriteResponse(effective_enabled=not off)


def named_folder(cwd: str) -> str:
    """A folder as clients name it, seen from where the daemon was started. Raises -32600 for what no path can be."""
    if "\0" in cwd:
        raise invalid_request("`cwds`: a path has no null character in it")
    return absolute(cwd)
