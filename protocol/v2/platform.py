"""v2.platform"""

from protocol.jsonrpc import RequestId
from protocol.methods import ServerNotification
from protocol.wire import UInt, Wire


class TextPosition(Wire):
    column: UInt
    line: UInt


class TextRange(Wire):
    end: TextPosition
    start: TextPosition


class WarningNotification(Wire):
    message: str
    thread_id: str | None = None


WARNING = ServerNotification("warning", WarningNotification)


class ConfigWarningNotification(Wire):
    summary: str
    details: str | None = None
    path: str | None = None
    range: TextRange | None = None


CONFIG_WARNING = ServerNotification("configWarning", ConfigWarningNotification)


class DeprecationNoticeNotification(Wire):
    summary: str
    details: str | None = None


DEPRECATION_NOTICE = ServerNotification("deprecationNotice", DeprecationNoticeNotification)


class ServerRequestResolvedNotification(Wire):
    request_id: RequestId
    thread_id: str


SERVER_REQUEST_RESOLVED = ServerNotification("serverRequest/resolved", ServerRequestResolvedNotification)
