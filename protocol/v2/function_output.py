"""What a tool gives back to the model, spelled as the Responses API spells it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from protocol.v2.user_input import ImageDetail
from protocol.wire import ABSENT_WHEN_NONE, SnakeWire, Wire


class InputTextFunctionCallOutputContentItem(Wire):
    """Text."""

    type: Literal["input_text"] = "input_text"
    text: str


class InputImageFunctionCallOutputContentItem(Wire):
    """An image: a URL or the id of an uploaded file."""

    type: Literal["input_image"] = "input_image"
    detail: ImageDetail | None = None
    image_url: Annotated[str | None, Field(alias="image_url"), ABSENT_WHEN_NONE] = None
    file_id: Annotated[str | None, Field(alias="file_id"), ABSENT_WHEN_NONE] = None

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.image_url is None and self.file_id is None:
            raise ValueError("either image_url or file_id is needed")
        return self


class InputAudioFunctionCallOutputContentItem(Wire):
    """A recording: a URL or the id of an uploaded file."""

    type: Literal["input_audio"] = "input_audio"
    audio_url: Annotated[str | None, Field(alias="audio_url"), ABSENT_WHEN_NONE] = None
    file_id: Annotated[str | None, Field(alias="file_id"), ABSENT_WHEN_NONE] = None

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.audio_url is None and self.file_id is None:
            raise ValueError("either audio_url or file_id is needed")
        return self


class EncryptedContentFunctionCallOutputContentItem(SnakeWire):
    """Content that only the provider can read."""

    type: Literal["encrypted_content"] = "encrypted_content"
    encrypted_content: str


FunctionCallOutputContentItem = Annotated[
    InputTextFunctionCallOutputContentItem
    | InputImageFunctionCallOutputContentItem
    | InputAudioFunctionCallOutputContentItem
    | EncryptedContentFunctionCallOutputContentItem,
    Field(discriminator="type"),
]
"""A part of a tool's output."""

FunctionCallOutputBody = str | list[FunctionCallOutputContentItem]
"""A tool's output: plain text, or parts."""
