"""The reference names everything that users meet: options, fields of plans, keys of JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import typer

import mquans
from mquans.cli.commands import app
from mquans.evaluate import run_clip
from mquans.plan.schema import GatePlan, TensorPlan
from mquans.serve.camera import Camera, shown_state
from mquans.serve.config import (
    CameraOptions,
    GuardOptions,
    ModelOptions,
    MqttOptions,
    ScaleOptions,
    ServerOptions,
)
from mquans.serve.measuring import Measured
from mquans.serve.states import Record

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = (DOCS / "reference/cli.md").read_text()
PREPARATION = (DOCS / "guide/sources.md").read_text() + (DOCS / "guide/speech.md").read_text()
PLAN = (DOCS / "reference/plan-format.md").read_text()

Frames = npt.NDArray[np.float32]


GROUP: Any = typer.main.get_command(app)


@pytest.mark.parametrize("command", GROUP.list_commands(None))
def test_every_option_is_documented(command: str) -> None:
    options = [(*option.opts, *option.secondary_opts) for option in GROUP.commands[command].params]
    text = COMMANDS + PREPARATION
    missing = [
        names
        for names in options
        if names[0].startswith("-") and not any(re.search(rf"{name}\b", text) for name in names)
    ]
    assert not missing


@pytest.mark.parametrize(
    "part",
    [
        mquans.Plan, mquans.InputFormat, mquans.AudioFormat, mquans.LayerPlan, mquans.Provenance,
        TensorPlan, GatePlan,
    ],
)  # fmt: skip
def test_every_field_of_a_plan_is_documented(part: type[msgspec.Struct]) -> None:
    fields = [field.encode_name for field in msgspec.structs.fields(part)]
    missing = [name for name in fields if not re.search(rf'[`".]{name}[`"]', PLAN)]
    assert not missing


def keys(value: Any, free: frozenset[str]) -> Iterator[str]:
    """Keys of a JSON object; those below `free` are names or numbers of the user's."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from keys(each, free)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield key
            inner = each.values() if key in free and isinstance(each, dict) else [each]
            for one in inner:
                yield from keys(one, free)


FREE = frozenset({"bits", "uniform", "methods", "time_ms", "speedup", "seconds", "layers"})


def test_every_key_of_json_is_documented(small_model: Path, small_frames: Frames) -> None:
    clip = np.concatenate([small_frames] * 2)[:, None]
    result = mquans.calibration.calibrate_fully(small_model, clip, max_loss=0.05)
    session = mquans.Session(small_model, result.plan)
    guard = mquans.Guard(session, budget=1e-9, every=5)
    found = {
        "inspect": mquans.inspect(small_model, clip).as_dict(),
        "calibrate": result.as_dict(),
        "run": run_clip(session, clip, guard=guard).as_dict(),
        "compare": mquans.compare(small_model, result.plan, clip).as_dict(),
        "verify": mquans.verify(small_model, result.plan, clip).as_dict(),
    }
    for command, value in found.items():
        section = re.search(rf"^\*\*{command}\*\*(.*?)(?=^\*\*|^## )", COMMANDS, re.M | re.S)
        assert section is not None
        missing = {key for key in value if f"`{key}`" not in section[1]}
        # What several commands have is described once.
        missing |= {key for key in keys(value, FREE) if f"`{key}`" not in COMMANDS}
        assert not missing, command


def test_every_key_of_a_file_of_cameras_is_documented() -> None:
    guide = (DOCS / "guide/serving.md").read_text()
    for part in (
        ServerOptions,
        ModelOptions,
        CameraOptions,
        GuardOptions,
        MqttOptions,
        ScaleOptions,
    ):
        fields = [field.encode_name for field in msgspec.structs.fields(part)]
        missing = [name for name in fields if not re.search(rf"[`{{ ]{name}[`:]", guide)]
        assert not missing, part


def test_every_key_of_a_camera_is_documented() -> None:
    guide = (DOCS / "guide/serving.md").read_text()
    model = cast(Measured, None)
    camera = Camera("door", CameraOptions(source="x", model="m"), model, Record(0))
    shown = shown_state(camera, (), "x")
    assert {key for key in (*shown, *camera.counters) if f"`{key}`" not in guide} == set()
