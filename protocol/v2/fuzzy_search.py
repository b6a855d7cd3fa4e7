"""Finding files by a few characters of their paths."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import SnakeWire, UInt32, Wire


class FuzzyFileSearchParams(Wire):
    """Find files and folders below `roots` whose paths have the characters of `query`, in order and in any case.

    Words of a query are separated by spaces and must all match: `'word` as it stands, `^word` at the start of the path,
    `word$` at its end, `!word` nowhere. A search ends an earlier one of the client with the same `cancellation_token`,
    which then has no files; without a token it ends none.
    """

    query: str
    roots: list[str]
    cancellation_token: str | None = None


FuzzyFileSearchMatchType = Literal["file", "directory"]
"""What is at the path, seen through links; what is no directory is a file."""


class FuzzyFileSearchResult(SnakeWire):
    """One path that matches. `root` is as it was given, and `path` is relative to it.

    The best have the highest `score`; above 65536 the query matches the name of a file alone, above 131072 it is the
    name. `indices` are the characters of `path` that the query matched, counted in code points.
    """

    file_name: Annotated[str, Field(alias="file_name")]
    match_type: Annotated[FuzzyFileSearchMatchType, Field(alias="match_type")]
    path: str
    root: str
    score: UInt32
    indices: list[UInt32] | None = None


class FuzzyFileSearchResponse(Wire):
    """At most 50 paths, best first and then by name. Files that git ignores are left out, and `.git`."""

    files: list[FuzzyFileSearchResult]


FUZZY_FILE_SEARCH = ClientRequest("fuzzyFileSearch", FuzzyFileSearchParams, FuzzyFileSearchResponse)


class FuzzyFileSearchSessionStartParams(Wire):
    """Open a session, which searches below `roots` for what each update asks.

    `session_id` is the client's own name for it, which must not be empty; a session of that name is replaced. It ends
    with the connection.
    """

    roots: list[str]
    session_id: str


class FuzzyFileSearchSessionStartResponse(Wire):
    """The session is open; the roots are read already."""


FUZZY_FILE_SEARCH_SESSION_START = ClientRequest(
    "fuzzyFileSearch/sessionStart",
    FuzzyFileSearchSessionStartParams,
    FuzzyFileSearchSessionStartResponse,
    experimental="fuzzyFileSearch/sessionStart",
)


class FuzzyFileSearchSessionUpdateParams(Wire):
    """Search for `query` from now on; an empty one finds nothing."""

    query: str
    session_id: str


class FuzzyFileSearchSessionUpdateResponse(Wire):
    """The query was taken; what it finds is told by notifications."""


FUZZY_FILE_SEARCH_SESSION_UPDATE = ClientRequest(
    "fuzzyFileSearch/sessionUpdate",
    FuzzyFileSearchSessionUpdateParams,
    FuzzyFileSearchSessionUpdateResponse,
    experimental="fuzzyFileSearch/sessionUpdate",
)


class FuzzyFileSearchSessionStopParams(Wire):
    """End a session."""

    session_id: str


class FuzzyFileSearchSessionStopResponse(Wire):
    """The session is over, or there was none."""


FUZZY_FILE_SEARCH_SESSION_STOP = ClientRequest(
    "fuzzyFileSearch/sessionStop",
    FuzzyFileSearchSessionStopParams,
    FuzzyFileSearchSessionStopResponse,
    experimental="fuzzyFileSearch/sessionStop",
)


class FuzzyFileSearchSessionUpdatedNotification(Wire):
    """What `query` finds: in part while the roots are still read, and again whenever files come or go."""

    files: list[FuzzyFileSearchResult]
    query: str
    session_id: str


FUZZY_FILE_SEARCH_SESSION_UPDATED = ServerNotification(
    "fuzzyFileSearch/sessionUpdated", FuzzyFileSearchSessionUpdatedNotification
)


class FuzzyFileSearchSessionCompletedNotification(Wire):
    """The last update has all that there is now for the session's query."""

    session_id: str


FUZZY_FILE_SEARCH_SESSION_COMPLETED = ServerNotification(
    "fuzzyFileSearch/sessionCompleted", FuzzyFileSearchSessionCompletedNotification
)
