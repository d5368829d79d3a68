"""If these break, Home Assistant does not find cameras, or shows what is no longer so."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mquans.serve.camera import Camera
from mquans.serve.config import CameraOptions, MqttOptions
from mquans.serve.measuring import Measured
from mquans.serve.mqtt import discovery
from mquans.serve.states import Record


def test_a_camera_is_a_device_with_all_it_has(measured: Measured) -> None:
    options = MqttOptions(host="h", prefix="home/mquans", discovery="homeassistant")
    camera = Camera("door", CameraOptions(source="x", model="spots"), measured, Record(0))
    found = discovery(options, camera, ("cat", 'a "dog"'))
    assert found["availability_topic"] == "home/mquans/status"
    assert found["device"]["identifiers"] == ["home_mquans_door"]
    parts = found["components"]
    assert {part["platform"] for part in parts.values()} == {"binary_sensor", "sensor", "switch"}
    assert parts["enabled"]["command_topic"] == "home/mquans/door/enable/set"
    assert parts["count_cat"]["value_template"] == '{{ value_json.counts["cat"] | default(0) }}'
    assert all(part["state_topic"] == "home/mquans/door/state" for part in parts.values())
    assert len({part["unique_id"] for part in parts.values()}) == len(parts)
    json.dumps(found)


def test_the_guide_names_the_entities_of_a_camera(measured: Measured) -> None:
    """Automations that are copied from it find them."""
    guide = (Path(__file__).parents[3] / "docs/guide/deploying.md").read_text()
    camera = Camera("door", CameraOptions(source="x", model="spots"), measured, Record(0))
    found = discovery(MqttOptions(host="h", discovery="homeassistant"), camera, ("face",))
    made = {
        f"{part['platform']}.{found['device']['name']}_{part['name'].lower().replace(' ', '_')}"
        for part in found["components"].values()
    }
    assert set(re.findall(r"^\| `(\w+\.\w+)` \|", guide, re.MULTILINE)) == made
    assert set(re.findall(r"\b(?:binary_sensor|sensor|switch)\.\w+", guide)) == made
