"""The environment of a child process: what it inherits of the daemon's, and what is added."""

import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping

from app_server.config.settings import ShellEnvironmentPolicy
from app_server.version import PROTOCOL_VERSION

PRIVATE_PREFIX = "TURNLOOM_"
"""Variables that configure the daemon itself, tokens of its listeners among them; no command gets them."""

SECRET_NAMES = ("*KEY*", "*SECRET*", "*TOKEN*", "*PASSWORD*", "*PASSWD*", "*PASSPHRASE*", "*CREDENTIAL*")
"""What the names of secrets look like. Sockets of agents (SSH_AUTH_SOCK) and askpass programs are none."""

CORE_NAMES = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TEMP", "TMP", "TMPDIR", "USER")
"""What `inherit = "core"` keeps."""

TERMINAL_TYPE = "xterm"

AGENT_STYLE: Mapping[str, str] = {
    "TERM": "dumb",
    "NO_COLOR": "1",
    "COLORTERM": "",
    "LANG": "C.UTF-8",
    "LC_CTYPE": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GH_PAGER": "cat",
}
"""Plain output in one language, which never waits for a key: what a model reads best."""

PERMISSION_PROFILE = "CODEX_PERMISSION_PROFILE"


def child_environment(
    policy: ShellEnvironmentPolicy,
    overrides: Mapping[str, str | None] | None = None,
    *,
    base: Mapping[str, str] | None = None,
    terminal: bool = False,
) -> dict[str, str]:
    """What `policy` lets through of the daemon's environment (or of `base`), changed by `overrides`.

    None in `overrides` removes a variable. A command in a terminal has a TERM unless policy or overrides say otherwise.
    """
    env = _inherited(policy, base)
    env.update(policy.set)
    if policy.include_only:
        kept = _pattern(policy.include_only)
        env = {name: value for name, value in env.items() if kept(name)}
    if terminal:
        env.setdefault("TERM", TERMINAL_TYPE)
    return _changed(env, overrides)


def secrets_only(policy: ShellEnvironmentPolicy) -> ShellEnvironmentPolicy:
    """For a client's own process: all but the secrets, whatever else `policy` says about commands."""
    return ShellEnvironmentPolicy(
        ignore_default_excludes=policy.ignore_default_excludes, provider_keys=policy.provider_keys
    )


def user_shell_environment(
    policy: ShellEnvironmentPolicy,
    *,
    thread_id: str,
    permission_profile: str | None = None,
    base: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What a command inherits that the user runs in a thread: the policy's, and where it runs."""
    env = child_environment(policy, base=base)
    env["CODEX_THREAD_ID"] = env["CODEX_SESSION_ID"] = thread_id
    env["CODEX_VERSION"] = PROTOCOL_VERSION
    if permission_profile is None:
        env.pop(PERMISSION_PROFILE, None)
    else:
        env[PERMISSION_PROFILE] = permission_profile
    return env


def agent_environment(
    policy: ShellEnvironmentPolicy,
    *,
    thread_id: str,
    call_id: str,
    permission_profile: str | None = None,
    base: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What a command of the model inherits: the policy's, plain output, and where it runs.

    `permission_profile` is the name of the active one, if it has a name. What the policy itself sets keeps its value,
    except for the variables that tell where the command runs.
    """
    env = user_shell_environment(policy, thread_id=thread_id, permission_profile=permission_profile, base=base)
    env.update({name: value for name, value in AGENT_STYLE.items() if name not in policy.set})
    env["CODEX_CI"] = "1"
    env["CODEX_TOOL_CALL_ID"] = call_id
    return env


def _inherited(policy: ShellEnvironmentPolicy, base: Mapping[str, str] | None) -> dict[str, str]:
    rules = (policy.inherit, policy.ignore_default_excludes, policy.exclude, policy.provider_keys)
    return _of_daemon(*rules).copy() if base is None else _let_through(base, *rules)


@functools.lru_cache(maxsize=32)
def _of_daemon(
    inherit: str, ignore_default_excludes: bool, exclude: tuple[str, ...], keys: frozenset[str]
) -> dict[str, str]:
    # Kept, because the daemon's own environment never changes and every command begins with it.
    return _let_through(os.environ, inherit, ignore_default_excludes, exclude, keys)


def _let_through(
    source: Mapping[str, str], inherit: str, trusting: bool, exclude: tuple[str, ...], keys: frozenset[str]
) -> dict[str, str]:
    if inherit == "none":
        return {}
    drops = _pattern(exclude if trusting else (*exclude, *SECRET_NAMES))
    secret = frozenset[str]() if trusting else keys
    names: Iterable[str] = source if inherit == "all" else [name for name in CORE_NAMES if name in source]
    return {
        name: source[name] for name in names if not (name.startswith(PRIVATE_PREFIX) or name in secret or drops(name))
    }


def _changed(env: dict[str, str], overrides: Mapping[str, str | None] | None) -> dict[str, str]:
    for name, value in (overrides or {}).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env


@functools.lru_cache(maxsize=32)
def _pattern(patterns: tuple[str, ...]) -> Callable[[str], object]:
    """Tells of a name whether one of the patterns means it. Only * and ? are special."""
    special = {"*": ".*", "?": "."}
    expressions = ("".join(special.get(letter) or re.escape(letter) for letter in pattern) for pattern in patterns)
    return re.compile("|".join(expressions) or r"(?!)", re.IGNORECASE | re.DOTALL).fullmatch
