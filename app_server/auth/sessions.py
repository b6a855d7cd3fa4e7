"""The ChatGPT account that is signed in, as the sessions that clients list and switch between."""

import base64
import hashlib

from app_server.auth.credentials import Credentials
from protocol.jsonrpc import invalid_request
from protocol.v2.login import (
    AccountSession,
    AccountSessionsResponse,
    AccountSessionsSwitchParams,
    AccountSessionWorkspace,
)


def sessions_of(credentials: Credentials | None) -> AccountSessionsResponse:
    """One session, or none for an API key and for tokens that a client looks after."""
    if credentials is None or credentials.mode != "chatgpt":
        return AccountSessionsResponse(sessions=[])
    who = credentials.identity
    digest = hashlib.sha256(f"{who.user_id}\n{who.account_id}".encode()).digest()
    session_id = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    workspaces = [] if who.account_id is None else [AccountSessionWorkspace(account_id=who.account_id)]
    session = AccountSession(
        session_id=session_id,
        email=who.email,
        user_id=who.user_id,
        is_active=True,
        last_used_at=int(credentials.refreshed_at or 0),
        selected_workspace_account_id=who.account_id,
        workspaces=workspaces,
    )
    return AccountSessionsResponse(sessions=[session], active_session_id=session_id)


def check_switch(sessions: AccountSessionsResponse, params: AccountSessionsSwitchParams) -> None:
    """Raises -32600 for every session and workspace but the one that is in force."""
    if not sessions.sessions:
        raise invalid_request("Workspace switching requires a managed ChatGPT login")
    (session,) = sessions.sessions
    if params.session_id != session.session_id:
        raise invalid_request(f"no session has the id `{params.session_id}`; see accountSession/list")
    if params.account_id != session.selected_workspace_account_id:
        raise invalid_request(
            f"the session is signed in to workspace {session.selected_workspace_account_id}; "
            f"to work in {params.account_id}, sign in to it: account/login/start"
        )
