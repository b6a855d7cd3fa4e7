"""feedback/*: a bundle for a bug report on this machine's disk, and no upload."""

import os
import platform
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio.to_thread

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.platform import feedback
from app_server.platform.redaction import Redactor
from app_server.store.ids import uuid7
from app_server.telemetry.log import recent_lines
from app_server.threads.exporting import prompt_hash, transcript
from app_server.threads.manager import check_id
from app_server.version import PROTOCOL_VERSION, TURNLOOM_VERSION
from protocol.jsonrpc import RpcError, invalid_request
from protocol.v2.feedback import (
    FEEDBACK_SAVE,
    FEEDBACK_UPLOAD,
    FeedbackSaveParams,
    FeedbackSaveResponse,
    FeedbackUploadParams,
    FeedbackUploadResponse,
)


@handles(FEEDBACK_UPLOAD)
def upload(ctx: RequestContext, params: FeedbackUploadParams) -> FeedbackUploadResponse:
    if params.thread_id is not None:
        check_id(params.thread_id)
    raise invalid_request(feedback.NOT_UPLOADED)


@handles(FEEDBACK_SAVE)
async def save(ctx: RequestContext, params: FeedbackSaveParams) -> FeedbackSaveResponse:
    if params.thread_id is not None:
        check_id(params.thread_id)
    thread_id = params.thread_id or f"no-active-thread-{uuid7()}"
    config = ctx.config.effective()
    in_thread = anyio.to_thread.run_sync
    await in_thread(feedback.check_place, params.save_path)
    redact = await in_thread(feedback.redactor, ctx.platform.home, config, os.environ)
    attachments = await in_thread(feedback.read_chosen, params.extra_log_files or ())
    if params.include_logs:
        attachments += await _logs(ctx, params.thread_id, config, redact)
    report = {**_about(ctx), **params.model_dump(include={"classification", "reason", "tags"}), "threadId": thread_id}
    await in_thread(partial(feedback.write, params.save_path, report, attachments, redact))
    hashed = None if params.thread_id is None else prompt_hash(ctx.threads, params.thread_id)
    return FeedbackSaveResponse(saved_path=params.save_path, thread_id=thread_id, prompt_hash=hashed)


def _about(ctx: RequestContext) -> dict[str, Any]:
    client = ctx.connection.client
    return {
        "savedAt": datetime.now(UTC).isoformat(timespec="seconds"),
        "turnloom": TURNLOOM_VERSION,
        "compatibleWith": PROTOCOL_VERSION,
        "client": None if client is None else {"name": client.name, "version": client.version},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} on {platform.machine()}",
        "model": ctx.settings.model,
        "modelProvider": ctx.settings.model_provider,
    }


async def _logs(
    ctx: RequestContext, thread_id: str | None, config: dict[str, Any], redact: Redactor
) -> list[feedback.Attachment]:
    """The configuration, the newest lines of the log, what doctor says, and the thread if there is one."""
    found = [
        await anyio.to_thread.run_sync(feedback.config_attachment, config, redact),
        feedback.Attachment("turnloom.log", recent_lines().encode(errors="replace")),
    ]
    if (doctor := await feedback.doctor_attachment()) is not None:
        found.append(doctor)
    if thread_id is not None:
        try:
            thread, turns = await transcript(ctx.threads, thread_id, feedback.MOST_TRANSCRIPT_BYTES)
        except RpcError:
            # A thread that is not here, or is kept nowhere: its report is worth something all the same.
            return found
        found.append(await anyio.to_thread.run_sync(feedback.transcript_attachment, thread, turns, redact))
    return found
