"""Features that can be switched on and off by name."""

from typing import Literal

from protocol.methods import ClientRequest
from protocol.wire import UInt32, Wire


class ExperimentalFeatureListParams(Wire):
    """A page of all features, as they are for a loaded thread or, without `thread_id`, outside of threads."""

    cursor: str | None = None
    limit: UInt32 | None = None
    thread_id: str | None = None


ExperimentalFeatureStage = Literal["beta", "underDevelopment", "stable", "deprecated", "removed"]
"""How ripe a feature is. A beta can be tried by users; what is removed is known by name only."""


class ExperimentalFeature(Wire):
    """A feature. Only a beta has a name and a description for users, and perhaps an announcement."""

    default_enabled: bool
    enabled: bool
    name: str
    stage: ExperimentalFeatureStage
    announcement: str | None = None
    description: str | None = None
    display_name: str | None = None


class ExperimentalFeatureListResponse(Wire):
    """`next_cursor` is null on the last page."""

    data: list[ExperimentalFeature]
    next_cursor: str | None = None


EXPERIMENTAL_FEATURE_LIST = ClientRequest(
    "experimentalFeature/list", ExperimentalFeatureListParams, ExperimentalFeatureListResponse, access="read"
)


class ExperimentalFeatureEnablementSetParams(Wire):
    """Switch features, by name, until the server ends. Where configuration says something of one, that holds."""

    enablement: dict[str, bool]


class ExperimentalFeatureEnablementSetResponse(Wire):
    """Those of the named features that can be switched so; the others were left alone."""

    enablement: dict[str, bool]


EXPERIMENTAL_FEATURE_ENABLEMENT_SET = ClientRequest(
    "experimentalFeature/enablement/set",
    ExperimentalFeatureEnablementSetParams,
    ExperimentalFeatureEnablementSetResponse,
)
