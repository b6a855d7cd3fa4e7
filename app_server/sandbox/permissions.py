"""What a command may do: the one form in which sandbox policies reach the sandbox."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from app_server.config.network_proxy import NetworkProxySettings
from app_server.config.settings import Settings
from protocol.v2.permissions import (
    DangerFullAccessSandboxPolicy,
    ExternalSandboxSandboxPolicy,
    ReadOnlySandboxPolicy,
    SandboxPolicy,
    WorkspaceWriteSandboxPolicy,
)

PROTECTED_NAMES = (".git", ".agents", ".codex", ".aws")
"""Entries at the top of a writable root that stay read-only: what is written there would later act unsandboxed."""

PRIVATE_NAMES = ("auth.json", ".credentials.json", "turnloom")
"""Entries of $CODEX_HOME that no restricted command sees: the credentials of the account and of MCP, and the store."""

CERTIFICATES_NAME = "proxy"
"""The entry of $CODEX_HOME with the certificates of the managed proxy: what it intercepts can read them, none write."""


class PermissionProfile(Struct, frozen=True):
    """What a command may touch.

    `full_access` restricts nothing; `external` leaves the files to a sandbox around the daemon; `restricted` makes
    everything read-only but the writable roots, where `protected_names` and every `.git` that exists at the start
    stay read-only too. Roots are absolute paths; one that does not exist is not writable.

    `readable_roots` of None leaves everything readable, else only they are (with what programs need to start).
    `read_only` are paths within writable roots that stay read-only; `denied` can be neither read nor written. Where
    paths lie within each other the innermost decides.

    `denied_patterns` are absolute patterns whose matches are denied, looked for at most `pattern_depth` folders deep
    (None: however deep); they become `denied` paths before a backend sees the profile.

    With `proxy` there is no network but by the managed proxy, under these rules, and `network` is False.
    """

    kind: Literal["full_access", "external", "restricted"]
    network: bool
    writable_roots: tuple[str, ...] = ()
    protected_names: tuple[str, ...] = PROTECTED_NAMES
    readable_roots: tuple[str, ...] | None = None
    read_only: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    denied_patterns: tuple[str, ...] = ()
    pattern_depth: int | None = None
    proxy: NetworkProxySettings | None = None

    def __post_init__(self) -> None:
        for root in self.writable_roots:
            if not os.path.isabs(root):
                raise ValueError(f"writable root {root!r} is not absolute")


class Secrets(Struct, frozen=True):
    """What of the daemon's own no restricted command may see: denied in every profile, whatever it says.

    `home` is $CODEX_HOME, whose credentials and store are meant; `files` are others, such as that of a token. Links
    are followed when this is made, which is to be before any command could have changed them.
    """

    home: Path | None = None
    files: tuple[Path, ...] = ()

    def denied(self) -> tuple[str, ...]:
        """The paths, absolute and without symbolic links. They need not exist."""
        home = () if self.home is None else tuple(self.home / name for name in PRIVATE_NAMES)
        return tuple(dict.fromkeys(os.path.realpath(path) for path in (*home, *self.files)))


FULL_ACCESS = PermissionProfile("full_access", network=True)


def read_only(*, network: bool = False) -> PermissionProfile:
    """Reads everywhere, writes nowhere."""
    return PermissionProfile("restricted", network=network)


def external(*, network: bool = False) -> PermissionProfile:
    """No sandbox of ours; the command is only told whether it has a network."""
    return PermissionProfile("external", network=network)


def workspace_write(
    roots: Sequence[str],
    *,
    network: bool = False,
    slash_tmp: bool = True,
    tmpdir: str | None = None,
) -> PermissionProfile:
    """Writes in `roots`, in /tmp unless `slash_tmp` is false, and in `tmpdir` (the value of TMPDIR) if given."""
    writable = list(roots)
    if slash_tmp:
        writable.append("/tmp")
    if tmpdir and os.path.isabs(tmpdir):
        writable.append(tmpdir)
    return PermissionProfile("restricted", network=network, writable_roots=tuple(dict.fromkeys(writable)))


def profile_for(
    policy: SandboxPolicy, *, roots: Sequence[str], env: Mapping[str, str] | None = None
) -> PermissionProfile:
    """The profile of a policy as it stands on the wire.

    `roots` are the directories that `workspaceWrite` opens besides its own; TMPDIR is read from `env` (the daemon's
    environment if None).
    """
    match policy:
        case DangerFullAccessSandboxPolicy():
            return FULL_ACCESS
        case ReadOnlySandboxPolicy(network_access=network):
            return read_only(network=network)
        case ExternalSandboxSandboxPolicy(network_access=access):
            return external(network=access == "enabled")
        case WorkspaceWriteSandboxPolicy():
            return workspace_write(
                [*roots, *policy.writable_roots],
                network=policy.network_access,
                slash_tmp=not policy.exclude_slash_tmp,
                tmpdir=None if policy.exclude_tmpdir_env_var else (os.environ if env is None else env).get("TMPDIR"),
            )


def profile_of_settings(settings: Settings, *, roots: Sequence[str]) -> PermissionProfile:
    """The profile of the configured sandbox mode; `roots` are what `workspace-write` opens besides its own."""
    if settings.sandbox_mode == "danger-full-access":
        return FULL_ACCESS
    if settings.sandbox_mode == "workspace-write":
        more = settings.sandbox_workspace_write
        return workspace_write(
            [*roots, *more.writable_roots],
            network=more.network_access,
            slash_tmp=not more.exclude_slash_tmp,
            tmpdir=None if more.exclude_tmpdir_env_var else os.environ.get("TMPDIR"),
        )
    return read_only()
