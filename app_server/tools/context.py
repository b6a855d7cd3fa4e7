"""All that a tool may see: its call, the turn it runs in, and how it answers."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct, field

from app_server.approvals.approvals import Approvals
from app_server.approvals.network import NetworkApprovals
from app_server.config.settings import Settings
from app_server.exec.expiration import Expiration
from app_server.exec.pause import Pause
from app_server.model.catalog import ModelInfo
from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.profiles import with_additional, with_managed_network
from app_server.tools.turn_diff import TurnDiff
from protocol.methods import ServerNotification
from protocol.v2.permissions import AskForApproval, GrantedPermissionProfile, GranularApproval
from protocol.wire import Wire

if TYPE_CHECKING:
    from app_server.tools.goal import PursuedGoal

INTERRUPTED = "interrupted"
"""The reason of an expiration that the user caused by stopping the turn."""


class ToolCall(Struct, frozen=True):
    """A call as the model made it; `arguments` is the text it sent, which need not be valid JSON.

    `custom` marks a call of a freeform tool, whose `arguments` are no JSON at all. `namespace` is the group of tools
    that the model named, if any.
    """

    call_id: str
    name: str
    arguments: str
    custom: bool = False
    namespace: str | None = None


class ToolOutput(Struct, frozen=True):
    """What the model reads as the result: `text`, or `content` parts of the Responses API in its place."""

    text: str
    content: Sequence[Mapping[str, Any]] | None = None
    success: bool = True


class ToolError(Exception):
    """The call could not be done; the message goes to the model and the turn goes on."""


class ItemSink(Protocol):
    """Where a tool reports the item that its call is for clients."""

    async def started(self, item: Any) -> None:
        """Tell that an item has begun."""
        ...

    def output_delta(self, item_id: str, text: str) -> None:
        """Tell what a command has printed."""
        ...

    async def congestion(self) -> None:
        """Wait for a client that is never cut and has fallen behind."""
        ...

    async def completed(self, item: Any) -> None:
        """Store a finished item and tell that it is done. Also for an item that outlives its turn."""
        ...

    def changed(self, item: Any) -> None:
        """Take note of what an item has become meanwhile; clients are told only at its end."""
        ...

    async def detach(self, item_id: str) -> None:
        """Let the item outlive the turn: it is stored as it stands, and `completed` may come at any time."""
        ...


class TurnContext(Struct):
    """The turn's settings as they were when it began, and what a tool may do to its thread."""

    thread_id: str
    turn_id: str
    cwd: str
    base_profile: PermissionProfile
    approval_policy: AskForApproval
    items: ItemSink
    approvals: Approvals
    network: NetworkApprovals
    config: Settings
    model: ModelInfo
    mode: str
    """The collaboration mode: `default` or `plan`."""
    publish: Callable[[ServerNotification[Any], Wire], None]
    """Tells the thread's followers an event."""
    tell_model: Callable[[str], None]
    """Adds a developer message to the history, after the outputs of the calls that are being answered."""
    interrupted: Callable[[], bool]
    running: set[Expiration] = field(default_factory=set[Expiration])
    granted: list[GrantedPermissionProfile] = field(default_factory=list[GrantedPermissionProfile])
    """Permissions that the user added for this turn."""
    permission_profile: str | None = None
    """The name of the permission profile in force, if it has one."""
    goal: "PursuedGoal | None" = None
    """What the thread works towards; None where it can have no goal."""
    pause: Pause = field(default_factory=Pause)
    """While it is held, the limits of waits for commands stand still."""
    diff: TurnDiff = field(default_factory=TurnDiff)
    """What the turn's patches have changed."""

    @property
    def profile(self) -> PermissionProfile:
        """What commands and patches may touch now, the grants of turn and session included."""
        profile = self.base_profile
        for grant in (*self.approvals.granted, *self.granted):
            profile = with_additional(profile, grant, self.cwd)
        return with_managed_network(profile, self.config)

    @property
    def approval_kind(self) -> str:
        """`untrusted`, `on-request`, `never` or `granular`."""
        return self.approval_policy if isinstance(self.approval_policy, str) else "granular"

    @property
    def granular(self) -> GranularApproval | None:
        """Which kinds of question may be asked, under the granular policy."""
        return None if isinstance(self.approval_policy, str) else self.approval_policy.granular

    @contextmanager
    def expires_with_turn(self, expiration: Expiration) -> Generator[None]:
        """Let an interrupt of the turn expire the command, or the wait for one, while it runs."""
        self.running.add(expiration)
        if self.interrupted():
            expiration.cancel(INTERRUPTED)
        try:
            yield
        finally:
            self.running.discard(expiration)
