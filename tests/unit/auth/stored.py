"""What is compared of a sign-in that was read."""

from msgspec.structs import replace

from app_server.auth.credentials import Credentials


def known(read: Credentials | None) -> Credentials | None:
    """The sign-in without the document that it was read from."""
    return None if read is None else replace(read, document={})
