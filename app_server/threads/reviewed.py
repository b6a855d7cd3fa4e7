"""A thread as the reviewer of its actions sees it."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from app_server.approvals.reviewer import ReviewedHistory, ReviewFailed, ReviewingModel
from app_server.sandbox.profiles import with_managed_network
from app_server.threads.instructions import permissions_text
from app_server.threads.settings import turn_profile
from protocol.jsonrpc import RpcError
from protocol.methods import ServerNotification
from protocol.wire import Wire

if TYPE_CHECKING:
    from app_server.threads.thread import Thread
    from app_server.threads.world import World


class Reviewed(Struct, frozen=True):
    """See `ReviewedThread`."""

    thread: "Thread"
    world: "World"

    @property
    def id(self) -> str:
        """The thread's id."""
        return self.thread.id

    @property
    def review_seconds(self) -> float:
        """How long one review may take."""
        return self.thread.config.auto_review.timeout_ms / 1000

    def reviewing_model(self) -> ReviewingModel:
        """The configured model, else the thread's own, at the thread's provider. Raises ReviewFailed."""
        settings, config = self.thread.settings, self.thread.config
        try:
            provider = self.world.provider(settings.model_provider, config)
        except RpcError as error:
            raise ReviewFailed(error.message) from error
        info = self.thread.model_info(config.auto_review.model or settings.model)
        active = self.thread.active
        investigate = None if active is None else partial(self.world.investigation.look, active.context)
        return ReviewingModel(provider, info, settings.effort, config.auto_review.policy, investigate)

    def reviewed_history(self) -> ReviewedHistory:
        """What has happened so far, in the running turn too."""
        active = self.thread.active
        return ReviewedHistory(tuple(self.thread.history), () if active is None else active.unsaved)

    def reviewed_permissions(self) -> str:
        """What the agent may do without asking."""
        settings = self.thread.settings
        profile = turn_profile(settings, self.thread.config)
        return permissions_text(
            settings.sandbox,
            settings.approval_kind,
            settings.workspace_roots,
            None if settings.permission_profile is None else profile,
            proxy=with_managed_network(profile, self.thread.config).proxy,
        )

    def publish(self, descriptor: ServerNotification[Any], params: Wire) -> None:
        """Tell the followers an event."""
        self.thread.events.publish(descriptor, params)

    def turn_is_over(self, turn_id: str) -> bool:
        """Whether nothing more of that turn is to happen."""
        active = self.thread.active
        return active is None or active.id != turn_id or active.ending

    def give_up(self, turn_id: str, warn: Callable[[], None]) -> None:
        """Interrupt the turn as soon as the call is answered that is being decided about."""
        active = self.thread.active
        if active is not None and active.id == turn_id:
            active.after_call(partial(_stop, active.interrupt, warn))


def _stop(interrupt: Callable[[], None], warn: Callable[[], None]) -> None:
    warn()
    interrupt()
