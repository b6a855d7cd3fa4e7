"""v2.user_input"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from protocol.wire import ABSENT_WHEN_NONE, SnakeWire, UInt, Wire


class ByteRange(Wire):
    end: UInt
    start: UInt


class TextElement(Wire):
    byte_range: ByteRange
    placeholder: str | None = None


ImageDetail = Literal["auto", "low", "high", "original"]


class TextUserInput(SnakeWire):
    type: Literal["text"] = "text"
    text: str
    text_elements: list[TextElement] = []


class ImageUserInput(Wire):
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
    type: Literal["localImage"] = "localImage"
    path: str
    detail: ImageDetail | None = None


class AudioUserInput(Wire):
    type: Literal["audio"] = "audio"
    url: Annotated[str | None, ABSENT_WHEN_NONE] = None
    file_id: Annotated[str | None, ABSENT_WHEN_NONE] = None

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.url is None and self.file_id is None:
            raise ValueError("either url or fileId is needed")
        return self


class LocalAudioUserInput(Wire):
    type: Literal["localAudio"] = "localAudio"
    path: str


class SkillUserInput(Wire):
    type: Literal["skill"] = "skill"
    name: str
    path: str


class MentionUserInput(Wire):
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
