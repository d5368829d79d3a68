"""A server from outside: what a user, a browser and an operator see of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from websockets.sync.client import connect

from ..mjpeg_camera import MjpegCamera
from ..spots import pictures, write_model, write_plan
from .conftest import Run, command, one_sentence
from .serving import Server, free_port, spots_config

Start = Callable[..., Server]


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, its plan, and a clip."""
    folder = tmp_path_factory.mktemp("spots")
    write_plan(write_model(folder / "spots.onnx"), folder / "spots.plan.json")
    (folder / "clip").mkdir()
    for number, picture in enumerate(pictures(40)):
        Image.fromarray(picture).save(folder / "clip" / f"{number:02}.png")
    return folder


@pytest.fixture
def config(spots: Path, tmp_path: Path) -> dict[str, Any]:
    found = spots_config(tmp_path, spots / "spots.onnx", spots / "spots.plan.json")
    found["cameras"]["clip"] = {"source": str(spots / "clip"), "loop": True}
    return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Server] = []

    def begin(config: dict[str, Any], *options: str) -> Server:
        running.append(Server(tmp_path, config, *options))
        return running[-1]

    yield begin
    for server in running:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def camera() -> Iterator[MjpegCamera]:
    """Is switched off."""
    camera = MjpegCamera()
    camera.switch_off()
    yield camera
    camera.switch_off()


@pytest.fixture(scope="module")
def server(
    spots: Path, camera: MjpegCamera, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """For tests that leave it running, with a clip and cameras that are not there."""
    folder = tmp_path_factory.mktemp("server")
    config = spots_config(folder, spots / "spots.onnx", spots / "spots.plan.json")
    config["defaults"]["fps"] = 10  # it runs beside other tests
    config["cameras"] = {
        "clip": {
            "source": str(spots / "clip"),
            "loop": True,
            "zones": {"right": [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]},
            "lines": {"middle": [[0.5, 1], [0.5, 0]]},
        },
        "gone": "rtsp://me:s3cret@127.0.0.1:9/sub",
        "door": camera.url,
    }
    server = Server(folder, config)
    server.until_ready()
    yield server
    server.process.kill()
    server.process.wait()


def test_cameras_are_shown(server: Server) -> None:
    server.until_frames("clip", 5)
    [clip, gone, _] = server.json("/api/cameras")["cameras"]
    assert clip["state"] == "live"
    assert clip["size"] == [96, 64]
    assert clip["boxes"][0]["label"] == "spot"
    server.until(lambda: server.camera("gone")["state"] == "retry")
    assert gone["source"] == "rtsp://***@127.0.0.1:9/sub"
    assert "s3cret" not in json.dumps(server.camera("gone")) + server.said()
    status, picture = server.request("/api/cameras/clip/snapshot.jpg")
    assert (status, picture[:2]) == (200, b"\xff\xd8")
    assert server.request("/api/cameras/gone/snapshot.jpg")[0] == 503
    assert server.request("/api/cameras/none")[0] == 404
    for path in ("/../pyproject.toml", "/static/index.html", "/%2e%2e/etc/passwd"):
        assert server.request(path)[0] == 404
    status, measures = server.request("/metrics")
    assert b'mquans_live{camera="gone"} 0.0' in measures
    assert b'mquans_latency_seconds_count{camera="clip"}' in measures
    before = server.camera("clip")["counters"]["keyframes"]
    server.json("/api/cameras/clip/keyframe", {})
    server.until(lambda: server.camera("clip")["counters"]["keyframes"] > before)


def test_pictures_come_with_what_was_found_one_by_one(server: Server) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/ws/clip") as socket:
        for _ in range(3):
            data = socket.recv(timeout=30)
            assert isinstance(data, bytes)
            [length] = struct.unpack("!I", data[:4])
            head = json.loads(data[4 : 4 + length])
            assert data[4 + length :].startswith(b"\xff\xd8")
            assert head["camera"] == "clip"
            assert head["heat"]["columns"] * head["heat"]["rows"] > 0
            with pytest.raises(TimeoutError):
                socket.recv(timeout=0.3)  # the next is sent when it is asked for
            socket.send("next")
    with urllib.request.urlopen(
        f"http://127.0.0.1:{server.port}/api/cameras/clip/stream.mjpg", timeout=30
    ) as stream:
        assert stream.read(9) == b"--frame\r\n"
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/api/events", timeout=30) as events:
        found = set()
        while not {"appeared", "left", "entered", "crossed"} <= found:
            line = events.readline()
            if line.startswith(b"data: "):
                found.add(json.loads(line[6:])["type"])
    clip = server.camera("clip")
    assert clip["lines"]["middle"]["forward"] > 0
    assert set(clip["zones"]) == {"right"}


def test_a_worker_that_dies_or_hangs_is_replaced(start: Start, config: Any) -> None:
    config["server"]["hang_s"] = 3
    server = start(config)
    server.until_ready()
    viewers = ExitStack()
    viewer = viewers.enter_context(connect(f"ws://127.0.0.1:{server.port}/ws/clip"))
    for number in (signal.SIGKILL, signal.SIGSTOP):
        server.until_frames("clip", 3)
        viewer.recv(timeout=30)
        epoch = server.camera("clip")["epoch"]
        worker = server.worker()
        os.kill(worker, number)
        server.until(lambda epoch=epoch: server.camera("clip")["epoch"] > epoch)
        server.until_frames("clip", 3)
        assert not Path(f"/proc/{worker}").exists()
        viewer.send("next")  # of before, perhaps
        viewer.recv(timeout=30)
        viewer.send("next")
    viewer.recv(timeout=30)
    viewers.close()
    assert server.camera("clip")["restarts"] >= 2
    assert server.stop() == 0


def test_workers_end_with_a_server_that_is_killed(start: Start, config: Any) -> None:
    server = start(config)
    server.until_ready()
    workers = server.workers()
    server.stop(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_camera_comes_and_goes_and_falls_silent(server: Server, camera: MjpegCamera) -> None:
    server.until(lambda: server.camera("door")["state"] == "retry")
    camera.switch_on()
    server.until_live("door")
    server.until_frames("door", 3)
    camera.silent.set()
    server.until(lambda: server.camera("door")["state"] == "stalled")
    server.until_frames("clip", 3)  # others go on
    camera.silent.clear()
    server.until_live("door")
    server.until_frames("door", 3)


def test_what_was_known_is_known_after_a_restart(start: Start, config: Any) -> None:
    config["cameras"]["clip"]["fps"] = 10
    server = start(config)
    server.until_ready()
    server.until_frames("clip", 3)
    assert server.request("/api/cameras/clip/enable", {"enabled": "no"})[0] == 422
    server.json("/api/cameras/clip/enable", {"enabled": False})
    assert server.camera("clip")["state"] == "disabled"
    before = server.camera("clip")
    assert server.stop() == 0
    again = start(config)
    again.until_ready()
    after = again.camera("clip")
    assert after["state"] == "disabled"
    assert after["counters"]["frames"] == before["counters"]["frames"]
    again.json("/api/cameras/clip/enable", {"enabled": True})
    again.until_frames("clip", 3)
    assert again.camera("clip")["epoch"] == before["epoch"] + 1


def test_a_drained_clip_goes_on(start: Start, config: Any) -> None:
    server = start(config)
    server.until_ready()
    server.until_frames("clip", 3)
    assert server.stop() == 0
    again = start(config)
    again.until_ready()
    again.until_frames("clip")
    assert any("goes on where" in line["text"] for line in again.camera("clip")["log"])


def test_reload_changes_what_has_changed_and_nothing_on_a_mistake(
    start: Start, config: Any, spots: Path, tmp_path: Path
) -> None:
    config["cameras"]["other"] = {"source": str(spots / "clip"), "loop": True}
    server = start(config)
    server.until_ready()
    server.until_frames("clip")
    epoch = server.camera("clip")["epoch"]
    for mistake in (
        {"cameras": {"clip": {"source": "x", "fsp": 1}}},
        {"models": {"spots": config["models"]["spots"] | {"plan": "/nowhere"}}},
        {"server": config["server"] | {"drain_s": 3}},
    ):
        server.write(config | mistake)
        status, why = server.request("/api/reload", {})
        assert status == 422, why
        assert json.loads(why)["error"]
    assert [each["epoch"] for each in server.json("/api/cameras")["cameras"]] == [epoch, epoch]
    clip = config["cameras"]["clip"]
    zones = {"all": [[0, 0], [1, 0], [1, 1], [0, 1]]}
    server.write(config | {"cameras": config["cameras"] | {"clip": clip | {"zones": zones}}})
    assert not any(server.json("/api/reload", {}).values())  # zones are no worker's business
    server.until(lambda: set(server.camera("clip")["zones"]) == {"all"})
    new = write_model(tmp_path / "new.onnx", sharp=0.9)
    plan = write_plan(new, tmp_path / "new.plan.json")
    config["models"]["new"] = config["models"]["spots"] | {"onnx": str(new), "plan": str(plan)}
    config["cameras"] = {
        "clip": config["cameras"]["clip"] | {"model": "new"},
        "third": {"source": str(spots / "clip"), "loop": True},
    }
    server.write(config)
    assert server.json("/api/reload", {}) == {
        "added": ["third"], "removed": ["other"], "restarted": [], "upgraded": ["clip"],
    }  # fmt: skip
    assert server.request("/api/cameras/other")[0] == 404
    server.until_frames("third")
    server.until(
        lambda: any("goes on with" in line["text"] for line in server.camera("clip")["log"])
    )
    assert server.camera("clip")["epoch"] == epoch  # it was never interrupted


def test_a_trial_can_be_taken_back(start: Start, config: Any, spots: Path, tmp_path: Path) -> None:
    """The camera went over to a model that the file no longer named."""
    new = write_model(tmp_path / "new.onnx", sharp=0.9)
    plan = write_plan(new, tmp_path / "new.plan.json")
    old = config["models"]["spots"]
    config["models"]["new"] = old | {"onnx": str(new), "plan": str(plan)}
    # Slow enough for a trial to go on while it is taken back.
    clip = config["cameras"]["clip"] = config["cameras"]["clip"] | {"fps": 8}

    def lines() -> list[str]:
        return [line["text"] for line in server.camera("clip")["log"]]

    server = start(config)
    server.until_ready()
    server.until_frames("clip")
    server.write(config | {"cameras": {"clip": clip | {"model": "new"}}})
    assert server.json("/api/reload", {})["upgraded"] == ["clip"]
    assert server.camera("clip")["model"] == "spots"  # until the trial ends
    server.write(config | {"cameras": {"clip": clip}})
    assert server.json("/api/reload", {})["upgraded"] == ["clip"]
    server.until(lambda: any("goes on with" in line for line in lines()))
    assert server.camera("clip")["model"] == "spots"
    assert server.json("/api/reload", {})["upgraded"] == []


def test_with_a_token_only_who_shows_it_sees_anything(start: Start, config: Any) -> None:
    config["server"]["token"] = "a-long-token"
    server = start(config)
    server.until_ready()
    for path in ("/", "/metrics", "/api/cameras", "/live.js"):
        assert server.request(path)[0] == 401
    shown = {"Authorization": "Bearer a-long-token"}
    assert server.request("/api/cameras", headers=shown)[0] == 200
    assert "a-long-token" not in server.said()


def test_a_server_that_is_stopped_does_not_wait_for_viewers(start: Start, config: Any) -> None:
    server = start(config)
    server.until_ready()
    address = f"127.0.0.1:{server.port}"
    with (
        connect(f"ws://{address}/ws/clip") as one,
        connect(f"ws://{address}/ws/clip") as two,
        urllib.request.urlopen(f"http://{address}/api/events", timeout=30),
    ):
        one.recv(timeout=30)
        two.recv(timeout=30)
        server.until(lambda: len(server.workers()) == 2)  # one stands by
        workers = server.workers()
        began = time.monotonic()
        assert server.stop() == 0
    assert time.monotonic() - began < 10
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_systemd_is_told_when_the_server_is_ready_lives_and_ends(
    start: Start, config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        server = start(config)
        assert systemd.recv(64) == b"READY=1"
        assert server.request("/readyz")[0] == 200
        assert [systemd.recv(64) for _ in range(3)] == 3 * [b"WATCHDOG=1"]
        server.process.send_signal(signal.SIGTERM)
        while (said := systemd.recv(64)) != b"STOPPING=1":
            assert said == b"WATCHDOG=1"
        assert server.stop() == 0


def test_mistakes_end_in_one_sentence(mquans: Run, config: Any, tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    assert "either" in one_sentence(mquans("serve"))
    file.write_text("models: {a: {onnx: a, plan: b}}\ncameras: {d: {source: x, modle: a}}\n")
    assert "line 2" in one_sentence(mquans("serve", file))
    file.write_text("models: {a: {onnx: a, plan: b}}\n")
    assert "token" in one_sentence(mquans("serve", file, "--bind", "[::]:1"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        file.write_text(f"models: {{a: {{onnx: a, plan: b}}}}\nserver: {{bind: '{bind}'}}\n")
        assert "cannot listen" in one_sentence(mquans("serve", file))
    file.write_text("models: {a: {onnx: a, plan: b}}\nserver: {bind: '127.0.0.1:0'}\n")
    assert "model a" in one_sentence(mquans("serve", file))


def test_the_dense_engine_gives_the_same_answers(start: Start, config: Any) -> None:
    server = start(config, "--engine", "onnxruntime")
    server.until_ready()
    server.until_frames("clip", 3)
    clip = server.camera("clip")
    assert clip["boxes"]
    assert clip["reuse"] == 0


def test_the_demo_shows_two_cameras(tmp_path: Path) -> None:
    port = free_port()
    bind = f"127.0.0.1:{port}"
    with subprocess.Popen([*command(), "serve", "--demo", "--bind", bind], cwd=tmp_path) as server:
        try:
            deadline = time.monotonic() + 120
            frames = 0
            while frames < 2:
                assert time.monotonic() < deadline
                assert server.poll() is None
                time.sleep(0.5)
                try:
                    with urllib.request.urlopen(f"http://{bind}/api/cameras") as answer:
                        cameras = json.load(answer)["cameras"]
                except OSError:
                    continue
                assert [camera["name"] for camera in cameras] == ["car", "bicycles"]
                frames = min(camera["counters"]["frames"] for camera in cameras)
        finally:
            server.terminate()
        assert server.wait(60) == 0
    assert not list(tmp_path.iterdir())


def test_packages_that_are_missing_are_named() -> None:
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "from mquans.cli import main; main(['serve', '--demo'])"
    )
    done = subprocess.run(
        [os.sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert 'pip install "mquans[serve]"' in done.stderr
