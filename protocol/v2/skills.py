"""skills/*: which skills can be used in a folder, which are switched on, and where else they are looked for."""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.v2.permissions import LegacyAppPathString
from protocol.wire import AbsolutePath, Wire

SkillScope = Literal["user", "repo", "system", "admin"]
"""Where a skill comes from: the user, the project, another program, or the machine's administrator."""


class SkillInterface(Wire):
    """How a client may present a skill."""

    brand_color: str | None = None
    default_prompt: str | None = None
    display_name: str | None = None
    icon_large: AbsolutePath | None = None
    icon_large_url: str | None = None
    icon_small: AbsolutePath | None = None
    icon_small_url: str | None = None
    short_description: str | None = None


class SkillToolDependency(Wire):
    """A tool that a skill cannot do without."""

    type: str
    value: str
    command: str | None = None
    description: str | None = None
    transport: str | None = None
    url: str | None = None


class SkillDependencies(Wire):
    """What a skill needs to be there."""

    tools: list[SkillToolDependency]


class SkillMetadata(Wire):
    """One skill; `path` is its SKILL.md."""

    description: str
    enabled: bool
    name: str
    path: LegacyAppPathString
    scope: SkillScope
    dependencies: SkillDependencies | None = None
    interface: SkillInterface | None = None
    plugin_id: str | None = None
    short_description: str | None = None


class SkillErrorInfo(Wire):
    """Why the skill at `path` was not loaded."""

    message: str
    path: str


class SkillsListEntry(Wire):
    """The skills that hold in one folder."""

    cwd: str
    errors: list[SkillErrorInfo]
    skills: list[SkillMetadata]


class SkillsListParams(Wire):
    """The folders to list skills for."""

    cwds: list[str] = []
    force_reload: bool = False


class SkillsListResponse(Wire):
    """One entry per folder, in the order asked for."""

    data: list[SkillsListEntry]


SKILLS_LIST = ClientRequest("skills/list", SkillsListParams, SkillsListResponse, access="read")


class SkillsExtraRootsSetParams(Wire):
    """Folders in which skills of the user are looked for too, in place of those set before, until the daemon ends."""

    extra_roots: list[AbsolutePath]


class SkillsExtraRootsSetResponse(Wire):
    """The folders count from now on."""


SKILLS_EXTRA_ROOTS_SET = ClientRequest("skills/extraRoots/set", SkillsExtraRootsSetParams, SkillsExtraRootsSetResponse)


class SkillsConfigWriteParams(Wire):
    """Switch a skill on or off, by its name or by the path of its SKILL.md: just one of them."""

    enabled: bool
    name: str | None = None
    path: AbsolutePath | None = None


class SkillsConfigWriteResponse(Wire):
    """Whether the skill is switched on now."""

    effective_enabled: bool


SKILLS_CONFIG_WRITE = ClientRequest("skills/config/write", SkillsConfigWriteParams, SkillsConfigWriteResponse)


class SkillsChangedNotification(Wire):
    """Lists of skills are no longer what they were: ask again."""


SKILLS_CHANGED = ServerNotification("skills/changed", SkillsChangedNotification)
