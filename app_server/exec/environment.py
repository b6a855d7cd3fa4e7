"""The environment of a child process."""

import os
from collections.abc import Mapping

PRIVATE_PREFIX = "TURNLOOM_"
"""Variables that configure the daemon itself, tokens of its listeners among them; no command gets them."""

TERMINAL_TYPE = "xterm"


def child_environment(
    overrides: Mapping[str, str | None] | None = None,
    *,
    base: Mapping[str, str] | None = None,
    terminal: bool = False,
) -> dict[str, str]:
    """The daemon's environment (or `base`) without its private variables, changed by `overrides`.

    None in `overrides` removes a variable. A command in a terminal has a TERM unless the overrides say otherwise.
    """
    source = os.environ if base is None else base
    env = {name: value for name, value in source.items() if not name.startswith(PRIVATE_PREFIX)}
    if terminal:
        env.setdefault("TERM", TERMINAL_TYPE)
    for name, value in (overrides or {}).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env
