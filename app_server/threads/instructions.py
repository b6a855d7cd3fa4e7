"""What the model is told beside the conversation: how to work, what it may do, where it is, what the project asks."""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from app_server.config.network_proxy import NetworkProxySettings
from app_server.config.settings import Settings
from app_server.sandbox.permissions import PermissionProfile
from protocol.v2.permissions import (
    DangerFullAccessSandboxPolicy,
    ExternalSandboxSandboxPolicy,
    ReadOnlySandboxPolicy,
    SandboxPolicy,
    WorkspaceWriteSandboxPolicy,
)

INSTRUCTION_FILES = ("AGENTS.override.md", "AGENTS.md")
"""In each folder the first of these that exists is read, then the configured fallbacks."""

MAX_OWN_BYTES = 1024 * 1024
"""How much of the user's own file in `$CODEX_HOME` is read."""

MOST_HOSTS = 20
"""How many of the allowed hosts the model is told."""

_BASE = Path(__file__).with_name("base_instructions.md").read_text(encoding="utf-8")


def base_instructions() -> str:
    """How the model is to work, in every thread whose client does not say otherwise."""
    return _BASE


def permissions_text(
    sandbox: SandboxPolicy,
    approval_policy: str,
    roots: Sequence[str],
    profile: PermissionProfile | None = None,
    *,
    proxy: NetworkProxySettings | None = None,
    reviewed: bool = False,
) -> str:
    """What commands may do under the policies in force. `roots` are the absolute folders of the workspace.

    `profile` is the named one, if one is in force, of which `sandbox` tells only the outline; `proxy` are the rules of
    the managed network. `reviewed` is whether a model answers in the user's place.
    """
    lines = [_sandbox_text(sandbox, roots, managed=proxy is not None)]
    if proxy is not None:
        lines.append(_managed_network(proxy, approval_policy))
    if profile is not None and profile.kind == "restricted":
        lines += _profile_lines(sandbox, profile)
    lines.append(_APPROVALS[approval_policy])
    if reviewed and approval_policy in ("on-request", "granular"):
        lines.append(_REVIEWED)
    return "\n".join(("<permissions instructions>", *lines, "</permissions instructions>"))


def _profile_lines(sandbox: SandboxPolicy, profile: PermissionProfile) -> Iterator[str]:
    if isinstance(sandbox, ReadOnlySandboxPolicy) and profile.writable_roots:
        yield f"Unlike other files, what lies in these can be written: {_listed(profile.writable_roots)}."
    if profile.readable_roots is not None:
        also = f" but {_listed(profile.readable_roots)}" if profile.readable_roots else ""
        yield f"Beside what programs need to start, nothing can be read{also}."
    if profile.read_only:
        yield f"Within what can be written, these stay read-only: {_listed(profile.read_only)}."
    if hidden := (*profile.denied, *profile.denied_patterns):
        yield f"These, or what matches them, can be neither read nor written: {_listed(hidden)}."


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(f"`{path}`" for path in paths)


def _sandbox_text(sandbox: SandboxPolicy, roots: Sequence[str], *, managed: bool) -> str:
    match sandbox:
        case DangerFullAccessSandboxPolicy():
            return "Commands run without a sandbox: the whole file system is writable and the network is reachable."
        case ExternalSandboxSandboxPolicy():
            network = "reachable" if sandbox.network_access == "enabled" else "to be left alone"
            return (
                "The program runs inside a sandbox that its operator has set up; commands get no further one. "
                f"The network is {network}."
            )
        case ReadOnlySandboxPolicy():
            text = "Commands run in a sandbox: every file can be read and none can be written."
            return text + ("" if managed else _network(sandbox))
        case WorkspaceWriteSandboxPolicy():
            writable = [*roots, *(root for root in sandbox.writable_roots if root not in roots)]
            if not sandbox.exclude_slash_tmp:
                writable.append("/tmp")
            temporary = os.environ.get("TMPDIR", "")
            if not sandbox.exclude_tmpdir_env_var and os.path.isabs(temporary) and temporary not in writable:
                writable.append(temporary)
            named = ", ".join(f"`{path}`" for path in writable)
            return (
                f"Commands run in a sandbox: every file can be read; these folders can be written: {named}. "
                "Within them, folders such as `.git` and `.codex` stay read-only."
            ) + ("" if managed else _network(sandbox))


def _network(sandbox: ReadOnlySandboxPolicy | WorkspaceWriteSandboxPolicy) -> str:
    return " The network is reachable." if sandbox.network_access else " There is no network."


def _managed_network(proxy: NetworkProxySettings, approval_policy: str) -> str:
    allowed = [pattern for pattern, action in proxy.domains.items() if action == "allow"]
    others = "is refused" if approval_policy == "never" or proxy.managed_domains_only else "is asked about"
    text = (
        "The network is managed: commands reach it by the proxy that their environment names, and by nothing else. "
        f"A host that is not allowed {others} while the command runs, and a refusal ends the command and says why. "
        "Accept it: do not go around the proxy or try another way to the same host."
    )
    if proxy.mode == "limited":
        text += " Only requests that read (GET, HEAD, OPTIONS) go through."
    if allowed:
        more = f" and {len(allowed) - MOST_HOSTS} more" if len(allowed) > MOST_HOSTS else ""
        text += f" Allowed: {_listed(allowed[:MOST_HOSTS])}{more}."
    return text


_ESCALATE = (
    'A command that needs more can be asked for: set `sandbox_permissions` to "require_escalated" and put a short '
    "question to the user into `justification`. "
)
_APPROVALS = {
    "never": (
        "Approval policy: never. Nobody can be asked. A command that the sandbox stops cannot be allowed; work within "
        "the limits or report what is missing."
    ),
    "on-request": (
        f"Approval policy: on-request. {_ESCALATE}Ask when the task needs it, not as a habit, and accept a refusal."
    ),
    "untrusted": (
        "Approval policy: untrusted. Every command is shown to the user before it runs and may be refused. "
        f"Keep commands easy to judge. {_ESCALATE}"
    ).rstrip(),
    "granular": (
        f"Approval policy: granular. Some requests reach the user and others are refused at once. {_ESCALATE}"
        "Accept a refusal."
    ),
}


_REVIEWED = (
    "What needs an approval is decided by an automatic review in the user's place. It weighs the risk against what the "
    "user has asked for, so say in the justification what the action is needed for. After a denial take a safer way, "
    "or tell the user what you wanted to do and what the risk is, and ask."
)

_PLAN_MODE = (
    "Plan mode is on. Work out with the user what is to be done; do none of it yet. Read files and run commands that "
    "change nothing, to ground the plan in what is really there. Ask with `request_user_input` about what you cannot "
    "find out and what changes the plan; decide the rest yourself. Once nothing that matters is open, write the plan "
    "between two marker lines, `<proposed_plan>` and `</proposed_plan>`, each on a line of its own, in Markdown: the "
    "goal, the changes in order with the files they touch, how the result is checked, and what you assumed. It must "
    "be complete enough for somebody else to carry it out. A later plan replaces the whole of an earlier one."
)
_DEFAULT_MODE = "Plan mode is off: do the work. `request_user_input` and plan markers have no meaning now."


def mode_text(mode: str, instructions: str | None) -> str:
    """What the model is told of the collaboration mode; `instructions` are those of the client, which replace ours."""
    text = instructions or (_PLAN_MODE if mode == "plan" else _DEFAULT_MODE)
    return f"<collaboration_mode>{text}</collaboration_mode>"


def environment_context(cwd: str, roots: Sequence[str] = (), now: datetime | None = None) -> str:
    """Where the model is: folder, shell, date and time zone."""
    shell = os.path.basename(os.environ.get("SHELL") or "bash")
    lines = [
        f"  <cwd>{escape(cwd, quote=False)}</cwd>",
        f"  <shell>{escape(shell, quote=False)}</shell>",
        f"  <current_date>{now or datetime.now():%Y-%m-%d}</current_date>",
        f"  <timezone>{escape(_TIME_ZONE, quote=False)}</timezone>",
    ]
    if list(roots) not in ([], [cwd]):
        inner = "".join(f"<root>{escape(root, quote=False)}</root>" for root in roots)
        lines.append(f"  <workspace_roots>{inner}</workspace_roots>")
    return "\n".join(("<environment_context>", *lines, "</environment_context>"))


def project_instructions(cwd: str, settings: Settings) -> tuple[str, list[str]]:
    """The user's and the project's AGENTS.md files as one message, and the paths that it is made of.

    First `$CODEX_HOME`, then every folder from the project's root (the nearest one above with a root marker) down to
    `cwd`. The project's files share `project_doc_max_bytes`; what is over is cut off. The text is empty if there are
    none. Blocks on files.
    """
    own, sources = "", list[str]()
    for path in _candidates(settings.codex_home, INSTRUCTION_FILES):
        if own := (_read(path, MAX_OWN_BYTES) or "").strip():
            sources.append(str(path))
            break
    names = (*INSTRUCTION_FILES, *settings.project_doc_fallback_filenames)
    left, project = settings.project_doc_max_bytes, list[str]()
    for folder in _folders(Path(cwd), settings.project_root_markers):
        for path in _candidates(folder, names):
            if left <= 0 or str(path) in sources:
                break
            text = _read(path, left)
            if text is None:
                continue
            left -= len(text.encode())
            if text.strip():
                project.append(text)
                sources.append(str(path))
            break
    if not own and not project:
        return "", []
    parts = [own, "--- project-doc ---", *project] if own and project else [own or "", *project]
    body = "\n\n".join(part.strip() for part in parts if part)
    return f"# AGENTS.md instructions for {cwd}\n\n<INSTRUCTIONS>\n{body}\n</INSTRUCTIONS>", sources


def _folders(cwd: Path, markers: Sequence[str]) -> Iterator[Path]:
    above = [cwd, *cwd.parents]
    depth = next((i for i, folder in enumerate(above) if any(os.path.lexists(folder / name) for name in markers)), 0)
    yield from reversed(above[: depth + 1])


def _candidates(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    for name in names:
        path = folder / name
        try:
            # A pipe of that name would be waited for without end.
            if stat.S_ISREG(path.stat().st_mode):
                yield path
        except OSError:
            continue


def _read(path: Path, limit: int) -> str | None:
    try:
        with path.open("rb") as file:
            data = file.read(limit)
    except OSError:
        return None
    return data.decode("utf-8", errors="ignore")


def _time_zone() -> str:
    if name := os.environ.get("TZ", "").lstrip(":"):
        return name
    try:
        _, _, name = os.readlink("/etc/localtime").partition("zoneinfo/")
    except OSError:
        name = ""
    return name or time.tzname[0]


_TIME_ZONE = _time_zone()
