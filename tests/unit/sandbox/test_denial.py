"""Whether a failure looks like the sandbox's doing."""

import signal
import sys

import pytest

from app_server.sandbox.denial import was_denied


@pytest.mark.parametrize(
    "said",
    [
        "mkdir: cannot create directory: Permission denied",
        "socket: Operation not permitted",
        "touch: cannot touch 'x': READ-ONLY FILE SYSTEM",
        "blocked by seccomp",
        "Sandbox: deny(1)",
        "landlock",
        "error: failed to write file",
    ],
)
def test_what_systems_say_when_they_refuse_is_recognised(said: str) -> None:
    assert was_denied(1, f"first\n{said}\nlast", sandboxed=True)
    assert was_denied(127, said.encode() + b"\xff", sandboxed=True)


@pytest.mark.parametrize(("code", "output"), [(1, "no such file"), (2, ""), (126, ""), (127, "not found"), (137, "")])
def test_other_failures_are_not(code: int, output: str) -> None:
    assert not was_denied(code, output, sandboxed=True)


def test_success_is_no_denial_and_neither_is_a_failure_without_a_sandbox() -> None:
    assert not was_denied(0, "permission denied", sandboxed=True)
    assert not was_denied(1, "permission denied", sandboxed=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the signal of Linux's filters")
def test_death_by_the_filter_is() -> None:
    assert was_denied(128 + signal.SIGSYS, "", sandboxed=True)
