"""What each request does, for clients whose token does not allow everything."""

from typing import Any

import pytest

from protocol.export import import_all
from protocol.methods import ClientRequest, registered
from protocol.v2.thread import THREAD_RESUME, ThreadResumeParams

READ = {
    "account/read",
    "collaborationMode/list",
    "config/read",
    "configRequirements/read",
    "model/list",
    "permissionProfile/list",
    "skills/list",
    "thread/backgroundTerminals/list",
    "thread/items/list",
    "thread/list",
    "thread/loaded/list",
    "thread/read",
    "thread/turns/list",
    "thread/unsubscribe",
    "turnloom/network/decisions/list",
}
ACT = {
    "review/start",
    "thread/approveGuardianDeniedAction",
    "thread/archive",
    "thread/backgroundTerminals/clean",
    "thread/backgroundTerminals/terminate",
    "thread/compact/start",
    "thread/delete",
    "thread/fork",
    "thread/name/set",
    "thread/settings/update",
    "thread/start",
    "thread/unarchive",
    "turn/interrupt",
    "turn/start",
    "turn/steer",
}
SHELL = {
    "command/exec",
    "command/exec/resize",
    "command/exec/terminate",
    "command/exec/write",
    "fs/getMetadata",
    "fs/readFile",
    "fs/unwatch",
    "fs/watch",
    "initialize",  # answered before anybody asks
    "process/kill",
    "process/resizePty",
    "process/spawn",
    "process/writeStdin",
    "thread/shellCommand",
}
BY_PARAMS = {"thread/resume"}


def test_every_request_is_of_the_kind_that_was_decided_for_it() -> None:
    """A method that is new here needs a decision: what could somebody with a lesser token do with it?"""
    import_all()
    kinds: dict[str, set[str]] = {}
    for descriptor in registered(ClientRequest):
        kind = descriptor.access if isinstance(descriptor.access, str) else "by params"
        kinds.setdefault(kind, set()).add(descriptor.method)
    assert kinds == {"read": READ, "act": ACT, "shell": SHELL, "by params": BY_PARAMS}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"excludeTurns": True, "initialTurnsPage": {"limit": 5}},
        {"sandbox": None, "config": None, "permissions": None},
        {"somethingNew": True},
    ],
)
def test_to_follow_a_thread_is_to_read(params: dict[str, Any]) -> None:
    assert THREAD_RESUME.access_of(ThreadResumeParams.model_validate({"threadId": "x", **params})) == "read"


@pytest.mark.parametrize(
    "params",
    [
        {"sandbox": "read-only"},
        {"permissions": ":read-only"},
        {"approvalPolicy": "on-request"},
        {"config": {}},
        {"cwd": "/"},
        {"model": "m"},
        {"developerInstructions": ""},
        {"history": []},
    ],
)
def test_to_change_a_thread_on_the_way_is_to_act(params: dict[str, Any]) -> None:
    assert THREAD_RESUME.access_of(ThreadResumeParams.model_validate({"threadId": "x", **params})) == "act"
