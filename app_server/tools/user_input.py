"""request_user_input: the model asks the user to choose."""

from collections.abc import Mapping
from typing import Any

from app_server.rpc.server_requests import NoAnswer
from app_server.tools.arguments import Arguments
from app_server.tools.context import ToolCall, ToolError, ToolOutput, TurnContext
from protocol.v2 import approval as wire

MAX_QUESTIONS = 3

SPEC: Mapping[str, Any] = {
    "type": "function",
    "name": "request_user_input",
    "description": (
        "Asks the user one to three short questions and waits for the answers. Only in plan mode. The user can always "
        "answer in words of their own, so offer no option such as Other."
    ),
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {
            "questions": {
                "type": "array",
                "description": "One question is best; three are the most.",
                "items": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string", "description": "A name for the answer, in snake_case."},
                        "header": {"type": "string", "description": "A heading of at most 12 characters."},
                        "question": {"type": "string", "description": "One sentence."},
                        "options": {
                            "type": "array",
                            "description": "Two or three answers that exclude each other, the recommended one first.",
                            "items": {
                                "type": "object",
                                "properties": {
                                    "label": {"type": "string", "description": "One to five words."},
                                    "description": {"type": "string", "description": "What follows from it."},
                                },
                                "required": ["label", "description"],
                                "additionalProperties": False,
                            },
                        },
                    },
                    "required": ["id", "header", "question", "options"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["questions"],
        "additionalProperties": False,
    },
}


class UserInputTool:
    """Puts the questions to every client; the first answer counts."""

    name = "request_user_input"
    parallel = False

    def spec(self, turn: TurnContext) -> Mapping[str, Any] | None:
        """Offered in plan mode."""
        return SPEC if turn.mode == "plan" else None

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """The answers as JSON; no answer is an empty one."""
        if turn.mode != "plan":
            raise ToolError("request_user_input is unavailable in Default mode")
        questions = [_question(question) for question in Arguments.parse(call.arguments).tables("questions")]
        if not 1 <= len(questions) <= MAX_QUESTIONS:
            raise ToolError(f"ask one to {MAX_QUESTIONS} questions at a time, not {len(questions)}")
        params = wire.ToolRequestUserInputParams(
            thread_id=turn.thread_id,
            turn_id=turn.turn_id,
            item_id=call.call_id,
            is_blocking=True,
            questions=questions,
        )
        try:
            answer = (await turn.approvals.ask(wire.ITEM_TOOL_REQUEST_USER_INPUT, params)).response
        except NoAnswer:
            answer = wire.ToolRequestUserInputResponse(answers={})
        return ToolOutput(answer.model_dump_json())


def _question(question: Arguments) -> wire.ToolRequestUserInputQuestion:
    options = [
        wire.ToolRequestUserInputOption(
            label=option.text("label"), description=option.optional_text("description") or ""
        )
        for option in question.tables("options")
    ]
    return wire.ToolRequestUserInputQuestion(
        id=question.text("id"),
        header=question.optional_text("header") or "",
        question=question.text("question"),
        is_other=True,
        options=options or None,
    )
