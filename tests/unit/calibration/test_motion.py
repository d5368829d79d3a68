"""A motion gate saves what noise costs, within the budget, and only where the clip tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import mquans
from mquans.calibration import calibrate_fully
from mquans.errors import MquansError

from .test_promises import frames, network

Clip = list[dict[str, Any]]


def clip(every: int = 8, spots: float = 0.01) -> Clip:
    """Pictures for the network over sites: a new one in every so-many-th frame, and a share of
    values that are others in every frame."""
    rng = np.random.default_rng(4)
    made = []
    for index in range(80):
        if index % every == 0:
            scene = rng.normal(size=(1, 3, 10, 12))
        spoilt = rng.random(scene.shape) < spots
        made.append({"x": np.where(spoilt, -scene, scene).astype(np.float32)})
    return made


def test_frames_in_which_little_moves_are_left_out() -> None:
    """Spots are as bright as what matters, so that the gates of sites let them through."""
    model, frames = network("sites"), clip()
    plain = calibrate_fully(model, frames, max_loss=0.4, stress=False)
    gated = calibrate_fully(model, frames, max_loss=0.4, stress=False, motion_gate=True)
    assert plain.plan.motion_gate == 0 < gated.plan.motion_gate
    assert gated.reached
    assert gated.measured.loss <= 0.2
    assert gated.measured.moving.macs_fraction < 0.5 * plain.measured.moving.macs_fraction
    computed = 0
    with mquans.Session(model, gated.plan).stream() as stream:
        for frame in frames:
            stream.step(frame)
            computed += stream.stats.macs_done > 0
    assert computed == 10


def test_a_clip_in_which_nothing_happens_gives_no_motion_gate() -> None:
    """It does not tell what must not be left out."""
    found = calibrate_fully(
        network("sites"), clip(every=100), max_loss=0.5, stress=False, motion_gate=True
    )
    assert found.frozen_loss < 0.5
    assert found.plan.motion_gate == 0


@pytest.mark.parametrize(
    ("kind", "how", "message"),
    [
        ("sites", {"bits": 8}, "chosen under a budget"),
        ("sites", {"max_loss": 0.1, "method": "uniform"}, "by the method criticality"),
        ("values", {"max_loss": 0.1}, "computed value by value"),
        ("vectors", {"max_loss": 0.1}, "no input of the network is a picture"),
    ],
)
def test_it_is_refused_where_it_would_do_nothing(
    kind: str, how: dict[str, Any], message: str
) -> None:
    if kind == "vectors":
        model, given = of_five_channels(), [{"x": np.zeros((1, 5, 8, 8), np.float32)}] * 40
    else:
        model, given = network(kind), frames(kind)
    with pytest.raises(MquansError, match=message):
        calibrate_fully(model, given, motion_gate=True, **how)


def of_five_channels() -> bytes:
    """Pixels of more than four channels are taken as they are compared."""
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "five",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 5, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones((2, 5, 3, 3), np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
