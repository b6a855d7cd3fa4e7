"""fuzzy_search"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import SnakeWire, UInt32, Wire


class FuzzyFileSearchParams(Wire):
    query: str
    roots: list[str]
    cancellation_token: str | None = None


FuzzyFileSearchMatchType = Literal["file", "directory"]


class FuzzyFileSearchResult(SnakeWire):
    file_name: Annotated[str, Field(alias="file_name")]
    match_type: Annotated[FuzzyFileSearchMatchType, Field(alias="match_type")]
    path: str
    root: str
    score: UInt32
    indices: list[UInt32] | None = None


class FuzzyFileSearchResponse(Wire):
    files: list[FuzzyFileSearchResult]


FUZZY_FILE_SEARCH = ClientRequest(
    "fuzzyFileSearch", FuzzyFileSearchParams, FuzzyFileSearchResponse, availability="later"
)


class FuzzyFileSearchSessionStartParams(Wire):
    roots: list[str]
    session_id: str


class FuzzyFileSearchSessionStartResponse(Wire): ...


FUZZY_FILE_SEARCH_SESSION_START = ClientRequest(
    "fuzzyFileSearch/sessionStart",
    FuzzyFileSearchSessionStartParams,
    FuzzyFileSearchSessionStartResponse,
    experimental="fuzzyFileSearch/sessionStart",
    availability="later",
)


class FuzzyFileSearchSessionUpdateParams(Wire):
    query: str
    session_id: str


class FuzzyFileSearchSessionUpdateResponse(Wire): ...


FUZZY_FILE_SEARCH_SESSION_UPDATE = ClientRequest(
    "fuzzyFileSearch/sessionUpdate",
    FuzzyFileSearchSessionUpdateParams,
    FuzzyFileSearchSessionUpdateResponse,
    experimental="fuzzyFileSearch/sessionUpdate",
    availability="later",
)


class FuzzyFileSearchSessionStopParams(Wire):
    session_id: str


class FuzzyFileSearchSessionStopResponse(Wire): ...


FUZZY_FILE_SEARCH_SESSION_STOP = ClientRequest(
    "fuzzyFileSearch/sessionStop",
    FuzzyFileSearchSessionStopParams,
    FuzzyFileSearchSessionStopResponse,
    experimental="fuzzyFileSearch/sessionStop",
    availability="later",
)


class FuzzyFileSearchSessionUpdatedNotification(Wire):
    files: list[FuzzyFileSearchResult]
    query: str
    session_id: str


FUZZY_FILE_SEARCH_SESSION_UPDATED = ServerNotification(
    "fuzzyFileSearch/sessionUpdated", FuzzyFileSearchSessionUpdatedNotification
)


class FuzzyFileSearchSessionCompletedNotification(Wire):
    session_id: str


FUZZY_FILE_SEARCH_SESSION_COMPLETED = ServerNotification(
    "fuzzyFileSearch/sessionCompleted", FuzzyFileSearchSessionCompletedNotification
)
