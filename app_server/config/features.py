"""Features that can be switched by name: how ripe each is, and what holds while nobody has chosen."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from msgspec import Struct

Stage = Literal["beta", "underDevelopment", "stable", "deprecated", "removed"]


class Feature(Struct, frozen=True):
    """One feature. `title` and `text` are for lists that users choose from; only beta features have them.

    `live` features can be switched while the daemon runs, without configuration.
    """

    name: str
    stage: Stage
    default: bool
    title: str | None = None
    text: str | None = None
    live: bool = False


@cache
def known_features() -> Mapping[str, Feature]:
    """All features by name, in the order in which clients list them.

    These are the names that users of compatible clients have in their files. What this program always does is stable
    and on; what it cannot do yet is under development and off; where the two agree nobody has to choose.
    """
    rows = json.loads(Path(__file__).with_name("features.json").read_bytes())
    return {row["name"]: Feature(**row) for row in rows}
