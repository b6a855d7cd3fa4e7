"""The reference's schema and list of methods, where they are at hand."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

from protocol.export import import_all

_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "protocol"

OUR_OWN = ("protocol.v2.network",)
"""Modules of what the reference does not have."""

Schema = dict[str, Any]
Direction = Literal["client request", "client notification", "server request", "server notification"]


@dataclass(frozen=True)
class Method:
    """A line of methods.tsv. `params` and `result` are type names, empty where there is none."""

    direction: Direction
    name: str
    is_experimental: bool
    params: str
    result: str


def mirrored() -> list[ModuleType]:
    """The modules of the protocol that are to be as the reference has them."""
    return [module for module in import_all() if module.__name__ not in OUR_OWN]


@cache
def document() -> dict[str, Any]:
    """The whole schema. Skips the test that asks where the file is not present."""
    path = _FOLDER / "reference.schema.json"
    if not path.exists():
        pytest.skip(f"no {path}: conformance to the reference's schema is NOT checked here")
    return json.loads(path.read_text("utf-8"))


def definitions() -> dict[str, Any]:
    """The schema of every type, by name."""
    return document()["definitions"]


@cache
def methods() -> dict[tuple[Direction, str], Method]:
    """Every method. Skips the test that asks where the file is not present."""
    path = _FOLDER / "methods.tsv"
    if not path.exists():
        pytest.skip(f"no {path}: conformance to the reference's methods is NOT checked here")
    found: dict[tuple[Direction, str], Method] = {}
    for line in path.read_text("utf-8").splitlines()[1:]:
        direction, name, stability, params, result = line.split("\t")
        found[direction, name] = Method(direction, name, stability == "experimental", params, result)  # pyright: ignore[reportArgumentType]
    return found
