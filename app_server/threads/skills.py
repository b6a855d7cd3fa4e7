"""Skills in a thread: the list for the model, and those that a message names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app_server.extensions.extensions import Extensions
from app_server.threads.history import text_message
from app_server.threads.messages import UserMessage
from app_server.threads.user_input import model_content
from protocol.v2.user_input import SkillUserInput, TextUserInput, UserInput

if TYPE_CHECKING:
    from app_server.threads.thread import Thread

NO_SKILLS = "<skills_instructions>\n## Skills\nNo skills are available any more.\n</skills_instructions>"
"""What the model reads once all the skills have gone that it was told of."""


class ThreadSkills:
    """The skills that hold where a thread works."""

    def __init__(self, thread: "Thread", extensions: Extensions) -> None:
        self._thread, self._extensions = thread, extensions

    async def listed(self) -> str:
        """The skills that the model may choose from, as it reads them; empty if there are none."""
        listing = await self._extensions.skills.listing(self._thread.settings.cwd, self._thread.config)
        from app_server.extensions.skill_prompts import skills_text

        return skills_text(listing)

    async def message(
        self, inputs: Sequence[UserInput], client_id: str | None, beside: Sequence[bytes] = ()
    ) -> UserMessage:
        """What a user says, with the skills that it names. Raises -32600 naming what cannot be read or sent.

        The followers of the thread are warned of skills that are not there; the message goes without them.
        """
        return UserMessage(inputs, await model_content(inputs), client_id, beside, await self._named(inputs))

    async def _named(self, inputs: Sequence[UserInput]) -> list[bytes]:
        if not any(map(_may_name, inputs)):
            return []
        listing = await self._extensions.skills.listing(self._thread.settings.cwd, self._thread.config)
        from app_server.extensions.skill_prompts import mentioned

        found = await mentioned(inputs, listing)
        for warning in found.warnings:
            self._thread.warn(warning)
        return [text_message("user", text) for text in found.texts]


def _may_name(part: UserInput) -> bool:
    return isinstance(part, SkillUserInput) or (isinstance(part, TextUserInput) and "$" in part.text)
