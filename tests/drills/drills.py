"""What a server must survive, each with its figure. A drill returns what it saw and whether that is
good enough."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import struct
import subprocess
import time
from contextlib import ExitStack, closing, suppress
from itertools import pairwise
from json import loads

from websockets.sync.client import connect

import mquans
from mquans import InputFormat, open_source
from mquans.serve.states import take_state

from ..e2e.ray_nodes import ray_nodes
from ..e2e.serving import Server
from ..e2e.test_mqtt import Broker, Listener
from ..mjpeg_camera import MjpegCamera
from .scene import FPS, PERIOD_S, Scene, Watch, descriptors, resident_mb, settled

PIXELS = InputFormat(name="x", width=320, height=240)

Outcome = tuple[str, bool]


def worker_killed(scene: Scene) -> Outcome:
    """kill -9 of a worker, 20 times: back within 3 s, others' gap at most 2 periods, no orphans."""
    scene.start_cameras()
    back, gap, orphans = [], 0.0, 0
    with scene.serving() as server:
        watch = Watch(server)
        for turn in range(20):
            cameras = server.json("/api/cameras")["cameras"]
            mine = [each["name"] for each in cameras if each["worker"] == turn % 2]
            others = [each["name"] for each in cameras if each["worker"] != turn % 2]
            pid = server.worker(turn % 2)
            began, began_s = time.time(), time.monotonic()
            os.kill(pid, signal.SIGKILL)
            server.until(lambda mine=mine, at=began: all_later(watch, mine, at + 0.2))
            back.append(time.monotonic() - began_s)
            gap = max(gap, watch.worst_gap_s(others, began - 1))
            orphans += len(server.workers()) > 3  # one stands by
            time.sleep(3.2)  # an end within three seconds is taken for a bad start
        watch.end()
    said = (
        f"back within {max(back):.2f} s (median {statistics.median(back):.2f} s), "
        f"others' gap {gap / PERIOD_S:.2f} periods, {orphans} left"
    )
    return said, max(back) <= 3 and gap <= 2 * PERIOD_S and not orphans


def worker_stopped(scene: Scene) -> Outcome:
    """SIGSTOP of a worker: replaced within 8 s."""
    scene.start_cameras()
    with scene.serving() as server:
        watch = Watch(server)
        began, began_s = time.time(), time.monotonic()
        os.kill(server.worker(0), signal.SIGSTOP)
        names = [c["name"] for c in server.json("/api/cameras")["cameras"] if c["worker"] == 0]
        server.until(lambda: all_later(watch, names, began + 0.5))
        took_s = time.monotonic() - began_s
        watch.end()
    return f"frames again after {took_s:.1f} s", took_s <= 8


def camera_stalled(scene: Scene) -> Outcome:
    """A camera stalls for 20 s: marked within 6 s, live within 31 s after; others unaffected."""
    scene.start_cameras()
    with scene.serving() as server:
        watch = Watch(server)
        began = time.time()
        scene.cameras["c0"].send(signal.SIGSTOP)
        marked_s = server.until(lambda: server.camera("c0")["state"] != "live")
        time.sleep(max(0.0, 20 - (time.time() - began)))
        scene.cameras["c0"].send(signal.SIGCONT)
        back_s = server.until(lambda: server.camera("c0")["state"] == "live")
        gap = watch.worst_gap_s(["c1", "c2", "c3"], began)
        watch.end()
    said = f"marked after {marked_s:.1f} s, live {back_s:.1f} s after, others' gap {gap:.2f} s"
    return said, marked_s <= 6 and back_s <= 31 and gap <= 2 * PERIOD_S


def camera_absent(scene: Scene) -> Outcome:
    """A camera is absent at the start for 40 s: live within 31 s after it appears."""
    scene.start_cameras()
    scene.cameras["c0"].end()
    with scene.serving(None, "c1", "c2", "c3") as server:
        time.sleep(40)
        scene.cameras["c0"].start()
        back_s = server.until(lambda: server.camera("c0")["state"] == "live")
    return f"live {back_s:.1f} s after it appeared", back_s <= 31


def kinds_of_cameras(scene: Scene) -> Outcome:
    """H.264, also with B frames, H.265 and MJPEG, with sound and without: the first picture is
    whole and there within 5 s, of
    which an encoder with B frames takes two to begin."""
    camera = scene.cameras["c0"]
    camera.start()
    time.sleep(1)
    took = {}
    for kind in ("sub", "long", "h265", "mjpeg"):
        for name in (kind, f"{kind}-sound"):
            began_s = time.monotonic()
            with closing(open_source(camera.url.replace("sub", name), PIXELS)) as source:
                source.advance()
                whole = source.picture().shape == (240, 320, 3)
            took[name] = time.monotonic() - began_s if whole else float("inf")
    said = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items())
    return said, max(took.values()) <= 5


def reconnects(scene: Scene) -> Outcome:
    """100 reconnects: RSS +5 % at most, descriptors constant."""
    camera = MjpegCamera()
    config = scene.config(workers=1)
    config["cameras"] = {"door": {"source": camera.url, "retry_s": [0.05, 0.2]}}

    def once() -> None:
        before = server.camera("door")["counters"]["connects"]
        camera.switch_off()
        server.until(lambda: server.camera("door")["state"] == "retry")
        camera.switch_on()
        server.until(
            lambda: (
                server.camera("door")["state"] == "live"
                and server.camera("door")["counters"]["connects"] > before
            )
        )

    with scene.serving(config) as server:
        pid = server.worker(0)
        for _ in range(10):
            once()
        before, files = settled(lambda: resident_mb(pid), 3), descriptors(pid)
        for _ in range(100):
            once()
        after, files_after = settled(lambda: resident_mb(pid), 3), descriptors(pid)
    camera.switch_off()
    grown = after / before - 1
    said = (
        f"RSS {before:.0f} -> {after:.0f} MB ({grown:+.1%}), descriptors {files} -> {files_after}"
    )
    return said, grown <= 0.05 and files_after <= files


def node_lost(scene: Scene) -> Outcome:
    """One of two nodes of a cluster is lost: its cameras are elsewhere within 10 s, and never are
    frames of two owners accepted."""
    scene.start_cameras()
    with ray_nodes() as nodes:
        lost = nodes.add(cpus=1)
        nodes.add(cpus=1)
        config = scene.config(workers="auto") | {"scale": {"address": nodes.address}}
        with scene.serving(config) as server:
            watch = Watch(server)
            time.sleep(3)
            before = {c["name"]: c for c in server.json("/api/cameras")["cameras"]}
            began, began_s = time.time(), time.monotonic()
            nodes.lose(lost)
            server.until(lambda: all_later(watch, list(before), began + 0.5) and one_worker(server))
            moved_at = time.time()
            server.until(lambda: all_later(watch, list(before), moved_at))
            took_s = time.monotonic() - began_s
            time.sleep(5)
            after = {c["name"]: c for c in server.json("/api/cameras")["cameras"]}
            watch.end()
    moved = [name for name in before if after[name]["worker"] != before[name]["worker"]]
    backwards = sum(
        late < early for seen in watch.epochs.values() for early, late in pairwise(seen)
    )
    again = [name for name in moved if after[name]["epoch"] == before[name]["epoch"]]
    said = f"{len(moved)} cameras elsewhere after {took_s:.1f} s, {backwards} older epochs accepted"
    return said, bool(moved) and took_s <= 10 and not backwards and not again


def one_worker(server: Server) -> bool:
    return len({camera["worker"] for camera in server.json("/api/cameras")["cameras"]}) == 1


def broker_down(scene: Scene) -> Outcome:
    """The broker is down for 60 s: no frame lost, online within 5 s after, no stale state."""
    scene.start_cameras()
    broker = Broker(scene.folder)
    broker.start()
    config = scene.config() | {"mqtt": {"host": "127.0.0.1", "port": broker.port}}
    with scene.serving(config) as server:
        listener = Listener(broker.port)
        listener.until(lambda: listener.of("mquans/status"))
        watch, began = Watch(server), time.time()
        broker.stop()
        time.sleep(60)
        listener.heard.clear()
        back = time.time()
        broker.start()
        listener.until(lambda: listener.of("mquans/status"))
        online_s = time.time() - back
        listener.until(lambda: listener.of("mquans/c0/state"))
        oldest = min(loads(message.payload)["time"] for message in listener.of("mquans/c0/state"))
        gap = watch.worst_gap_s(list(scene.cameras), began)
        dropped = sum(server.camera(name)["counters"]["dropped"] for name in scene.cameras)
        watch.end()
        listener.stop()
    broker.stop()
    said = (
        f"{dropped} frames dropped, longest gap {gap:.2f} s, online after {online_s:.1f} s, "
        f"oldest state {back - oldest:+.1f} s before"
    )
    good = not dropped and gap <= 2 * PERIOD_S and online_s <= 5 and oldest > back - 1
    return said, good


def disk_full(scene: Scene) -> Outcome:
    """The disk is full: inference goes on, the old state is intact, a metric says so."""
    scene.start_cameras()
    disk = scene.folder / "disk"
    disk.mkdir()
    size = ("-t", "tmpfs", "-o", "size=256k", "none", str(disk))
    if subprocess.run(["mount", *size], capture_output=True).returncode:
        return "cannot be tried here: mount is not allowed", True
    try:
        with scene.serving(scene.config(state_dir=str(disk))) as server:
            server.until(lambda: (disk / "c0.json").exists())
            with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(b"\0" * 4096)
            before = loads((disk / "c0.json").read_bytes())
            frames = server.frames("c0")
            time.sleep(5)
            went_on = server.frames("c0") - frames
            counted_s = server.until(lambda: write_errors(server))
            intact = loads((disk / "c0.json").read_bytes())["epoch"] == before["epoch"]
            code = server.stop()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    said = (
        f"{went_on} frames in 5 s, record intact: {intact}, counted {counted_s:.0f} s later, "
        f"exit code {code}"
    )
    return said, went_on >= 4 * FPS and intact and code == 0


def write_errors(server: Server) -> bool:
    return b"mquans_state_write_errors_total 0.0" not in server.request("/metrics")[1]


def state_damaged(scene: Scene) -> Outcome:
    """A saved state is damaged: refused, and the camera is fresh within 1 s."""
    camera = MjpegCamera()
    config = scene.config() | {"cameras": {"door": camera.url}}
    with scene.serving(config) as server:
        server.until_frames("door", 5)
        server.stop()
    file = scene.folder / "state" / "door.stream"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with scene.serving(config) as server:
        log = server.camera("door")["log"]
        [refused] = [line["time"] for line in log if "begins anew" in line["text"]]
        fresh = next(line["time"] for line in log if line["text"] == "live")
    camera.switch_off()
    return f"fresh {fresh - refused:.2f} s after it was refused", fresh - refused <= 1


def stopped_with_viewers(scene: Scene) -> Outcome:
    """SIGTERM with three viewers: exit code 0 within 10 s."""
    scene.start_cameras()
    with scene.serving() as server, ExitStack() as viewers:
        for name in ("c0", "c1", "c2"):
            address = f"ws://127.0.0.1:{server.port}/ws/{name}"
            viewers.enter_context(connect(address)).recv(timeout=30)
        began = time.monotonic()
        code = server.stop()
        took_s = time.monotonic() - began
    return f"exit code {code} after {took_s:.1f} s", code == 0 and took_s <= 10


def slow_viewers(scene: Scene) -> Outcome:
    """Viewers that read nothing for 40 s: RSS flat, frame rate down by 2 % at most."""
    scene.start_cameras()
    with scene.serving() as server, ExitStack() as viewers:
        pid = server.process.pid

        def rate(seconds: float) -> float:
            before = sum(server.frames(name) for name in scene.cameras)
            began = time.monotonic()
            time.sleep(seconds)
            after = sum(server.frames(name) for name in scene.cameras)
            return (after - before) / (time.monotonic() - began)

        free = rate(30)
        before = settled(lambda: resident_mb(pid), 5)
        for name in scene.cameras:
            viewers.enter_context(connect(f"ws://127.0.0.1:{server.port}/ws/{name}"))
            sock = viewers.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            ask = f"GET /api/cameras/{name}/stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            sock.sendall(ask.encode())
        watched = rate(40)
        after = settled(lambda: resident_mb(pid), 5)
    loss = 1 - watched / free
    said = (
        f"RSS {before:.1f} -> {after:.1f} MB, {free:.2f} -> {watched:.2f} frames/s ({-loss:+.1%})"
    )
    return said, after - before < 10 and loss <= 0.02


def latency(scene: Scene) -> Outcome:
    """Frame to WebSocket with four cameras: median under 50 ms, p99 under 150 ms."""
    scene.start_cameras()
    ages: list[float] = []
    with scene.serving() as server, ExitStack() as stack:
        sockets = [
            stack.enter_context(connect(f"ws://127.0.0.1:{server.port}/ws/{name}"))
            for name in scene.cameras
        ]
        for _ in range(100):
            for one in sockets:
                data = one.recv(timeout=30)
                assert isinstance(data, bytes)
                [length] = struct.unpack("!I", data[:4])
                ages.append(loads(data[4 : 4 + length])["age_ms"])
                one.send("next")
    median, p99 = statistics.median(ages), statistics.quantiles(ages, n=100)[98]
    return f"median {median:.1f} ms, p99 {p99:.1f} ms", median < 50 and p99 < 150


def soak(scene: Scene, minutes: float = 30) -> Outcome:
    """Half an hour: growth under 1 MB a minute, and the law holds for what every stream held."""
    scene.start_cameras()
    with scene.serving() as server:
        time.sleep(60)

        def memory() -> float:
            return resident_mb(server.process.pid, *server.workers())

        before, began = settled(memory), time.monotonic()
        time.sleep(60 * minutes)
        grown = (settled(memory) - before) / ((time.monotonic() - began) / 60)
        replaced = sum(server.camera(name)["restarts"] for name in scene.cameras)
        server.stop()
    session = mquans.Session(scene.model, scene.plan)
    broken = 0
    for name in scene.cameras:
        state, _ = take_state(str(scene.folder / "state" / f"{name}.stream"))
        with session.restore(state) as stream:
            broken += stream.check() is not None
    said = f"{grown:+.2f} MB a minute, {broken} laws broken, {replaced} restarts of cameras"
    return said, grown < 1 and not broken


def all_later(watch: Watch, names: list[str], at: float) -> bool:
    """Has every one of these cameras had a frame since?"""
    return all(watch.frames.get(name, [0.0])[-1] > at for name in names)
