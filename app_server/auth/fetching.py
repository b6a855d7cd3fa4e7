"""Requests to the service that signs people in: who makes them, and how they fail. Cheap to import."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol


class OAuthError(Exception):
    """The service did not give what was asked for; the message holds no secret.

    `final` tells that asking again does not help: somebody has to sign in again.
    """

    def __init__(self, message: str, *, final: bool = False, status: int | None = None) -> None:
        super().__init__(message)
        self.final, self.status = final, status


class FetchFailed(Exception):
    """No answer at all; the message says why."""


class Fetched(NamedTuple):
    """An answer."""

    status: int
    body: bytes


class Fetch(Protocol):
    """Makes one HTTP request that is over soon. Raises FetchFailed."""

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Fetched: ...
