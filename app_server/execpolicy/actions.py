"""What a command seems to do, for clients to show."""

from collections.abc import Sequence

from protocol.v2.item import CommandAction, UnknownCommandAction


def actions(argv: Sequence[str], cwd: str) -> list[CommandAction]:
    """The `commandActions` of an item: at least one, `unknown` where nothing is recognised."""
    return [UnknownCommandAction(command=argv[-1] if argv else "")]
