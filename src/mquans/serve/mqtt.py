"""State and events by MQTT, and Home Assistant's discovery of cameras.

PREFIX/status          online or offline, retained; the broker says offline if we cannot
PREFIX/CAMERA/state    once a second, never retained and never late
PREFIX/CAMERA/events   each at least once, with its time
PREFIX/CAMERA/enable/set   ON or OFF, from others
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from mquans.serve.camera import Camera
from mquans.serve.config import MqttOptions
from mquans.serve.happenings import Happenings
from mquans.serve.supervisor import Supervisor
from mquans.serve.tracking import Event
from mquans.serve.wire import Frame

KEEP_ALIVE_S = 10
RETRY_S = (1, 3)
STATE_EVERY_S = 1.0
MOST_WAITING = 1000
"""Events that wait for a broker that is away."""

DISCOVERY_WITHIN_S = 2.0
"""After a connection and after Home Assistant's birth message, at random: others answer as well."""

GOODBYE_S = 0.5

Show = Callable[[Camera], dict[str, Any]]


class Mqtt:
    """A connection to a broker, which comes and goes; cameras do not notice.

    Args:
        show: a camera's state as the HTTP interface gives it.
    """

    def __init__(
        self, supervisor: Supervisor, happenings: Happenings, options: MqttOptions, show: Show
    ) -> None:
        self._supervisor, self._options, self._show = supervisor, options, show
        self._status = f"{options.prefix}/status"
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.will_set(self._status, "offline", qos=1, retain=True)
        self._client.reconnect_delay_set(*RETRY_S)
        self._client.max_queued_messages_set(MOST_WAITING)
        if options.user:
            self._client.username_pw_set(options.user, options.password)
        if options.tls:
            self._client.tls_set()
        self._client.on_connect = self._connected
        self._client.on_message = self._heard
        happenings.listen(self._tell)
        supervisor.listen(self._follow)

    @property
    def connected(self) -> bool:
        return self._client.is_connected()

    def start(self) -> None:
        """Connects, now or once there is a broker."""
        self._loop = asyncio.get_running_loop()
        self._client.connect_async(self._options.host, self._options.port, KEEP_ALIVE_S)
        self._client.loop_start()
        self._stating = asyncio.create_task(self._state())

    def stop(self) -> None:
        """Says goodbye."""
        self._stating.cancel()
        if self.connected:
            with contextlib.suppress(ValueError, RuntimeError):
                said = self._client.publish(self._status, "offline", qos=1, retain=True)
                said.wait_for_publish(GOODBYE_S)
        self._client.disconnect()
        self._client.loop_stop()

    async def _state(self) -> None:
        while True:
            await asyncio.sleep(STATE_EVERY_S)
            # While the broker is away states would wait for it, and come when they are old.
            if self.connected:
                for camera in self._supervisor.cameras.values():
                    data = msgspec.json.encode(self._show(camera))
                    self._client.publish(f"{self._options.prefix}/{camera.name}/state", data)

    def _tell(self, event: Event) -> None:
        topic = f"{self._options.prefix}/{event.camera}/events"
        self._client.publish(topic, msgspec.json.encode(event), qos=1)

    def _connected(self, client: paho.Client, *_: Any) -> None:
        """On the thread of the connection."""
        client.publish(self._status, "online", qos=1, retain=True)
        client.subscribe(f"{self._options.prefix}/+/enable/set", qos=1)
        if self._options.discovery:
            client.subscribe(f"{self._options.discovery}/status", qos=1)
        self._loop.call_soon_threadsafe(self._discover_soon)

    def _heard(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        """On the thread of the connection."""
        said = message.payload.decode(errors="replace").strip()
        if message.topic == f"{self._options.discovery}/status":
            if said == "online":
                self._loop.call_soon_threadsafe(self._discover_soon)
        elif said in ("ON", "OFF"):
            name = message.topic.removesuffix("/enable/set").rpartition("/")[2]
            self._loop.call_soon_threadsafe(self._enable, name, said == "ON")

    def _enable(self, name: str, on: bool) -> None:
        if camera := self._supervisor.cameras.get(name):
            self._supervisor.enable(camera, on)

    def _discover_soon(self) -> None:
        self._loop.call_later(random.uniform(0, DISCOVERY_WITHIN_S), self._discover)

    def _discover(self) -> None:
        for camera in self._supervisor.cameras.values():
            self._offer(camera)

    def _follow(self, what: str, camera: Camera, _: Frame | None) -> None:
        """What a reload does to cameras."""
        if what in ("added", "changed"):
            self._offer(camera)
        elif what == "removed":
            self._offer(camera, gone=True)

    def _offer(self, camera: Camera, *, gone: bool = False) -> None:
        """A camera as a device, or that there is none; who comes later is told of all."""
        if self._options.discovery and self.connected:
            labels = self._supervisor.labels(camera)
            found = b"" if gone else msgspec.json.encode(discovery(self._options, camera, labels))
            topic = f"{self._options.discovery}/device/{_plain(self._options, camera)}/config"
            self._client.publish(topic, found, qos=1)


def discovery(options: MqttOptions, camera: Camera, labels: tuple[str, ...]) -> dict[str, Any]:
    """A camera as a device of Home Assistant: is it live, what is in front of it, how much is
    reused, and a switch."""
    ours = f"{options.prefix}/{camera.name}"
    known = _plain(options, camera)

    def part(kind: str, name: str, template: str, **more: Any) -> dict[str, Any]:
        key = f"{known}_{name.lower().replace(' ', '_')}"
        return {
            "platform": kind, "name": name, "unique_id": key, "state_topic": f"{ours}/state",
            "value_template": template, **more,
        }  # fmt: skip

    parts = {
        "live": part(
            "binary_sensor", "Live", "{{ 'ON' if value_json.state == 'live' else 'OFF' }}",
            device_class="connectivity",
        ),
        "reuse": part(
            "sensor", "Reuse", "{{ (100 * (value_json.reuse or 0)) | round }}",
            unit_of_measurement="%", state_class="measurement", entity_category="diagnostic",
        ),
        "fps": part(
            "sensor", "Frames per second", "{{ value_json.fps }}",
            state_class="measurement", entity_category="diagnostic",
        ),
        "enabled": part(
            "switch", "Enabled", "{{ 'ON' if value_json.enabled else 'OFF' }}",
            command_topic=f"{ours}/enable/set",
        ),
    }  # fmt: skip
    for label in labels:
        template = (
            f"{{{{ value_json.counts[{msgspec.json.encode(label).decode()}] | default(0) }}}}"
        )
        parts[f"count_{label}"] = part(
            "sensor", f"Count of {label}", template, state_class="measurement"
        )
    return {
        "device": {"identifiers": [known], "name": camera.name, "manufacturer": "mquans"},
        "origin": {"name": "mquans"},
        "availability_topic": f"{options.prefix}/status",
        "components": parts,
        "qos": 1,
    }


def _plain(options: MqttOptions, camera: Camera) -> str:
    """A name for topics of one level."""
    return f"{options.prefix.replace('/', '_')}_{camera.name}"
