"""`turnloom doctor`: what works on this machine, what is missing, and what helps. It never tells a key or a token."""

import os
import platform
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
import orjson
from msgspec import Struct, field
from msgspec.structs import asdict

from app_server.config.layer import ConfigError
from app_server.config.layers import LayerStack, load_settings
from app_server.config.projects import find_project
from app_server.sandbox.permissions import Secrets, workspace_write
from app_server.sandbox.sandbox import SandboxUnavailable, choose_sandbox
from app_server.store.daemons import Daemon
from app_server.store.rollouts.files import files_in, folders
from app_server.transport.listen import default_socket
from app_server.version import PROTOCOL_VERSION, TURNLOOM_VERSION

Status = Literal["ok", "note", "problem"]
"""A note is worth knowing; a problem means that commands cannot be confined, or that the configuration is broken."""

DECISIVE = ("approval_policy", "default_permissions", "model", "model_provider", "sandbox_mode")
"""Settings whose origin users look for."""

PROBE_S = 60
QUICK_S = 10

PROBE = """
cd "$1" || exit 9
if echo x > inside; then echo "inside: written"; else echo "inside: refused"; fi
if echo x > .git/hooks/x; then echo "protected: written"; else echo "protected: refused"; fi
if echo x > "$2/outside"; then echo "outside: written"; else echo "outside: refused"; fi
if "$3" -I -S -c "$4"; then echo "network: reached"; else echo "network: refused"; fi
"""
EXPECTED = {"inside": "written", "protected": "refused", "outside": "refused", "network": "refused"}


class Check(Struct, frozen=True):
    """One thing that was looked at. `details` are lines beneath its text."""

    name: str
    status: Status
    text: str
    details: tuple[str, ...] = ()


class _Patient(Struct):
    """What the checks look at."""

    home: Path
    overrides: Sequence[str]
    profile: str | None = None
    stack: LayerStack | None = None
    checks: list[Check] = field(default_factory=list[Check])

    def note(self, name: str, status: Status, text: str, *details: str) -> None:
        self.checks.append(Check(name, status, text, details))


def run(overrides: Sequence[str] = (), *, as_json: bool = False, profile: str | None = None) -> int:
    """Print what was found. The exit status: 1 if there is a problem, else 0."""
    home = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
    checks = examine(home, overrides, profile)
    healthy = not any(check.status == "problem" for check in checks)
    if as_json:
        found = {"ok": healthy, "version": TURNLOOM_VERSION, "checks": [asdict(check) for check in checks]}
        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        sys.stdout.write(_plain(checks))
    return 0 if healthy else 1


def examine(home: Path, overrides: Sequence[str] = (), profile: str | None = None) -> list[Check]:
    """Look at everything, in the order in which it is shown."""
    patient = _Patient(home, overrides, profile)
    configuration = (_configuration, _project, _requirements)
    for look in (_program, _home, *configuration, _sandbox, _kernel, _tools, _model, _store, _sessions, _daemons):
        look(patient)
    return patient.checks


def _plain(checks: Sequence[Check]) -> str:
    width = max(len(check.name) for check in checks)
    signs = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
    lines: list[str] = []
    for check in checks:
        lines.append(f"{signs[check.status]:7}  {check.name:{width}}  {check.text}")
        lines += [f"{'':{width + 11}}{line}" for detail in check.details for line in detail.splitlines()]
    problems = sum(check.status == "problem" for check in checks)
    verdict = "All is well." if not problems else f"{problems} problem{'s' if problems > 1 else ''} found."
    return "\n".join([*lines, "", verdict]) + "\n"


# The program and its files


def _program(patient: _Patient) -> None:
    patient.note("version", "ok", f"turnloom {TURNLOOM_VERSION} (compatible with codex app-server {PROTOCOL_VERSION})")
    patient.note("python", "ok", f"{platform.python_version()} ({sys.executable})")
    patient.note("system", "ok", f"{platform.system()} {platform.release()} on {platform.machine()}")


def _home(patient: _Patient) -> None:
    home = patient.home
    origin = "CODEX_HOME" if os.environ.get("CODEX_HOME") else "default"
    try:
        status = home.stat()
    except FileNotFoundError:
        patient.note("home", "note", f"{home} ({origin}) does not exist yet; the server makes it")
        return
    except OSError as error:
        patient.note("home", "problem", f"{home} ({origin}) cannot be looked at: {error.strerror}")
        return
    mode = stat.S_IMODE(status.st_mode)
    details: list[str] = []
    if not stat.S_ISDIR(status.st_mode) or not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        patient.note("home", "problem", f"{home} ({origin}) is no folder that this user may write")
        return
    if mode & 0o022:
        details.append(
            f"other users may write it (mode {mode:o}), and so change what is run for you: chmod go-w {home}"
        )
    for name in ("auth.json", ".credentials.json"):
        with suppress(OSError):
            if (mode_of_file := stat.S_IMODE((home / name).stat().st_mode)) & 0o077:
                details.append(f"other users may use {name} (mode {mode_of_file:o}): chmod 600 {home / name}")
    patient.note("home", "note" if details else "ok", f"{home} ({origin}, mode {mode:o})", *details)


def _configuration(patient: _Patient) -> None:
    """As it is for a thread that starts in the present folder."""
    try:
        stack = load_settings(patient.home, patient.overrides, profile=patient.profile)
    except ConfigError as error:
        patient.note("config", "problem", str(error))
        return
    settings = stack.settings()
    project = find_project(os.getcwd(), settings.project_root_markers, settings.projects, patient.home)
    patient.stack = stack = stack.in_project(project)
    files = [layer.file for layer in stack.active if layer.file is not None and os.path.exists(layer.file)]
    text = ", ".join(files) or "no config.toml; the defaults apply"
    try:
        settings = stack.with_thread_config()
    except ConfigError as error:
        others = [f"{w.summary} {w.details or ''}".strip() for w in stack.warnings if w.details != str(error)]
        patient.note("config", "problem", text, f"threads cannot start: {error}", *others)
        return
    details = [f"{w.summary} {w.details or ''}".strip() for w in stack.warnings]
    patient.note("config", "note" if details else "ok", text, *details)
    approvals = settings.approval_policy if isinstance(settings.approval_policy, str) else "granular"
    permissions = settings.default_permissions or f"sandbox_mode {settings.sandbox_mode}"
    decided = {key: layer for key, layer in stack.origins().items() if key in DECISIVE}
    origins = [f"{key}: {layer.file or 'the command line'}" for key, layer in decided.items()]
    patient.note("settings", "ok", f"approval_policy {approvals}, permissions {permissions}", *origins)


def _project(patient: _Patient) -> None:
    if patient.stack is None or (project := patient.stack.project) is None:
        return
    trust = project.trust or "neither trusted nor untrusted"
    ignored = [layer.file for layer in project.layers if layer.disabled_reason is not None]
    text = f"{project.root} is {trust}"
    patient.note("project", "note" if ignored else "ok", text, *(f"does not count: {file}" for file in ignored))


def _requirements(patient: _Patient) -> None:
    if patient.stack is None or (demands := patient.stack.demands) is None:
        return
    names = [*demands.table, *(["network"] if demands.network is not None else [])]
    patient.note("requirements", "note", f"{demands.file} decides about {', '.join(names)}")


# Confinement


def _sandbox(patient: _Patient) -> None:
    sandbox = choose_sandbox(None, Secrets(patient.home))
    report = anyio.run(sandbox.report)
    stronger = tuple(f"{name} is not used: {reason}" for name, reason in report.refused)
    if report.backend is None:
        patient.note("sandbox", "problem", report.summary or "", *stronger)
        return
    lacks = tuple(f"lacks: {text}" for text in report.lacks)
    if report.backend == "bubblewrap":
        from app_server.sandbox.bubblewrap import weaknesses

        lacks += tuple(f"on this kernel {text}" for text in weaknesses())
    patient.note(
        "sandbox", "note" if stronger else "ok", f"commands are confined by {report.backend}", *stronger, *lacks
    )
    try:
        found = _probe()
    except (OSError, SandboxUnavailable, subprocess.SubprocessError) as error:
        patient.note("confined", "problem", f"a command could not be run in the sandbox: {error}")
        return
    wrong = [
        f"{what}: {found.get(what, 'no answer')}" for what, expected in EXPECTED.items() if found.get(what) != expected
    ]
    if wrong:
        patient.note("confined", "problem", "a command in the sandbox did not meet what it should", *wrong)
    else:
        patient.note("confined", "ok", "a real command wrote inside, and not outside, into .git/hooks or the network")


def _probe() -> dict[str, str]:
    """What a real confined command could do, with a listener of this machine to reach."""
    with tempfile.TemporaryDirectory(prefix="turnloom-doctor-") as folder, ExitStack() as stack:
        inside, outside = Path(folder, "inside"), Path(folder, "outside")
        (inside / ".git" / "hooks").mkdir(parents=True)
        outside.mkdir()
        port = _listening(stack)
        reach = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        argv = ["/bin/sh", "-c", PROBE, "sh", str(inside), str(outside), sys.executable, reach]
        profile = workspace_write([str(inside)], slash_tmp=False)
        sandbox = choose_sandbox()
        command = anyio.run(partial(sandbox.wrap, argv, cwd=str(inside), env=dict(os.environ), profile=profile))
        try:
            done = subprocess.run(
                list(command.argv),
                env=dict(command.env),
                cwd=inside,
                pass_fds=command.pass_fds,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PROBE_S,
                check=False,
            )
        finally:
            for fd in command.pass_fds:
                os.close(fd)
            if command.cleanup is not None:
                command.cleanup()
    answers = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    if not answers:
        raise OSError(done.stderr.strip() or f"exit code {done.returncode}")
    return answers


def _listening(stack: ExitStack) -> int:
    """A port of this machine where somebody listens while `stack` is open; one without, if we have no network."""
    try:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen()
    except OSError:
        return 9
    return int(listener.getsockname()[1])


def _kernel(patient: _Patient) -> None:
    if not sys.platform.startswith("linux"):
        return
    from app_server.sandbox import kernel

    patient.note("user namespaces", *_user_namespaces())
    abi = kernel.landlock_abi()
    patient.note(
        "Landlock", "ok" if abi else "note", f"version {abi}" if abi else "not in this kernel, or switched off"
    )
    filters = Path("/proc/sys/kernel/seccomp/actions_avail")
    answers = _read(filters).split()
    patient.note(
        "seccomp", "ok" if answers else "note", f"answers: {' '.join(answers)}" if answers else "not in this kernel"
    )
    patient.note("cgroups", *_cgroups())


def _user_namespaces() -> tuple[Status, str]:
    for path, refusing, remedy in (
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ):
        if _read(Path(path)) == refusing:
            return "note", f"{path} is {refusing}, which forbids them: {remedy}"
    if not Path("/proc/self/ns/user").exists():
        return "note", "not in this kernel"
    return "ok", "no setting forbids them"


def _cgroups() -> tuple[Status, str]:
    mounted = [line.split() for line in _read(Path("/proc/self/mounts")).splitlines()]
    place = next((fields[1] for fields in mounted if len(fields) > 2 and fields[2] == "cgroup2"), None)
    if place is None:
        return "note", "no version 2 here"
    own = next((line[3:] for line in _read(Path("/proc/self/cgroup")).splitlines() if line.startswith("0::")), "/")
    folder = Path(place + own)
    controllers = _read(folder / "cgroup.controllers").split()
    missing = [name for name in ("memory", "pids", "cpu") if name not in controllers]
    if missing:
        return "note", f"version 2 at {folder}, without {', '.join(missing)}"
    if not os.access(folder, os.W_OK):
        return "note", f"version 2 at {folder}, where this user may not make groups"
    return "ok", f"version 2 at {folder}: {' '.join(controllers)}"


# What commands and turns need


def _tools(patient: _Patient) -> None:
    shell = os.environ.get("SHELL") or shutil.which("bash") or "/bin/sh"
    found = os.access(shell, os.X_OK)
    patient.note("shell", "ok" if found else "note", shell if found else f"{shell} cannot be executed")
    for name, package in (("git", "git"), ("rg", "ripgrep")):
        path = shutil.which(name)
        if path is None:
            patient.note(name, "note", f"not found; agents work better with it (apt-get install {package})")
        else:
            patient.note(name, "ok", f"{_first_line([path, '--version'])} ({path})")


def _model(patient: _Patient) -> None:
    if patient.stack is None:
        return
    settings = patient.stack.settings()
    name = settings.model_provider
    provider = settings.model_providers.get(name)
    if provider is None:
        known = ", ".join(sorted(settings.model_providers))
        patient.note("model", "problem", f"model_provider `{name}` is not configured; known providers: {known}")
        return
    signed_in = provider.requires_openai_auth and patient.stack.signed_in
    present = signed_in or provider.api_key() is not None
    wanted = provider.env_key is not None
    key = "a key is there" if present else f"no key: set {provider.env_key}" if wanted else "it needs no key"
    patient.note("model", "note" if wanted and not present else "ok", f"{settings.model or 'default'} of {name}; {key}")


def _store(patient: _Patient) -> None:
    path = patient.home / "turnloom" / "threads.sqlite3"
    if not path.exists():
        patient.note("store", "ok", f"{path} does not exist yet; the server makes it")
        return
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=QUICK_S)) as connection:
            threads = int(connection.execute("SELECT count(*) FROM threads").fetchone()[0])
    except sqlite3.Error as error:
        patient.note("store", "note", f"{path} cannot be read: {error}; threads that it holds are lost to the server")
        return
    size = sum(file.stat().st_size for file in path.parent.glob("threads.sqlite3*"))
    patient.note("store", "ok", f"{path}: {threads} threads, {size / 1e6:.1f} MB")


def _sessions(patient: _Patient) -> None:
    files = [file for folder, archived in folders(patient.home) for file in files_in(folder, archived)]
    if files:
        count, archived = len(files), sum(file.archived for file in files)
        patient.note("sessions", "ok", f"{count} of Codex ({archived} archived), listed among the threads")


def _daemons(patient: _Patient) -> None:
    folder = patient.home / "turnloom" / "daemons"
    running = anyio.run(Daemon(folder, "").others) if folder.is_dir() else []
    lines = tuple(f"pid {daemon.pid}, listening on {daemon.listen}" for daemon in running)
    count = len(running)
    patient.note("servers", "ok", f"{count or 'none'} running on this home", *lines)
    path = default_socket(patient.home)
    if path.exists():
        patient.note("socket", *_answers(path))


def _answers(path: Path) -> tuple[Status, str]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(QUICK_S)
        try:
            client.connect(str(path))
        except OSError as error:
            return "note", f"nobody answers at {path}: {error.strerror or error}; the next server replaces it"
    return "ok", f"a server answers at {path}"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _first_line(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(list(argv), capture_output=True, text=True, timeout=QUICK_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return f"does not run: {error}"
    return (done.stdout.splitlines() or [f"exit code {done.returncode}"])[0]
