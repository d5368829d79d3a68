"""If these break, strangers see cameras: from other machines, or through a browser."""

from __future__ import annotations

import base64
import time

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from mquans.serve import access
from mquans.serve.access import Access, read_body

TOKEN = "a-long-token"


async def answer(request: Request) -> Response:
    if request.method == "POST":
        return PlainTextResponse(str(len(await read_body(request, 10))))
    return PlainTextResponse("seen")


async def pictures(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("seen")
    await websocket.close()


def client(token: str, base: str = "http://127.0.0.1:8600") -> TestClient:
    routes = [
        Route("/", answer, methods=["GET", "POST"]),
        Route("/healthz", answer),
        WebSocketRoute("/ws", pictures),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Access, token=token)])
    return TestClient(app, base_url=base)


def basic(password: str) -> dict[str, str]:
    value = base64.b64encode(f"anyone:{password}".encode()).decode()
    return {"Authorization": f"Basic {value}"}


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {TOKEN}"}, basic(TOKEN)])
def test_who_shows_the_token_may_pass(headers: dict[str, str]) -> None:
    assert client(TOKEN, "http://10.0.0.9").get("/", headers=headers).text == "seen"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer ähnlich".encode()},
        {"Authorization": "Basic !!!"},
        basic(""),
        {"Cookie": f"mquans={TOKEN}"},
        {"Cookie": "mquans="},
    ],
)
def test_others_may_not(headers: dict[str, str]) -> None:
    found = client(TOKEN).get("/", headers=headers)
    assert found.status_code == 401
    assert found.headers["WWW-Authenticate"].startswith("Basic")
    assert "Set-Cookie" not in found.headers
    assert TOKEN not in found.text


def test_a_browser_shows_its_cookie_afterwards() -> None:
    """Passwords are not sent along with every WebSocket."""
    browser = client(TOKEN)
    browser.get("/", headers=basic(TOKEN))
    assert TOKEN not in str(browser.cookies)
    assert browser.get("/").text == "seen"
    with browser.websocket_connect("ws://127.0.0.1:8600/ws") as socket:
        assert socket.receive_text() == "seen"


def test_without_the_token_there_is_no_websocket() -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        client(TOKEN).websocket_connect("ws://127.0.0.1:8600/ws"),
    ):
        pass


def test_pages_of_other_sites_change_nothing() -> None:
    mine, other = {"Origin": "http://127.0.0.1:8600"}, {"Origin": "http://evil.example"}
    assert client("").post("/", headers=mine).status_code == 200
    assert client("").post("/", headers=other).status_code == 403
    with (
        pytest.raises(WebSocketDisconnect),
        client("").websocket_connect("ws://127.0.0.1:8600/ws", headers=other),
    ):
        pass


def test_without_a_token_names_of_other_machines_are_refused() -> None:
    """A name that leads to 127.0.0.1 gives every page in a browser a way here."""
    assert client("", "http://evil.example").get("/").status_code == 403
    assert client("", "http://localhost:8600").get("/").status_code == 200
    assert client("", "http://[::1]:8600").get("/").status_code == 200


def test_health_needs_no_token() -> None:
    assert client(TOKEN, "http://10.0.0.9").get("/healthz").status_code == 200


def test_a_body_may_not_be_long() -> None:
    assert client("").post("/", content=b"x" * 10).text == "10"
    assert client("").post("/", content=b"x" * 11).status_code == 413


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from starlette.exceptions import HTTPException

    monkeypatch.setattr(access, "BODY_WITHIN_S", 0.05)

    async def never() -> dict[str, object]:
        await asyncio.sleep(60)
        return {}

    began = time.monotonic()
    request = Request({"type": "http", "method": "POST", "headers": []}, never)
    with pytest.raises(HTTPException) as caught:
        asyncio.run(read_body(request, 10))
    assert caught.value.status_code == 408
    assert time.monotonic() - began < 30


def test_browsers_are_told_to_keep_to_this_server() -> None:
    headers = client("").get("/").headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
