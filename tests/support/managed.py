"""The real program on a machine that an organisation manages: what is in /etc/codex lies in a folder of the test.

`python -m tests.support.managed FOLDER app-server ...` reads config.toml and requirements.toml of FOLDER in place of
the machine's own.
"""

import sys
from pathlib import Path

from app_server.cli import main
from app_server.config.layers import load_settings


def managed_program(folder: Path) -> tuple[str, ...]:
    """What starts the program with its system's configuration in `folder`."""
    return (sys.executable, "-m", "tests.support.managed", str(folder))


if __name__ == "__main__":
    defaults = load_settings.__kwdefaults__
    assert defaults is not None
    defaults["system_config"] = Path(sys.argv.pop(1)) / "config.toml"
    sys.exit(main())
