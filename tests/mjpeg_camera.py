"""A camera that sends MJPEG by HTTP on this machine, and can be switched off and on again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
from PIL import Image

INTERVAL_S = 0.02


class MjpegCamera:
    """Sends a bar that moves, to whoever asks.

    Attributes:
        silent: sends nothing, but stays connected.
    """

    def __init__(self) -> None:
        self.silent = threading.Event()
        self._off = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.switch_on()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/stream"

    def switch_on(self) -> None:
        """On the port that it had before."""
        self._off.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def switch_off(self) -> None:
        """Breaks all connections off and takes no new ones."""
        self._off.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _pictures(self) -> Iterator[bytes]:
        number = 0
        while not self._off.wait(INTERVAL_S):
            if self.silent.is_set():
                time.sleep(INTERVAL_S)
                continue
            picture = np.full((32, 48, 3), 60, np.uint8)
            picture[:, number % 40 : number % 40 + 8] = 220
            file = BytesIO()
            Image.fromarray(picture).save(file, "jpeg")
            yield file.getvalue()
            number += 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    for data in camera._pictures():
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}"
                        self.wfile.write(head.encode() + b"\r\n\r\n" + data + b"\r\n")
                except OSError:
                    pass  # whoever watched went away

            def log_message(self, *_: object) -> None:
                pass

        return Handler
