"""A service that signs people in, as far as a program that signs them in can tell, and the browser of such a person."""

import base64
import hashlib
import itertools
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import anyio
import orjson
from aiohttp import web

_numbers = itertools.count(1)


def token(*, email: str = "ada@example.org", plan: str = "pro", account: str = "acct-1", lives_s: float = 3600) -> str:
    """A JSON web token, unlike any other, whose signature nobody looks at."""
    claims = {
        "jti": next(_numbers),
        "email": email,
        "exp": int(time.time() + lives_s),
        "https://api.openai.com/auth": {
            "chatgpt_plan_type": plan,
            "chatgpt_account_id": account,
            "chatgpt_user_id": "user-1",
        },
    }
    return ".".join(_base64(part) for part in (b'{"alg":"none"}', orjson.dumps(claims), b"signature"))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class OAuthServer:
    """The service. `requests` holds the path and the body of each request, `granted` every secret that it gave out.

    `refusal` is a status and an error that the token endpoint answers with instead; `pending` counts how often a device
    is told to wait; `lives_s` is how long access tokens last; a `held` token request waits for the event.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.granted: list[str] = []
        self.reset()

    def reset(self) -> None:
        """Forget what was asked and what was to be answered, for the next test."""
        self.requests.clear()
        self.granted.clear()
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.pending = 0
        self.lives_s = 3600.0
        self.account = "acct-1"
        self.held: anyio.Event | None = None
        self._challenges: dict[str, tuple[str, str]] = {}
        self._valid_refresh: set[str] = set()
        self._changed = anyio.Event()

    @property
    def url(self) -> str:
        """The issuer."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What tells a daemon to sign in here."""
        return {"CODEX_APP_SERVER_LOGIN_ISSUER": self.url}

    def asked(self, path: str) -> list[dict[str, Any]]:
        """The bodies of the requests to this path."""
        return [body for asked, body in self.requests if asked == path]

    def signed_in(self, **claims: Any) -> dict[str, Any]:
        """The `tokens` of an auth.json of somebody who signed in here."""
        answer = self._grant(**claims)
        del answer["expires_in"]
        return answer | {"account_id": self.account, "oauth_provenance": {"issuer": self.url, "client_id": "app_x"}}

    async def wait_for(self, path: str, count: int = 1) -> None:
        """Until so many requests for this path have come."""
        while len(self.asked(path)) < count:
            await self._changed.wait()

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/oauth/token", self._token)
        application.router.add_post("/oauth/revoke", self._revoke)
        application.router.add_post("/api/accounts/deviceauth/usercode", self._user_code)
        application.router.add_post("/api/accounts/deviceauth/token", self._device)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    # What a person does

    def consent(self, auth_url: str) -> str:
        """Let the person sign in: where their browser is sent back to."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(auth_url).query).items()}
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        code = f"code-{next(_numbers)}-secret"
        self.granted.append(code)
        self._challenges[code] = query["code_challenge"], query["redirect_uri"]
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    # What the program asks

    async def _body(self, request: web.Request) -> dict[str, Any]:
        raw = await request.read()
        if request.content_type == "application/x-www-form-urlencoded":
            body = {name: values[0] for name, values in parse_qs(raw.decode()).items()}
        else:
            body = orjson.loads(raw)
        self.requests.append((request.path, body))
        self._changed.set()
        self._changed = anyio.Event()
        return body

    def _grant(self, **claims: Any) -> dict[str, Any]:
        named: dict[str, Any] = {"account": self.account, "lives_s": self.lives_s} | claims
        refresh = f"refresh-{next(_numbers)}-secret"
        answer: dict[str, Any] = {
            "id_token": token(**named),
            "access_token": token(**named),
            "refresh_token": refresh,
            "expires_in": int(self.lives_s),
        }
        self._valid_refresh.add(refresh)
        self.granted += [answer["id_token"], answer["access_token"], refresh]
        return answer

    async def _token(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        if self.held is not None:
            await self.held.wait()
        if self.refusal is not None:
            return web.json_response(self.refusal[1], status=self.refusal[0])
        if body["grant_type"] == "authorization_code":
            challenge, redirect_uri = self._challenges.pop(body["code"], ("", ""))
            proof = _base64(hashlib.sha256(body["code_verifier"].encode()).digest())
            if proof != challenge or body["redirect_uri"] != redirect_uri:
                return web.json_response({"error": {"code": "invalid_grant", "message": "no"}}, status=400)
        elif body["refresh_token"] not in self._valid_refresh:
            return web.json_response({"error": {"code": "refresh_token_reused", "message": "spent"}}, status=401)
        else:
            self._valid_refresh.remove(body["refresh_token"])
        return web.json_response(self._grant())

    async def _revoke(self, request: web.Request) -> web.Response:
        self._valid_refresh.discard((await self._body(request))["token"])
        return web.Response()

    async def _user_code(self, request: web.Request) -> web.Response:
        await self._body(request)
        return web.json_response({"device_auth_id": "device-secret", "user_code": "ABCD-1234", "interval": "0.1"})

    async def _device(self, request: web.Request) -> web.Response:
        await self._body(request)
        if self.pending > 0:
            self.pending -= 1
            return web.json_response({"error": "authorization_pending"}, status=403)
        verifier, code = "v" * 43, f"code-{next(_numbers)}-secret"
        challenge = _base64(hashlib.sha256(verifier.encode()).digest())
        self._challenges[code] = challenge, f"{self.url}/deviceauth/callback"
        return web.json_response({"authorization_code": code, "code_challenge": challenge, "code_verifier": verifier})


async def browse(url: str) -> tuple[int, str]:
    """Open a page: its status and text."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()
