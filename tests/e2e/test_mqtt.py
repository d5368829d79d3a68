"""A broker that comes and goes."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from PIL import Image

from ..spots import pictures, write_model, write_plan
from .serving import Server, free_port, spots_config

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
if MOSQUITTO is None:
    pytest.skip("mosquitto is not installed", allow_module_level=True)


class Broker:
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._file = folder / "mosquitto.conf"
        self._file.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Listener:
    """Hears everything."""

    def __init__(self, port: int) -> None:
        self.heard: list[paho.MQTTMessage] = []
        self.subscribed = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda _, __, message: self.heard.append(message)
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.reconnect_delay_set(1, 1)
        self.client.connect_async("127.0.0.1", port)
        self.client.loop_start()

    def of(self, topic: str) -> list[paho.MQTTMessage]:
        return [message for message in list(self.heard) if message.topic == topic]

    def until(self, what: Callable[[], object], within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not what():
            assert time.monotonic() < deadline, {message.topic for message in self.heard}
            time.sleep(0.02)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    listener = Listener(broker.port)
    assert listener.subscribed.wait(30)
    yield listener
    listener.stop()


@pytest.fixture
def config(tmp_path: Path, broker: Broker) -> dict[str, Any]:
    model = write_model(tmp_path / "spots.onnx")
    plan = write_plan(model, tmp_path / "spots.plan.json")
    (tmp_path / "clip").mkdir()
    for number, picture in enumerate(pictures(40)):
        Image.fromarray(picture).save(tmp_path / "clip" / f"{number:02}.png")
    config = spots_config(tmp_path, model, plan)
    config["cameras"]["clip"] = {"source": str(tmp_path / "clip"), "loop": True}
    config["mqtt"] = {"host": "127.0.0.1", "port": broker.port, "discovery": "homeassistant"}
    return config


@pytest.fixture
def server(tmp_path: Path, config: dict[str, Any], listener: Listener) -> Iterator[Server]:
    # Devices are told of once: who listens is there first.
    server = Server(tmp_path, config)
    yield server
    server.process.kill()
    server.process.wait()


def test_home_assistant_finds_and_operates_cameras(
    server: Server, listener: Listener, config: dict[str, Any]
) -> None:
    topic = "homeassistant/device/mquans_clip/config"
    listener.until(lambda: listener.of(topic))
    listener.until(lambda: listener.of("mquans/clip/events"))
    event = listener.of("mquans/clip/events")[0]
    assert (event.qos, event.retain) == (1, False)
    assert json.loads(event.payload)["type"] == "appeared"
    assert abs(json.loads(event.payload)["time"] - time.time()) < 60

    def live() -> bool:
        states = listener.of("mquans/clip/state")
        assert not any(state.qos or state.retain for state in states)
        return any(json.loads(state.payload)["state"] == "live" for state in states)

    listener.until(live)
    seen = len(listener.of(topic))
    listener.client.publish("homeassistant/status", "online", qos=1)
    listener.until(lambda: len(listener.of(topic)) > seen)
    # What a reload adds and removes it is told of at once.
    seen = len(listener.of(topic))
    server.write(config | {"cameras": {"other": config["cameras"]["clip"]}})
    server.json("/api/reload", {})
    listener.until(lambda: listener.of("homeassistant/device/mquans_other/config"))
    listener.until(lambda: len(listener.of(topic)) > seen)
    assert listener.of(topic)[-1].payload == b""
    listener.client.publish("mquans/other/enable/set", "OFF", qos=1)
    server.until(lambda: server.camera("other")["state"] == "disabled")
    assert server.stop() == 0
    listener.until(lambda: listener.of("mquans/status")[-1].payload == b"offline")


def test_a_server_that_is_killed_is_offline(server: Server, listener: Listener) -> None:
    listener.until(lambda: listener.of("mquans/status"))
    server.process.kill()
    listener.until(lambda: listener.of("mquans/status")[-1].payload == b"offline")


def test_a_broker_that_is_away_costs_no_frame(
    server: Server, broker: Broker, listener: Listener
) -> None:
    listener.until(lambda: listener.of("mquans/clip/state"))
    broker.stop()
    server.until_frames("clip", 20)
    assert server.camera("clip")["counters"]["dropped"] == 0
    listener.heard.clear()
    time.sleep(1.5)  # a second in which a state would have been sent
    back = time.time()
    broker.start()
    listener.until(lambda: listener.of("mquans/status"), 30)
    assert listener.of("mquans/status")[-1].payload == b"online"
    listener.until(lambda: listener.of("mquans/clip/state"))
    states = [json.loads(message.payload) for message in listener.of("mquans/clip/state")]
    assert min(state["time"] for state in states) > back - 0.5
