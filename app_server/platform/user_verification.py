"""Asking the person at this machine to prove to be the owner: it takes a provider, and none is here."""

import base64
import binascii

from protocol.jsonrpc import INVALID_PARAMS, INVALID_REQUEST, RpcError
from protocol.v2.user_verification import UserVerificationVerifyParams

UNAVAILABLE = "User verification is not available in this build or account."
REASON = "providerUnavailable"

MOST_CHALLENGE_BYTES = 4096
MOST_TITLE_BYTES = 256
MOST_DESCRIPTION_BYTES = 4096


def unavailable() -> RpcError:
    """The error of everything that needs the provider; `data` tells programs why."""
    return RpcError(INVALID_REQUEST, UNAVAILABLE, {"type": "unavailable", "reason": REASON})


def check(params: UserVerificationVerifyParams) -> None:
    """Refuse (-32602) what no provider would take: the challenge is 1 to 4096 bytes in base64url without padding."""
    fits = (
        0 < len(params.title.encode()) <= MOST_TITLE_BYTES
        and len(params.description.encode()) <= MOST_DESCRIPTION_BYTES
        and 0 < _decoded_length(params.challenge) <= MOST_CHALLENGE_BYTES
    )
    if not fits:
        data = {"type": "invalidRequest", "reason": "invalidParams"}
        raise RpcError(INVALID_PARAMS, "Invalid verification challenge or display text.", data)


def _decoded_length(text: str) -> int:
    """0 for what is no base64url, or not in its one canonical form."""
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return 0
    return len(decoded) if base64.urlsafe_b64encode(decoded).decode().rstrip("=") == text else 0
