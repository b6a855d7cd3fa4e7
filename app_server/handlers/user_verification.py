"""userVerification/*: proving who sits at this machine, for which no provider is here."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.platform.user_verification import REASON, UNAVAILABLE, check, unavailable
from protocol.v2 import user_verification as wire


@handles(wire.USER_VERIFICATION_STATUS)
def status(ctx: RequestContext, params: wire.UserVerificationStatusParams) -> wire.UserVerificationStatusResponse:
    return wire.UserVerificationStatusResponse(unavailable_reason=REASON, unavailable_message=UNAVAILABLE)


@handles(wire.USER_VERIFICATION_ENROLL)
def enroll(ctx: RequestContext, params: wire.UserVerificationEnrollParams) -> wire.UserVerificationEnrollResponse:
    raise unavailable()


@handles(wire.USER_VERIFICATION_DELETE)
def delete(ctx: RequestContext, params: wire.UserVerificationDeleteParams) -> wire.UserVerificationDeleteResponse:
    raise unavailable()


@handles(wire.USER_VERIFICATION_VERIFY)
def verify(ctx: RequestContext, params: wire.UserVerificationVerifyParams) -> wire.UserVerificationVerifyResponse:
    check(params)
    raise unavailable()


@handles(wire.USER_VERIFICATION_CANCEL)
def cancel(ctx: RequestContext, params: wire.UserVerificationCancelParams) -> wire.UserVerificationCancelResponse:
    # No request of that id waits for the person, and to cancel what is over is no error.
    return wire.UserVerificationCancelResponse()
