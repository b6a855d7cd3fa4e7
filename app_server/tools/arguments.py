"""Reading the arguments of a call, with an error for the model that names what is wrong."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from app_server.tools.context import ToolError

PREFIX = "failed to parse function arguments: "


class Arguments:
    """The JSON object that the model sent. Every method raises ToolError where a value is not of its kind."""

    def __init__(self, values: Mapping[str, Any], place: str = "") -> None:
        self._values, self._place = values, place

    @classmethod
    def parse(cls, text: str) -> "Arguments":
        """From the text of a call; an empty one has no arguments."""
        try:
            decoded = orjson.loads(text or "{}")
        except orjson.JSONDecodeError as error:
            raise ToolError(f"{PREFIX}{error}") from None
        return cls._of(decoded, "")

    @classmethod
    def _of(cls, value: Any, place: str) -> "Arguments":
        if not isinstance(value, dict):
            what = f"`{place}` must be an object" if place else "expected an object"
            raise ToolError(PREFIX + what)
        return cls(cast("dict[str, Any]", value), place)

    @property
    def values(self) -> Mapping[str, Any]:
        """What was sent, as it came."""
        return self._values

    def text(self, name: str) -> str:
        """A string that must be there."""
        value = self.optional_text(name)
        if value is None:
            raise ToolError(f"{PREFIX}missing field `{self._path(name)}`")
        return value

    def optional_text(self, name: str) -> str | None:
        """A string, or None if it is absent or null."""
        return self._value(name, str, "a string")

    def optional_path(self, name: str) -> str | None:
        """A path as it was written, or None if it is absent or null."""
        path = self.optional_text(name)
        if path is not None and "\0" in path:
            raise ToolError(f"{PREFIX}`{self._path(name)}` must not contain NUL characters")
        return path

    def path(self, name: str) -> str:
        """A path that must be there, as it was written."""
        self.text(name)
        return self.optional_path(name) or ""

    def flag(self, name: str) -> bool | None:
        """A boolean."""
        return self._value(name, bool, "true or false")

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """One of some words."""
        value = self.text(name)
        if value not in choices:
            raise ToolError(f"{PREFIX}`{self._path(name)}` must be one of {', '.join(choices)}; got `{value}`")
        return value

    def count(self, name: str) -> int | None:
        """A whole number that is not negative; models write 5.0 too."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ToolError(f"{PREFIX}`{self._path(name)}` must be a number that is not negative")
        return value

    def texts(self, name: str) -> list[str] | None:
        """A list of strings."""
        values = self._value(name, list, "a list of strings")
        if values is None:
            return None
        if not all(isinstance(value, str) for value in values):
            raise ToolError(f"{PREFIX}`{self._path(name)}` must be a list of strings")
        return cast("list[str]", values)

    def table(self, name: str) -> "Arguments":
        """An object; an absent one is empty."""
        value = self._values.get(name)
        return Arguments({}, self._path(name)) if value is None else self._of(value, self._path(name))

    def tables(self, name: str) -> "list[Arguments]":
        """A list of objects; an absent one is empty."""
        values: list[Any] = self._value(name, list, "a list of objects") or []
        return [self._of(value, f"{self._path(name)}[{index}]") for index, value in enumerate(values)]

    def _value(self, name: str, kind: type[Any], what: str) -> Any:
        value = self._values.get(name)
        if value is not None and not isinstance(value, kind):
            raise ToolError(f"{PREFIX}`{self._path(name)}` must be {what}")
        return value

    def _path(self, name: str) -> str:
        return f"{self._place}.{name}" if self._place else name
