"""apply_patch: the model edits files."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any

import anyio.to_thread
from msgspec import Struct

from app_server.approvals.approvals import Declined, TurnCancelled
from app_server.rpc.outbound import now_ms
from app_server.sandbox.guarded_files import FileProblem, FilesLost, GuardedFiles, Place
from app_server.sandbox.permissions import PermissionProfile
from app_server.tools.arguments import Arguments
from app_server.tools.context import ToolCall, ToolOutput, TurnContext
from app_server.tools.patch import PatchError, parse
from app_server.tools.patch_command import PatchCommand
from app_server.tools.patch_plan import PatchPlan, PlanError, plan
from protocol.v2.item import FileChangeThreadItem, PatchApplyStatus
from protocol.v2.turn import TURN_DIFF_UPDATED, TurnDiffUpdatedNotification

NAME = "apply_patch"

GRAMMAR = """\
start: "*** Begin Patch" LF section+ "*** End Patch" LF?
section: added | deleted | updated
added: "*** Add File: " PATH LF (ADDED LF)+
deleted: "*** Delete File: " PATH LF
updated: "*** Update File: " PATH LF (moved hunk* | hunk+)
moved: "*** Move to: " PATH LF
hunk: (PLACE LF)* (LINE LF)+ ("*** End of File" LF)?
PATH: /[^\\n]+/
ADDED: /\\+[^\\n]*/
PLACE: /@@( [^\\n]+)?/
LINE: /[ +-][^\\n]*/
%import common.LF
"""

SUMMARY = "Adds, changes, renames and deletes files. Either the whole patch is applied or nothing is changed."

FORMAT = """\
A patch looks like this:

*** Begin Patch
*** Add File: docs/new.md
+Each line of a new file begins with a plus sign.
*** Update File: src/app.py
@@ def greet():
     name = "you"
-    print("Hi", name)
+    print("Hello", name)
*** Update File: old_name.txt
*** Move to: new_name.txt
*** Delete File: obsolete.txt
*** End Patch

In an update, lines that stay begin with a space, lines that go with `-`, lines that come with `+`; give about three \
lines that stay before and after each change, as they are in the file. Begin each place with `@@`, and where the lines \
alone could stand in several places, with `@@ ` and the line of the function or class around them. Places come in the \
order of the file. `*** End of File` after the last line says that the file ends there. Paths are relative to the \
workspace."""

FREEFORM_SPEC: Mapping[str, Any] = {
    "type": "custom",
    "name": NAME,
    "description": f"{SUMMARY} Write the patch as it is, not as JSON.",
    "format": {"type": "grammar", "syntax": "lark", "definition": GRAMMAR},
}

FUNCTION_SPEC: Mapping[str, Any] = {
    "type": "function",
    "name": NAME,
    "description": f"{SUMMARY} {FORMAT}",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {
            "input": {"type": "string", "description": "The patch, from `*** Begin Patch` to `*** End Patch`."}
        },
        "required": ["input"],
        "additionalProperties": False,
    },
}


class _Question(Struct, frozen=True):
    """What has to be asked: about which files, by their real paths, and why."""

    paths: Sequence[str]
    reason: str | None


class _Refused(Exception):
    """The patch may not be applied; the message is for the model."""


class ApplyPatchTool:
    """Applies patches, freeform for models that know that, as a function for others, and those found in commands."""

    name = NAME
    parallel = False

    def __init__(self, hidden: Sequence[str] = ()) -> None:
        """`hidden` are the real paths of the daemon's secrets, which no patch may touch in a restricted turn."""
        self._hidden = hidden

    def spec(self, turn: TurnContext) -> Mapping[str, Any] | None:
        """The form that the model knows."""
        return FREEFORM_SPEC if turn.model.takes_freeform_tools else FUNCTION_SPEC

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """Apply the patch of a call."""
        text = call.arguments if call.custom else Arguments.parse(call.arguments).text("input")
        return await self._apply(text, turn.cwd, call, turn)

    async def run_intercepted(self, command: PatchCommand, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """Apply the patch that a command of the model came to; the answer is that of a command."""
        began = monotonic()
        output = await self._apply(command.text, command.cwd, call, turn)
        if not output.success:
            return output
        return ToolOutput(f"Wall time: {monotonic() - began:.4f} seconds\nOutput:\n{output.text}")

    async def _apply(self, text: str, cwd: str, call: ToolCall, turn: TurnContext) -> ToolOutput:
        check = partial(_check, may_ask=_may_ask(turn), policy=turn.approval_kind)
        try:
            files, planned = await anyio.to_thread.run_sync(_prepare, text, cwd, turn.profile, self._hidden, check)
        except (PatchError, PlanError, FileProblem) as error:
            return ToolOutput(f"apply_patch verification failed: {error}", success=False)
        except _Refused as error:
            return ToolOutput(f"patch rejected: {error}", success=False)
        item = FileChangeThreadItem(
            id=call.call_id, changes=planned.changes, status="inProgress", started_at_ms=now_ms()
        )
        await turn.items.started(item)
        question = _question(planned.places, asks_always=turn.approval_kind == "untrusted")
        try:
            if question is not None:
                await turn.approvals.ask_file_change(
                    turn.turn_id, call.call_id, question.paths, reason=question.reason, change=text, cwd=cwd
                )
            elif turn.approvals.is_strict(turn.turn_id):
                paths = [place.real for place in planned.places]
                await turn.approvals.review_file_change(turn.turn_id, call.call_id, paths, change=text, cwd=cwd)
        except (Declined, TurnCancelled) as no:
            await _complete(turn, item, "declined")
            if isinstance(no, TurnCancelled):
                raise
            return ToolOutput("patch rejected by user" if no.by_user else str(no), success=False)
        allowed = frozenset(question.paths if question is not None else ())
        began = monotonic()
        try:
            await anyio.to_thread.run_sync(files.write, planned.writes, allowed)
        except FileProblem as error:
            await _complete(turn, item, "failed")
            end = "" if isinstance(error, FilesLost) else "Nothing was changed.\n"
            return ToolOutput(_report(1, monotonic() - began, f"{error}\n{end}"), success=False)
        await _complete(turn, item, "completed")
        if planned.writes:
            diff = await anyio.to_thread.run_sync(_record, turn, planned)
            params = TurnDiffUpdatedNotification(thread_id=turn.thread_id, turn_id=turn.turn_id, diff=diff)
            turn.publish(TURN_DIFF_UPDATED, params)
        return ToolOutput(_report(0, monotonic() - began, planned.summary))


def _prepare(
    text: str, cwd: str, profile: PermissionProfile, hidden: Sequence[str], check: Callable[[Sequence[Place]], None]
) -> tuple[GuardedFiles, PatchPlan]:
    files = GuardedFiles(profile, hidden)
    return files, plan(parse(text), cwd, files, check=check)


def _record(turn: TurnContext, planned: PatchPlan) -> str:
    turn.diff.record(planned.versions)
    return turn.diff.text(turn.cwd)


def _may_ask(turn: TurnContext) -> bool:
    granular = turn.granular
    return turn.approval_kind != "never" if granular is None else granular.sandbox_approval


def _check(places: Sequence[Place], *, may_ask: bool, policy: str) -> None:
    for place in places:
        if place.access == "never":
            raise _Refused(f"{place.path} may not be read or changed: {place.reason}.")
        if place.access == "ask" and not may_ask:
            raise _Refused(
                f"{place.path} may not be changed: {place.reason}, and the approval policy ({policy}) rules out to ask "
                "for it. Change files in the writable folders only."
            )


def _question(places: Sequence[Place], *, asks_always: bool) -> _Question | None:
    asked = [place for place in places if place.access == "ask"]
    reason = "; ".join(f"{place.path}: {place.reason}" for place in asked) or None
    paths = [place.real for place in (places if asks_always else asked)]
    return _Question(paths, reason) if paths else None


async def _complete(turn: TurnContext, item: FileChangeThreadItem, status: PatchApplyStatus) -> None:
    await turn.items.completed(item.model_copy(update={"status": status, "completed_at_ms": now_ms()}))


def _report(exit_code: int, seconds: float, output: str) -> str:
    return f"Exit code: {exit_code}\nWall time: {round(seconds, 1):g} seconds\nOutput:\n{output}"
