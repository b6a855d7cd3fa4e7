"""Proving that the person at the machine is its owner, by a fingerprint or the like."""

from typing import Literal

from protocol.jsonrpc import RequestId
from protocol.methods import ClientRequest
from protocol.wire import Wire


class UserVerificationStatusParams(Wire, extra="forbid"):
    """Ask whether it can be proved here."""


UserVerificationUnavailableReason = Literal["credentialMissing", "biometricsUnavailable", "providerUnavailable"]
"""No key was made yet; the machine cannot tell who is there; or it has nothing for the purpose at all."""


class UserVerificationStatusResponse(Wire):
    """The key that proofs are made with, or else why there can be none, for programs and in words."""

    credential_id: str | None = None
    unavailable_message: str | None = None
    unavailable_reason: UserVerificationUnavailableReason | None = None


USER_VERIFICATION_STATUS = ClientRequest(
    "userVerification/status",
    UserVerificationStatusParams,
    UserVerificationStatusResponse,
    experimental="userVerification/status",
    access="read",
    availability="account",
)


class UserVerificationEnrollParams(Wire, extra="forbid"):
    """Make a key that only the owner of the machine can use."""


class UserVerificationEnrollResponse(Wire):
    """The new key: its id, and the public half with its algorithm as far as they are told."""

    credential_id: str
    algorithm: str | None = None
    public_key: str | None = None


USER_VERIFICATION_ENROLL = ClientRequest(
    "userVerification/enroll",
    UserVerificationEnrollParams,
    UserVerificationEnrollResponse,
    experimental="userVerification/enroll",
    availability="account",
)


class UserVerificationDeleteParams(Wire, extra="forbid"):
    """Remove the key."""


class UserVerificationDeleteResponse(Wire):
    """The key is gone."""


USER_VERIFICATION_DELETE = ClientRequest(
    "userVerification/delete",
    UserVerificationDeleteParams,
    UserVerificationDeleteResponse,
    experimental="userVerification/delete",
    availability="account",
)


class UserVerificationVerifyParams(Wire, extra="forbid"):
    """Let the person sign a challenge (1 to 4096 bytes in base64url without padding).

    `title` (1 to 256 bytes) and `description` (up to 4096 bytes) say what for.
    """

    challenge: str
    description: str
    title: str


class UserVerificationProof(Wire, extra="forbid"):
    """The signature, and the id of the key that it was made with."""

    credential_id: str
    signature: str


class UserVerificationVerifyResponse(Wire):
    """The person was there and agreed."""

    proof: UserVerificationProof


USER_VERIFICATION_VERIFY = ClientRequest(
    "userVerification/verify",
    UserVerificationVerifyParams,
    UserVerificationVerifyResponse,
    experimental="userVerification/verify",
    availability="account",
)


class UserVerificationCancelParams(Wire, extra="forbid"):
    """Stop asking: `request_id` is that of the `userVerification/verify` or `enroll` of this client."""

    request_id: RequestId


class UserVerificationCancelResponse(Wire):
    """Nobody is asked any more, if somebody was."""


USER_VERIFICATION_CANCEL = ClientRequest(
    "userVerification/cancel",
    UserVerificationCancelParams,
    UserVerificationCancelResponse,
    experimental="userVerification/cancel",
    availability="account",
)
