"""The HTTP interface: addresses, and what they answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from mquans.errors import MquansError
from mquans.serve.access import Access, read_body
from mquans.serve.camera import Camera, shown_history, shown_state
from mquans.serve.config import Config
from mquans.serve.happenings import Happenings
from mquans.serve.inference import Inference
from mquans.serve.measures import Measures
from mquans.serve.supervisor import Supervisor
from mquans.serve.viewing import Pictures, Viewing

LARGEST_BODY_BYTES = 1 << 16
KEEP_ALIVE_S = 15.0

STATIC = {
    "/": ("index.html", "text/html"),
    "/live.css": ("live.css", "text/css"),
    "/live.js": ("live.js", "text/javascript"),
    "/camera.js": ("camera.js", "text/javascript"),
    "/index.js": ("index.js", "text/javascript"),
}
"""Addresses of the page's files, which are read when the server starts: no address leads to any
other file."""

Handler = Callable[[Request], Awaitable[Response]]


class Interface:
    """What clients may ask for.

    Args:
        read: reads the file of cameras anew, where there is one.

    Attributes:
        inference: the Open Inference Protocol.
    """

    def __init__(
        self, supervisor: Supervisor, happenings: Happenings, read: Callable[[], Config] | None
    ) -> None:
        self._supervisor, self._happenings, self._read = supervisor, happenings, read
        self._viewing = Viewing(supervisor)
        self._measures = Measures(supervisor)
        self.inference = Inference(supervisor)

    def app(self) -> Starlette:
        """The application, behind the check of who may ask."""
        camera = "/api/cameras/{name}"
        routes = [
            *static_routes(),
            *self.inference.routes(),
            Route("/healthz", self._health),
            Route("/readyz", self._ready),
            Route("/metrics", self._metrics),
            Route("/api/cameras", self._cameras),
            Route(camera, self._of(self._camera)),
            Route(f"{camera}/snapshot.jpg", self._of(self._snapshot)),
            Route(f"{camera}/stream.mjpg", self._of(self._stream)),
            Route(f"{camera}/keyframe", self._of(self._keyframe), methods=["POST"]),
            Route(f"{camera}/enable", self._of(self._enable), methods=["POST"]),
            Route("/api/reload", self._reload, methods=["POST"]),
            Route("/api/events", self._events),
            WebSocketRoute("/ws/{camera}", self._viewing.socket),
        ]
        token = self._supervisor.config.server.token
        return Starlette(
            routes=routes,
            middleware=[Middleware(Access, token=token)],
            exception_handlers={HTTPException: _said},
        )

    def _of(self, handler: Callable[[Request, Camera], Awaitable[Response]]) -> Handler:
        """For a camera that is named in the address."""

        async def handle(request: Request) -> Response:
            camera = self._supervisor.cameras.get(request.path_params["name"])
            if camera is None:
                raise HTTPException(404, "there is no such camera.")
            return await handler(request, camera)

        return handle

    async def _health(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _ready(self, _: Request) -> Response:
        ready = self._supervisor.ready()
        return PlainTextResponse("ready\n" if ready else "not ready\n", 200 if ready else 503)

    async def _metrics(self, _: Request) -> Response:
        return Response(generate_latest(self._measures.registry), media_type=CONTENT_TYPE_LATEST)

    async def _cameras(self, _: Request) -> Response:
        cameras = [self.shown(camera) for camera in self._supervisor.cameras.values()]
        return _json({"cameras": cameras, "time": time.time()})

    async def _camera(self, _: Request, camera: Camera) -> Response:
        log = [{"time": at, "text": text} for at, text in camera.log]
        return _json(self.shown(camera) | {"history": shown_history(camera), "log": log})

    def shown(self, camera: Camera) -> dict[str, Any]:
        """A camera as JSON."""
        labels = self._supervisor.labels(camera)
        source = self._supervisor.config.shown_source(camera.options)
        tracker = self._happenings.trackers.get(camera.name)
        return shown_state(camera, labels, source) | {
            "counts": {} if tracker is None else tracker.counts(),
            "zones": {} if tracker is None else tracker.in_zones(),
            "lines": {} if tracker is None else tracker.crossings,
        }

    async def _snapshot(self, _: Request, camera: Camera) -> Response:
        return Response(await self._viewing.snapshot(camera), media_type="image/jpeg")

    async def _stream(self, _: Request, camera: Camera) -> Response:
        return Pictures(self._viewing, camera)

    async def _keyframe(self, _: Request, camera: Camera) -> Response:
        self._supervisor.keyframe(camera)
        return _json({"camera": camera.name})

    async def _enable(self, request: Request, camera: Camera) -> Response:
        body = await read_body(request, LARGEST_BODY_BYTES)
        try:
            wanted = msgspec.json.decode(body, type=dict[str, bool])["enabled"]
        except (msgspec.MsgspecError, KeyError, UnicodeDecodeError):
            raise HTTPException(422, 'the body must be {"enabled": true} or false.') from None
        self._supervisor.enable(camera, wanted)
        return _json(self.shown(camera))

    async def _reload(self, _: Request) -> Response:
        if self._read is None:
            raise HTTPException(409, "the server runs without a file.")
        try:
            return _json(await self._supervisor.reload(self._read()))
        except MquansError as error:
            raise HTTPException(422, self._supervisor.config.redact(str(error))) from None

    async def _events(self, _: Request) -> Response:
        return StreamingResponse(self._tell(), media_type="text/event-stream")

    async def _tell(self) -> AsyncIterator[bytes]:
        queue = self._happenings.subscribe()
        try:
            yield b": events of all cameras\n\n"
            while True:
                try:
                    data = await asyncio.wait_for(queue.get(), KEEP_ALIVE_S)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if data is None:
                    return
                yield b"data: " + data + b"\n\n"
        finally:
            self._happenings.unsubscribe(queue)


def static_routes() -> list[Route]:
    """The page, held in memory."""
    folder = files("mquans.serve") / "static"

    def route(path: str, name: str, kind: str) -> Route:
        content = (folder / name).read_bytes()

        async def show(_: Request) -> Response:
            return Response(content, media_type=kind)

        return Route(path, show)

    # The page of a camera is the same for all: its script looks at the address.
    pages = STATIC | {"/camera/{name}": ("camera.html", "text/html")}
    return [route(path, name, kind) for path, (name, kind) in pages.items()]


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


async def _said(_: Request, error: Exception) -> Response:
    """An error as JSON."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
