"""Files in deploy/ and the guide to them: what they start exists, and is given what it needs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mquans.serve.config import Config, ServerOptions
from mquans.serve.config_file import parse_config
from mquans.serve.supervisor import DRAIN_SPARE_S

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONTAINER = (DEPLOY / "Containerfile").read_text()
UNIT = (DEPLOY / "mquans.service").read_text()
GUIDE = (ROOT / "docs/guide/deploying.md").read_text()
STATE = "/var/lib/mquans"


@pytest.fixture
def services() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def example(environment: dict[str, str]) -> Config:
    """The guide's file of cameras."""
    [text] = re.findall(r"^```yaml\n(server:.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    return parse_config(text, environment)


def test_the_container_is_built_of_files_that_exist() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINER, re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert {"src", "native", "studies", "pyproject.toml"} <= set(names)
    assert all((ROOT / name).exists() for name in names)


def test_the_container_listens_where_it_is_asked() -> None:
    [command] = re.findall(r"^CMD (\[.*\])$", CONTAINER, re.MULTILINE)
    bind = json.loads(command)[-1]
    port = ServerOptions().port
    assert bind == f"0.0.0.0:{port}"
    assert f"\nEXPOSE {port}\n" in CONTAINER
    assert f"'127.0.0.1', {port}" in CONTAINER
    example({"MQUANS_TOKEN": 16 * "x", "MQTT_PASSWORD": "yyy", "CAMERA_PASSWORD": "zzz"}).bound(
        bind
    )


def test_the_guides_cameras_find_what_the_compose_file_gives(services: Any) -> None:
    server, broker = services["mquans"], services["mosquitto"]
    config = example(dict.fromkeys(server["environment"], "a-long-secret"))
    assert config.mqtt is not None
    assert config.mqtt.host == "mosquitto"
    assert config.mqtt.password == "a-long-secret"
    assert f"'{config.mqtt.user}:%s" in broker["command"][-1]
    assert f"state:{config.server.state_dir}" in server["volumes"]
    assert config.server.state_dir == STATE
    assert f"-d -o mquans {STATE}" in CONTAINER
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source in ("state", "./config") or (DEPLOY / source).exists()


def test_the_time_to_stop_suffices_to_save_streams(services: Any) -> None:
    drain_s = ServerOptions().drain_s + DRAIN_SPARE_S
    [unit_s] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert int(unit_s) > drain_s
    assert int(services["mquans"]["stop_grace_period"].removesuffix("s")) > drain_s


def test_the_unit_starts_a_command_that_exists() -> None:
    [line] = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    assert shlex.split(line)[:2] == ["/opt/mquans/bin/mquans", "serve"]
    assert f"StateDirectory={Path(STATE).name}\n" in UNIT


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    (tmp_path / "mquans").touch(mode=0o755)
    unit = tmp_path / "mquans.service"
    unit.write_text(UNIT.replace("/opt/mquans/bin", str(tmp_path)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True
    )
    assert not [line for line in done.stderr.splitlines() if "mquans" in line], done.stderr
    assert done.returncode == 0
