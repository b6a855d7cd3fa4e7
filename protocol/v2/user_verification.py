"""user_verification"""

from typing import Literal

from protocol.jsonrpc import RequestId
from protocol.methods import ClientRequest
from protocol.wire import Wire


class UserVerificationStatusParams(Wire, extra="forbid"): ...


UserVerificationUnavailableReason = Literal["credentialMissing", "biometricsUnavailable", "providerUnavailable"]


class UserVerificationStatusResponse(Wire):
    credential_id: str | None = None
    unavailable_message: str | None = None
    unavailable_reason: UserVerificationUnavailableReason | None = None


USER_VERIFICATION_STATUS = ClientRequest(
    "userVerification/status",
    UserVerificationStatusParams,
    UserVerificationStatusResponse,
    experimental="userVerification/status",
    access="read",
    availability="later",
)


class UserVerificationEnrollParams(Wire, extra="forbid"): ...


class UserVerificationEnrollResponse(Wire):
    credential_id: str
    algorithm: str | None = None
    public_key: str | None = None


USER_VERIFICATION_ENROLL = ClientRequest(
    "userVerification/enroll",
    UserVerificationEnrollParams,
    UserVerificationEnrollResponse,
    experimental="userVerification/enroll",
    availability="later",
)


class UserVerificationDeleteParams(Wire, extra="forbid"): ...


class UserVerificationDeleteResponse(Wire): ...


USER_VERIFICATION_DELETE = ClientRequest(
    "userVerification/delete",
    UserVerificationDeleteParams,
    UserVerificationDeleteResponse,
    experimental="userVerification/delete",
    availability="later",
)


class UserVerificationVerifyParams(Wire, extra="forbid"):
    challenge: str
    description: str
    title: str


class UserVerificationProof(Wire, extra="forbid"):
    credential_id: str
    signature: str


class UserVerificationVerifyResponse(Wire):
    proof: UserVerificationProof


USER_VERIFICATION_VERIFY = ClientRequest(
    "userVerification/verify",
    UserVerificationVerifyParams,
    UserVerificationVerifyResponse,
    experimental="userVerification/verify",
    availability="later",
)


class UserVerificationCancelParams(Wire, extra="forbid"):
    request_id: RequestId


class UserVerificationCancelResponse(Wire): ...


USER_VERIFICATION_CANCEL = ClientRequest(
    "userVerification/cancel",
    UserVerificationCancelParams,
    UserVerificationCancelResponse,
    experimental="userVerification/cancel",
    availability="later",
)
