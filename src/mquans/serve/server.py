"""The whole server: from a configuration to the end by a signal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator

import uvicorn

from mquans.errors import MquansError
from mquans.files import reason
from mquans.serve.app import Interface
from mquans.serve.cluster import Cluster, RayCluster
from mquans.serve.config import Config, ServerOptions
from mquans.serve.happenings import Happenings
from mquans.serve.mqtt import Mqtt
from mquans.serve.planning import Planned, plan_config
from mquans.serve.supervisor import Supervisor
from mquans.serve.systemd import Systemd
from mquans.serve.wire import EngineName

MOST_CONNECTIONS = 512
LARGEST_HEADER_BYTES = 1 << 15
LARGEST_ACKNOWLEDGEMENT_BYTES = 4096
GOODBYE_S = 1


def serve(
    config: Config, *, engine: EngineName = "mquans", read: Callable[[], Config] | None = None
) -> None:
    """Runs cameras until SIGTERM or SIGINT.

    Args:
        engine: `onnxruntime` computes every frame whole, to compare with.
        read: reads the file of cameras anew, for `/api/reload`.

    Raises:
        MquansError: the configuration cannot be run, or the address is taken.
    """
    with _listening(config.server) as listening:
        planned = plan_config(config, engine)
        cluster = None
        if config.scale is not None:
            wanted = config.server.workers
            cluster = RayCluster(config.scale.address, None if wanted == "auto" else wanted)
        asyncio.run(_Running(planned, cluster, read).run(listening))


class _Running:
    """Supervisor, HTTP interface and MQTT on one event loop."""

    def __init__(
        self, planned: Planned, cluster: Cluster | None, read: Callable[[], Config] | None
    ) -> None:
        supervisor = self._supervisor = Supervisor(planned, cluster)
        self._happenings = Happenings(supervisor)
        self._interface = Interface(supervisor, self._happenings, read)
        options = supervisor.config.mqtt
        self._mqtt = (
            None
            if options is None
            else Mqtt(supervisor, self._happenings, options, self._interface.shown)
        )
        self._systemd = Systemd()
        self._ending = asyncio.Event()

    async def run(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        await self._supervisor.start()
        if self._mqtt is not None:
            self._mqtt.start()
        http = _Http(
            uvicorn.Config(
                self._interface.app(),
                log_level="warning",
                access_log=False,
                lifespan="off",
                server_header=False,
                limit_concurrency=MOST_CONNECTIONS,
                h11_max_incomplete_event_size=LARGEST_HEADER_BYTES,
                ws_max_size=LARGEST_ACKNOWLEDGEMENT_BYTES,
                ws_per_message_deflate=False,  # pictures are compressed
                timeout_graceful_shutdown=GOODBYE_S,
            )
        )
        serving = asyncio.create_task(http.serve([listening]))
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"mquans serves http://{shown}:{port}/", file=sys.stderr, flush=True)  # noqa: T201
        ending = asyncio.create_task(self._ending.wait())
        sweeping = asyncio.create_task(self._interface.inference.sweep())
        attending = asyncio.create_task(self._systemd.attend(self._supervisor.ready))
        await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        self._systemd.stopping()
        sweeping.cancel()
        self._happenings.end()
        await self._supervisor.stop()
        if self._mqtt is not None:
            self._mqtt.stop()
        http.should_exit = True
        await serving
        attending.cancel()


class _Http(uvicorn.Server):
    """Leaves signals to who runs it: the cameras come first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def _listening(options: ServerOptions) -> Iterator[socket.socket]:
    """The socket: whether the address is free is known before networks are read."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise MquansError(
            f"cannot listen there: {reason(error)}",
            where=options.bind,
            hint="Is another server running? Give another address with bind.",
        ) from None
    with listening:
        yield listening
