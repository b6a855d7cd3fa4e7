"""Why the proxy does not do what it is asked, as exceptions of its parts."""

from typing import TYPE_CHECKING

from app_server.network.policy import Attempt, Judgement, NetworkReason

if TYPE_CHECKING:
    from app_server.network.passage import Passage

_PROXY_ERRORS: dict[NetworkReason, str] = {
    "denied": "blocked-by-denylist",
    "not_allowed": "blocked-by-allowlist",
    "not_allowed_local": "blocked-by-allowlist",
    "method_not_allowed": "blocked-by-method-policy",
}


class Malformed(Exception):
    """What came is no proper request. The message is a sentence for the program's output; `status` is that of HTTP."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Refused(Exception):
    """The rules, or whoever was asked, do not let an attempt through."""

    def __init__(self, attempt: Attempt, judgement: Judgement) -> None:
        super().__init__(attempt, judgement)
        self.attempt, self.judgement = attempt, judgement


class Unreachable(Exception):
    """The host was allowed, and could not be reached. The message says why; `refused` if somebody there said no."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class HungUp(Exception):
    """The program did not wait for a decision."""


class Unproven(Exception):
    """The credential is missing or is not one that is taken here. `passage` is the command's, where that is known."""

    def __init__(self, passage: "Passage | None") -> None:
        super().__init__()
        self.passage = passage


class Crowded(Exception):
    """The command has as many connections as it may have."""


def proxy_error(reason: NetworkReason | None) -> str:
    """What the header `x-proxy-error` says."""
    return _PROXY_ERRORS.get(reason, "blocked-by-policy") if reason is not None else "blocked-by-policy"
