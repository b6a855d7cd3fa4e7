"""What clients can ask of the machine and of the program itself, in one place for the daemon."""

from collections.abc import Callable
from pathlib import Path

from app_server.platform.environments import Environments
from app_server.platform.gauges import Gauges, Spawn
from app_server.platform.remote_control import RemoteControl
from app_server.rpc.outbound import Frame


class Platform:
    """One for the daemon; `home` is $CODEX_HOME."""

    def __init__(self, home: Path, broadcast: Callable[[Frame], None], spawn: Spawn) -> None:
        self.home = home
        self.environments = Environments()
        self.remote_control = RemoteControl(home, broadcast)
        self.gauges = Gauges(spawn)
