"""What configuration says about signing in: where credentials are kept, and which ways in are open."""

from msgspec import Struct

from app_server.config.table import TableReader

CREDENTIAL_STORES = ("file", "keyring", "auto", "ephemeral")
CHATGPT_URL = "https://chatgpt.com/backend-api"


class AccountSettings(Struct, frozen=True):
    """How to sign in to OpenAI.

    `credentials_store` is "file" (auth.json in $CODEX_HOME), "keyring" (that of the system), "auto" (the keyring where
    there is one, else the file) or "ephemeral" (forgotten with the daemon). `forced_method` of "api" or "chatgpt"
    leaves only that way in; of ChatGPT accounts only those of `workspaces` are taken, if any are named.
    """

    credentials_store: str = "file"
    forced_method: str | None = None
    workspaces: tuple[str, ...] = ()
    chatgpt_url: str = CHATGPT_URL
    """Where requests go that a ChatGPT account pays for, without a slash at the end."""


DEFAULT_ACCOUNT = AccountSettings()


def read_account(reader: TableReader) -> AccountSettings:
    """`cli_auth_credentials_store`, `forced_login_method`, `forced_chatgpt_workspace_id` and `chatgpt_base_url`."""
    only: str | tuple[str, ...] | None = reader.raw("forced_chatgpt_workspace_id")
    if isinstance(only, str):
        only = (only,) if only.strip() else ()
    elif only is not None:
        only = reader.texts("forced_chatgpt_workspace_id", decisive=True)
    url = reader.text("chatgpt_base_url", decisive=True)
    if url is not None and not url.startswith(("http://", "https://")):
        reader.problem("chatgpt_base_url", f"it must begin with http:// or https://, got `{url}`", decisive=True)
        url = None
    return AccountSettings(
        reader.choice("cli_auth_credentials_store", CREDENTIAL_STORES, decisive=True) or "file",
        reader.choice("forced_login_method", ("api", "chatgpt"), decisive=True),
        only or (),
        (url or CHATGPT_URL).rstrip("/"),
    )
