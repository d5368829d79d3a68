"""The process that steps the streams of some cameras: one thread that steps, one that listens, one
that loads networks, and one per camera that reads it.

A camera that fails harms no other: its errors are counted and told of, and its stream begins anew.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection

from mquans.errors import MquansError
from mquans.serve.engines import Network
from mquans.serve.sequences import Sequences
from mquans.serve.watched import Watched
from mquans.serve.wire import (
    Add,
    Beat,
    CameraJob,
    Drain,
    Forget,
    FromWorker,
    Infer,
    Keyframe,
    ModelJob,
    Remove,
    Told,
    ToWorker,
    Upgrade,
    Upgraded,
    Watch,
    decode_order,
    encode,
)

BEAT_S = 0.5
IDLE_S = 0.1
"""How long the stepping thread waits for a frame before it looks after other things."""

TIDY_S = 20.0
"""Between two times that memory which frames have left is given back."""

LOAD_RETRY_S = 10.0
"""Before a network that could not be loaded is tried again."""


class Worker:
    """Follows the orders of a supervisor until it says `Drain` or goes away."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._wake = threading.Event()
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._loads: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._networks: dict[tuple[str, str, str], Network] = {}
        self._cameras: dict[str, Watched] = {}
        self._epochs: dict[str, int] = {}
        # Also before their cameras are there, whose networks may have yet to load.
        self._viewed: set[str] = set()
        self._sequences = Sequences()
        self._drain_until_s: float | None = None

    def run(self) -> None:
        """Steps streams, on this thread, until there is nothing more to do."""
        threading.Thread(target=self._listen, name="orders", daemon=True).start()
        threading.Thread(target=self._load, name="loader", daemon=True).start()
        gc.freeze()
        beat_s, tidied_s = 0.0, time.monotonic()
        while self._drain_until_s is None:
            now_s = time.monotonic()
            if now_s - beat_s >= BEAT_S:
                beat_s = now_s
                self.send(Beat())
                for camera in self._cameras.values():
                    camera.look(now_s)
            self._wake.clear()
            while not self._todo.empty():
                self._todo.get()()
            waiting = self._longest_waiting()
            if waiting is None:
                self._wake.wait(IDLE_S)
            else:
                waiting.step()
            if now_s - tidied_s >= TIDY_S:
                tidied_s = now_s
                tidy()
        for camera in self._cameras.values():
            self.send(camera.drain(self._drain_until_s))

    def send(self, message: FromWorker) -> None:
        """From any thread. Without a supervisor there is nothing left to do."""
        data = encode(message)
        try:
            with self._sending:
                self._connection.send_bytes(data)
        except OSError:
            os._exit(0)

    def _longest_waiting(self) -> Watched | None:
        waiting = [
            (since, name)
            for name, camera in self._cameras.items()
            if (since := camera.waiting_since()) is not None
        ]
        return self._cameras[min(waiting)[1]] if waiting else None

    def _listen(self) -> None:
        while True:
            try:
                order = decode_order(self._connection.recv_bytes())
            except (EOFError, OSError):
                os._exit(0)
            self._obey(order)
            self._wake.set()

    def _load(self) -> None:
        while True:
            self._loads.get()()
            self._wake.set()

    def _obey(self, order: ToWorker) -> None:
        """Hands an order to the thread that it is for."""
        do = self._todo.put
        match order:
            case Add(job):
                if job.epoch < self._epochs.get(job.name, 0):
                    return
                self._epochs[job.name] = job.epoch
                self._loads.put(lambda: self._prepare(job))
            case Remove(name):
                self._epochs.pop(name, None)
                do(lambda: self._remove(name))
            case Upgrade():
                self._loads.put(lambda: self._upgrade(order))
            case Watch(name, on):
                do(lambda: self._watch(name, on))
            case Keyframe(name):
                do(lambda: self._with(name, lambda camera: camera.ask_keyframe()))
            case Infer():
                self._loads.put(lambda: self._answer(order))
            case Forget(sequence):
                do(lambda: self._sequences.forget(sequence))
            case Drain(within_s):
                until_s = time.monotonic() + within_s
                do(lambda: self._drain(until_s))

    def _with(self, name: str, do: Callable[[Watched], None]) -> None:
        if name in self._cameras:
            do(self._cameras[name])

    def _watch(self, name: str, on: bool) -> None:
        (self._viewed.add if on else self._viewed.discard)(name)
        self._with(name, lambda camera: camera.watch(on))

    def _drain(self, until_s: float) -> None:
        self._drain_until_s = until_s

    def _prepare(self, job: CameraJob) -> None:
        """On the loading thread: reads the network, then has the camera added."""
        if self._epochs.get(job.name) != job.epoch:
            return
        try:
            network = self._network(job.model)
        except Exception as error:
            self.send(Told(job.name, job.epoch, "retry", _said(error), LOAD_RETRY_S))
            again = partial(self._loads.put, partial(self._prepare, job))
            timer = threading.Timer(LOAD_RETRY_S, again)
            timer.daemon = True
            timer.start()
            return
        self._todo.put(lambda: self._add(job, network))

    def _add(self, job: CameraJob, network: Network) -> None:
        if self._epochs.get(job.name) == job.epoch:
            self._remove(job.name)
            camera = Watched(job, network, send=self.send, wake=self._wake.set)
            camera.watch(job.name in self._viewed)
            self._cameras[job.name] = camera

    def _remove(self, name: str) -> None:
        camera = self._cameras.pop(name, None)
        if camera is not None:
            camera.close()
        self._forget_networks()

    def _upgrade(self, order: Upgrade) -> None:
        try:
            network = self._network(order.model)
        except Exception as error:
            self.send(Upgraded(order.camera, order.epoch, order.model.key, _said(error)))
            return
        self._todo.put(
            lambda: self._with(order.camera, lambda camera: camera.try_out(order.model, network))
        )

    def _answer(self, order: Infer) -> None:
        try:
            network = self._network(order.model)
        except Exception as error:
            self.send(self._sequences.failure(order, 500, _said(error)))
            return
        self._todo.put(lambda: self.send(self._sequences.infer(order, network)))

    def _network(self, model: ModelJob) -> Network:
        if model.key not in self._networks:
            self._networks[model.key] = Network(model)
            gc.freeze()  # what stays is not to be looked through for what has gone
        return self._networks[model.key]

    def _forget_networks(self) -> None:
        """Those that neither a camera nor a sequence uses."""
        used = {key for camera in self._cameras.values() for key in camera.keys}
        used |= self._sequences.keys
        for key in [key for key in self._networks if key not in used]:
            del self._networks[key]


def tidy() -> None:
    """Gives memory back. Decoded frames are large, and some lie in cycles, which Python collects
    by the number of objects, not by their size; glibc keeps what is free between others."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, MquansError) else f"{type(error).__name__}: {error}."


def main(arguments: list[str]) -> None:
    """Runs a worker on an inherited socket, whose number is the only argument."""
    # The supervisor is stopped, and stops its workers; signals reach all of a terminal or unit.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(KeyboardInterrupt):
        Worker(Connection(int(arguments[0]))).run()
    # Threads of cameras may wait for data, which nobody wants any more.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
