"""experimental_feature"""

from typing import Literal

from protocol.methods import ClientRequest
from protocol.wire import UInt32, Wire


class ExperimentalFeatureListParams(Wire):
    cursor: str | None = None
    limit: UInt32 | None = None
    thread_id: str | None = None


ExperimentalFeatureStage = Literal["beta", "underDevelopment", "stable", "deprecated", "removed"]


class ExperimentalFeature(Wire):
    default_enabled: bool
    enabled: bool
    name: str
    stage: ExperimentalFeatureStage
    announcement: str | None = None
    description: str | None = None
    display_name: str | None = None


class ExperimentalFeatureListResponse(Wire):
    data: list[ExperimentalFeature]
    next_cursor: str | None = None


EXPERIMENTAL_FEATURE_LIST = ClientRequest(
    "experimentalFeature/list",
    ExperimentalFeatureListParams,
    ExperimentalFeatureListResponse,
    access="read",
    availability="later",
)


class ExperimentalFeatureEnablementSetParams(Wire):
    enablement: dict[str, bool]


class ExperimentalFeatureEnablementSetResponse(Wire):
    enablement: dict[str, bool]


EXPERIMENTAL_FEATURE_ENABLEMENT_SET = ClientRequest(
    "experimentalFeature/enablement/set",
    ExperimentalFeatureEnablementSetParams,
    ExperimentalFeatureEnablementSetResponse,
    availability="later",
)
