"""Who may speak to the server: tokens, and pages of other sites that a browser has open."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mquans.serve.config import is_loopback

OPEN_PATHS = frozenset(("/healthz", "/readyz"))
"""For whatever watches over processes; they tell nothing else."""

COOKIE = "mquans"
BODY_WITHIN_S = 30.0

PROTECTION = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Access:
    """Lets requests pass that show the token: as bearer, as the password that a browser asks for,
    or in the cookie that it gets then.

    Without a token, requests must be made to a name of this machine, or any page that a browser
    shows could reach the server through a name of its own; and nothing may be changed from pages of
    other sites.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token
        self._cookie = hmac.new(token.encode(), b"cookie", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        status, why = self._refusal(scope, headers)

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in PROTECTION.items():
                    answer.setdefault(name, value)
                if self._token and not status and scope["path"] not in OPEN_PATHS:
                    answer.append("Set-Cookie", self._set_cookie())
            await send(message)

        if not status:
            await self._app(scope, receive, protected)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4000 + status, "reason": why})
        else:
            asked = {"WWW-Authenticate": 'Basic realm="mquans", charset="UTF-8"'}
            answer = JSONResponse({"error": why}, status, headers=asked if status == 401 else None)
            await answer(scope, receive, protected)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str]:
        """Status and reason; 0 for who may pass."""
        if scope["path"] in OPEN_PATHS and scope["type"] == "http":
            return 0, ""
        if not self._token and not is_loopback(_host(headers.get("host", ""))):
            return 403, "without a token the server answers to names of this machine only."
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        origin = headers.get("origin")
        if changes and origin and urlsplit(origin).netloc != headers.get("host", ""):
            return 403, "pages of other sites may not use this server."
        if self._token and not self._shown(headers):
            return 401, "the token is missing or wrong."
        return 0, ""

    def _shown(self, headers: Headers) -> bool:
        kind, _, value = headers.get("authorization", "").partition(" ")
        match kind.lower():
            case "bearer":
                return _same(value.strip(), self._token)
            case "basic":
                return _same(_password(value), self._token)
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and _same(cookie.value, self._cookie)

    def _set_cookie(self) -> str:
        # Not the token itself; browsers do not send passwords with every kind of request.
        return f"{COOKIE}={self._cookie}; Path=/; HttpOnly; SameSite=Strict"


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The body of a request.

    Raises:
        HTTPException: it is too long (413), or does not come (408, 400).
    """
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for piece in request.stream():
                data += piece
                if len(data) > limit_bytes:
                    raise HTTPException(413, f"a request may have {limit_bytes} bytes here.")
    except TimeoutError:
        raise HTTPException(408, "the request did not come to its end.") from None
    except ClientDisconnect:
        raise HTTPException(400, "the client went away.") from None
    return bytes(data)


def _same(given: str, wanted: str) -> bool:
    """In a time that tells nothing of how much of it is right."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def _password(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _host(given: str) -> str:
    try:
        return urlsplit(f"//{given}").hostname or ""
    except ValueError:
        return ""
