"""What a user puts into a turn."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from protocol.wire import ABSENT_WHEN_NONE, SnakeWire, UInt, Wire


class ByteRange(Wire):
    """A half-open range of UTF-8 bytes: `start` is inside, `end` is not."""

    end: UInt
    start: UInt


class TextElement(Wire):
    """A part of a text that the client shows in its own way; `placeholder` is what it shows."""

    byte_range: ByteRange
    placeholder: str | None = None


ImageDetail = Literal["auto", "low", "high", "original"]
"""How closely the model looks at an image."""


class TextUserInput(SnakeWire):
    """Typed text."""

    type: Literal["text"] = "text"
    text: str
    text_elements: list[TextElement] = []


class ImageUserInput(Wire):
    """An image: a data URL, or the id of an uploaded file."""

    type: Literal["image"] = "image"
    detail: ImageDetail | None = None
    url: Annotated[str | None, ABSENT_WHEN_NONE] = None
    file_id: Annotated[str | None, ABSENT_WHEN_NONE] = None

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.url is None and self.file_id is None:
            raise ValueError("either url or fileId is needed")
        return self


class LocalImageUserInput(Wire):
    """An image file on the server's machine."""

    type: Literal["localImage"] = "localImage"
    path: str
    detail: ImageDetail | None = None


class AudioUserInput(Wire):
    """A recording: a data URL, or the id of an uploaded file."""

    type: Literal["audio"] = "audio"
    url: Annotated[str | None, ABSENT_WHEN_NONE] = None
    file_id: Annotated[str | None, ABSENT_WHEN_NONE] = None

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.url is None and self.file_id is None:
            raise ValueError("either url or fileId is needed")
        return self


class LocalAudioUserInput(Wire):
    """An audio file on the server's machine."""

    type: Literal["localAudio"] = "localAudio"
    path: str


class SkillUserInput(Wire):
    """A skill chosen by the user; `path` is its file."""

    type: Literal["skill"] = "skill"
    name: str
    path: str


class MentionUserInput(Wire):
    """A named thing that the user points at, such as an app."""

    type: Literal["mention"] = "mention"
    name: str
    path: str


UserInput = Annotated[
    TextUserInput
    | ImageUserInput
    | LocalImageUserInput
    | AudioUserInput
    | LocalAudioUserInput
    | SkillUserInput
    | MentionUserInput,
    Field(discriminator="type"),
]
"""One piece of a user's message."""
