"""What the model is told beside the conversation, as far as it has not been told yet."""

from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from app_server.sandbox.profiles import with_managed_network
from app_server.threads.history import text_message
from app_server.threads.instructions import environment_context, mode_text, permissions_text, project_instructions
from app_server.threads.settings import turn_profile
from app_server.threads.skills import NO_SKILLS

if TYPE_CHECKING:
    from app_server.threads.thread import Thread

_MESSAGE = b'{"type":"message","role":'


class Briefing:
    """Messages on permissions, project, environment and mode, for the beginning of each turn of a thread."""

    def __init__(self, thread: "Thread") -> None:
        self._thread = thread
        self.sources: list[str] = []
        """The files that the project's instructions come from."""
        self._project_text: str | None = None
        self._shown: dict[bytes, bytes] | None = None

    async def load(self) -> None:
        """Read AGENTS.md files for the present cwd, off the loop."""
        read = partial(project_instructions, self._thread.settings.cwd, self._thread.config)
        self._project_text, self.sources = await anyio.to_thread.run_sync(read)

    def moved(self) -> None:
        """The thread works in another folder now."""
        self._project_text = None

    def history_changed(self) -> None:
        """The history is another one: look at it again for what the model has been shown."""
        self._shown = None

    async def news(self) -> list[bytes]:
        """Messages that the model has not been shown in this form."""
        thread, settings = self._thread, self._thread.settings
        if self._project_text is None:
            await self.load()
        profile = turn_profile(settings, thread.config)
        allowed = permissions_text(
            settings.sandbox,
            settings.approval_kind,
            settings.workspace_roots,
            None if settings.permission_profile is None else profile,
            proxy=with_managed_network(profile, thread.config).proxy,
            reviewed=not thread.asks_the_user,
        )
        wanted = [("developer", allowed)]
        if skills := await thread.skills.listed():
            wanted.append(("developer", skills))
        if (demands := thread.config.requirements) is not None and demands.developer_instructions:
            managed = f"<managed_instructions>\n{demands.developer_instructions}\n</managed_instructions>"
            wanted.append(("developer", managed))
        if settings.developer_instructions:
            wanted.append(("developer", settings.developer_instructions))
        if self._project_text:
            wanted.append(("user", self._project_text))
        wanted.append(("user", environment_context(settings.cwd)))
        if self._shown is None:
            self._shown = {_opening(entry): entry for entry in thread.history if entry.startswith(_MESSAGE)}
        encoded = [text_message(role, text) for role, text in wanted]
        mode = settings.collaboration_mode
        chosen = None if mode is None else mode.settings.developer_instructions
        mode_entry = text_message("developer", mode_text(settings.mode, chosen))
        # The default mode goes without saying, unless the model was told of another.
        if settings.mode != "default" or chosen or _opening(mode_entry) in self._shown:
            encoded.append(mode_entry)
        no_skills = text_message("developer", NO_SKILLS)
        if not skills and _opening(no_skills) in self._shown:
            encoded.append(no_skills)
        new = [entry for entry in encoded if self._shown.get(_opening(entry)) != entry]
        self._shown |= {_opening(entry): entry for entry in new}
        return new


def _opening(entry: bytes) -> bytes:
    """What tells one kind of context message from another: its role and the tag that its text begins with."""
    return entry[:96]
