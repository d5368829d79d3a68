"""Live pictures: a WebSocket whose client asks for each next one, MJPEG, and single ones."""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from mquans.serve.camera import Camera, Viewer, shown_boxes
from mquans.serve.supervisor import Supervisor
from mquans.serve.wire import Frame

ACKNOWLEDGED_WITHIN_S = 30.0
SNAPSHOT_WITHIN_S = 5.0
BOUNDARY = "frame"

TRY_LATER, NO_SUCH_CAMERA = 1013, 4404


class Viewing:
    """Viewers of all cameras, so many at once as the file allows."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.count = 0

    @asynccontextmanager
    async def viewer(self, camera: Camera) -> AsyncIterator[Viewer]:
        """Raises:
        HTTPException: there are too many.
        """
        viewer = self.enter(camera)
        try:
            yield viewer
        finally:
            self.leave(camera, viewer)

    def enter(self, camera: Camera) -> Viewer:
        """Another viewer, who has to `leave`.

        Raises:
            HTTPException: there are too many.
        """
        most = self._supervisor.config.server.viewers
        if self.count >= most:
            raise HTTPException(503, f"{most} pictures are watched already.")
        self.count += 1
        return self._supervisor.watch(camera)

    def leave(self, camera: Camera, viewer: Viewer) -> None:
        """A viewer sees no more."""
        self.count -= 1
        self._supervisor.unwatch(camera, viewer)

    async def snapshot(self, camera: Camera) -> bytes:
        """The next picture.

        Raises:
            HTTPException: none comes in time.
        """
        async with self.viewer(camera) as viewer:
            try:
                frame = await asyncio.wait_for(viewer.frame(), SNAPSHOT_WITHIN_S)
            except TimeoutError:
                frame = None
        if frame is None or frame.jpeg is None:
            raise HTTPException(503, f"the camera gave no picture: it is {camera.state}.")
        return frame.jpeg

    async def socket(self, websocket: WebSocket) -> None:
        """Messages of four bytes, the length of the JSON in network order, the JSON, and the
        picture as JPEG. The next one, the newest then, follows any text of the client's."""
        camera = self._supervisor.cameras.get(websocket.path_params["camera"])
        await websocket.accept()
        if camera is None:
            await websocket.close(NO_SUCH_CAMERA, "there is no such camera.")
            return
        try:
            async with self.viewer(camera) as viewer:
                await self._show(websocket, camera, viewer)
        except HTTPException as error:
            await websocket.close(TRY_LATER, error.detail)

    async def _show(self, websocket: WebSocket, camera: Camera, viewer: Viewer) -> None:
        viewer.asked.set()

        async def listen() -> None:
            try:
                while True:
                    await websocket.receive_text()
                    viewer.asked.set()
            except (WebSocketDisconnect, RuntimeError, KeyError):  # bytes are no acknowledgement
                viewer.end()

        listening = asyncio.create_task(listen())
        try:
            while True:
                await asyncio.wait_for(viewer.asked.wait(), ACKNOWLEDGED_WITHIN_S)
                frame = await viewer.frame()
                if frame is None:
                    break
                viewer.asked.clear()
                await websocket.send_bytes(self._message(camera, frame))
            await websocket.close()
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            pass  # a client that is gone, or asks for nothing more
        finally:
            listening.cancel()

    def _message(self, camera: Camera, frame: Frame) -> bytes:
        labels = self._supervisor.labels(camera)
        head = msgspec.json.encode(shown_frame(frame, labels))
        return struct.pack("!I", len(head)) + head + (frame.jpeg or b"")


class Pictures(StreamingResponse):
    """Pictures as parts of a multipart answer, for whatever shows cameras.

    Raises:
        HTTPException: there are too many viewers.
    """

    def __init__(self, viewing: Viewing, camera: Camera) -> None:
        self._viewing, self._camera = viewing, camera
        self._viewer = viewing.enter(camera)
        super().__init__(
            self._parts(), media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._viewing.leave(self._camera, self._viewer)

    async def _parts(self) -> AsyncIterator[bytes]:
        while (frame := await self._viewer.frame()) is not None:
            if frame.jpeg is not None:
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(frame.jpeg)}"
                yield f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + frame.jpeg + b"\r\n"


def shown_frame(frame: Frame, labels: tuple[str, ...]) -> dict[str, Any]:
    """What goes with a picture, as JSON."""
    heat = frame.heat
    return {
        "camera": frame.camera,
        "boxes": shown_boxes(frame, labels),
        "values": frame.values,
        "reuse": round(frame.reuse, 4),
        "step_ms": round(frame.step_ms, 2),
        "latency_ms": round((frame.done_s - frame.taken_s) * 1e3, 2),
        # Of the picture when it leaves for the viewer.
        "age_ms": round((time.monotonic() - frame.taken_s) * 1e3, 2),
        "keyframe": frame.keyframe,
        "heat": None
        if heat is None
        else {
            "columns": heat.columns,
            "rows": heat.rows,
            "data": base64.b64encode(heat.data).decode(),
        },
        "layers": frame.layers,
    }
