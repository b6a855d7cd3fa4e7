"""Reading typed values out of a configuration table, noting what is wrong instead of stopping at it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from msgspec import Struct


class Problem(Struct, frozen=True):
    """A value that cannot be used. A decisive one says where data goes or what may run, so guessing is not allowed.

    `summary` heads the warning about one that is not decisive; None for the usual words. `imposed` says that the value
    would be right, and that an organisation demands another.
    """

    path: tuple[str, ...]
    message: str
    decisive: bool
    summary: str | None = None
    imposed: bool = False

    @property
    def key(self) -> str:
        """The dotted name of the value."""
        return dotted(self.path)


def dotted(path: Sequence[str]) -> str:
    """A path as TOML writes it; segments that are no bare keys are quoted."""
    bare = (part.replace("-", "").replace("_", "").isalnum() and part.isascii() for part in path)
    return ".".join(
        part if plain else '"' + part.replace('"', '\\"') + '"' for part, plain in zip(path, bare, strict=True)
    )


class TableReader:
    """A view of one table. Readers give None for what is absent or of the wrong type; the latter is a problem too."""

    def __init__(
        self, table: Mapping[str, Any], path: tuple[str, ...] = (), problems: list[Problem] | None = None
    ) -> None:
        self._table, self._path = table, path
        self.problems: list[Problem] = [] if problems is None else problems

    def apart(self) -> "TableReader":
        """The same table, with a list of problems of its own."""
        return TableReader(self._table, self._path)

    def problem(self, key: str, message: str, *, decisive: bool) -> None:
        """Note that the value of `key` (of the table itself if empty) cannot be used."""
        self.problems.append(Problem((*self._path, key) if key else self._path, message, decisive))

    def names(self) -> list[str]:
        """The keys of the table."""
        return list(self._table)

    def entries(self) -> Mapping[str, Any]:
        """The table as it stands."""
        return self._table

    def raw(self, key: str) -> Any:
        """The value as it stands."""
        return self._table.get(key)

    def text(self, key: str, *, decisive: bool = False) -> str | None:
        """A string; an empty one counts as absent."""
        value = self.raw(key)
        if value is None or isinstance(value, str):
            return value or None
        return self._wrong(key, "a string", decisive)

    def choice(self, key: str, allowed: Sequence[str], *, decisive: bool = False) -> str | None:
        """One of the allowed strings."""
        value = self.raw(key)
        if value is None or (isinstance(value, str) and value in allowed):
            return value
        return self._wrong(key, "one of " + ", ".join(f"`{name}`" for name in allowed), decisive)

    def flag(self, key: str, *, decisive: bool = False) -> bool | None:
        """True or false."""
        value = self.raw(key)
        if value is None or isinstance(value, bool):
            return value
        return self._wrong(key, "true or false", decisive)

    def count(self, key: str, *, least: int = 0, most: int | None = None, decisive: bool = False) -> int | None:
        """A whole number in the range; more than `most` counts as `most`."""
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value if most is None else min(value, most)
        return self._wrong(key, f"a whole number, at least {least}", decisive)

    def texts(self, key: str, *, decisive: bool = False) -> tuple[str, ...] | None:
        """A list of strings."""
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, list):
            entries = cast("list[Any]", value)
            if all(isinstance(entry, str) for entry in entries):
                return tuple(entries)
        return self._wrong(key, "a list of strings", decisive)

    def text_map(self, key: str) -> dict[str, str] | None:
        """A table of strings. It decides about requests, so what is wrong in it is decisive."""
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, dict):
            entries = cast("dict[str, Any]", value)
            if all(isinstance(entry, str) for entry in entries.values()):
                return dict(entries)
        return self._wrong(key, "a table of strings", decisive=True)

    def table(self, key: str, *, decisive: bool = False) -> "TableReader":
        """A table within this one; empty if absent."""
        value = self.raw(key)
        if value is not None and not isinstance(value, dict):
            self._wrong(key, "a table", decisive)
            value = None
        inner = cast("dict[str, Any]", value or {})
        return TableReader(inner, (*self._path, key), self.problems)

    def tables(self, key: str, *, decisive: bool = False) -> Iterator[tuple[str, "TableReader"]]:
        """The named tables within a table."""
        outer = self.table(key, decisive=decisive)
        for name in outer.names():
            if isinstance(outer.raw(name), dict):
                yield name, outer.table(name)
            else:
                outer.problem(name, "must be a table", decisive=decisive)

    def refuse_unknown(self, known: Sequence[str], *, decisive: bool = False) -> None:
        """Note every key of the table that is not one of `known`."""
        for key in self.names():
            if key not in known:
                import difflib

                near = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"
                self.problem(key, f"`{key}` is not a known key; {hint}", decisive=decisive)

    def _wrong(self, key: str, expected: str, decisive: bool) -> None:
        shown = got(self.raw(key), shown=expected.startswith("one of"))
        self.problem(key, f"must be {expected}, got {shown}", decisive=decisive)


def got(value: Any, *, shown: bool = False) -> str:
    """What a message says of a wrong value. A text stays out of it unless it may be `shown`: it may be a secret."""
    if isinstance(value, str) and (shown or not value):
        return f"`{value}`" if value else "an empty string"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"the number {value}" if -(1 << 63) <= value < 1 << 63 else "a number of more than 64 bits"
    return _KINDS.get(type(value).__name__, "another value")


_KINDS = {
    "str": "a string",
    "bool": "a boolean",
    "list": "a list",
    "dict": "a table",
}
