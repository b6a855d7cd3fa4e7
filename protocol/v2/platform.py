"""News of the server itself: warnings, notices, settled requests."""

from protocol.jsonrpc import RequestId
from protocol.methods import ServerNotification
from protocol.wire import UInt, Wire


class TextPosition(Wire):
    """A place in a text, counted from 1."""

    column: UInt
    line: UInt


class TextRange(Wire):
    """From `start` to before `end`."""

    end: TextPosition
    start: TextPosition


class WarningNotification(Wire):
    """Something the user should know, of one thread or of all."""

    message: str
    thread_id: str | None = None


WARNING = ServerNotification("warning", WarningNotification)


class ConfigWarningNotification(Wire):
    """Something is wrong with the configuration; `path` and `range` say where."""

    summary: str
    details: str | None = None
    path: str | None = None
    range: TextRange | None = None


CONFIG_WARNING = ServerNotification("configWarning", ConfigWarningNotification)


class DeprecationNoticeNotification(Wire):
    """Something the user relies on will go away."""

    summary: str
    details: str | None = None


DEPRECATION_NOTICE = ServerNotification("deprecationNotice", DeprecationNoticeNotification)


class ServerRequestResolvedNotification(Wire):
    """A request of the server needs no answer any more: someone answered, or the turn is over."""

    thread_id: str
    request_id: RequestId


SERVER_REQUEST_RESOLVED = ServerNotification("serverRequest/resolved", ServerRequestResolvedNotification)
