"""Preparations by name, and what a model says about its own."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import mquans
from mquans.cli.options import PresetName
from mquans.errors import SourceError
from mquans.sources import SourceWarning, prepare
from mquans.sources.presets import PRESETS, preset_of


def network(**metadata: str) -> bytes:
    weight = numpy_helper.from_array(np.ones((1, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    return bytes(model.SerializeToString())


def pictures() -> list[Any]:
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 256, (24, 8, 12, 3), np.uint8))


def test_the_command_offers_every_preset() -> None:
    """One that is documented and cannot be given would be a lie."""
    assert {name.value for name in PresetName} == set(PRESETS)


@pytest.mark.parametrize(
    ("name", "black", "white"),
    [
        ("pixels", 0.0, 255.0),
        ("unit", 0.0, 1.0),
        ("signed", -1.0, 1.0),
        ("imagenet", -2.1179, 2.2489),
        ("caffe", -103.939, 151.061),
        ("yolo", 0.0, 1.0),
        ("yolox", 0.0, 255.0),
    ],
)
def test_presets_give_the_values_networks_were_trained_on(
    name: str, black: float, white: float
) -> None:
    """A wrong one gives a network that sees nothing and says nothing about it."""
    format = mquans.guess_format("x", [1, 3, 4, 4], preset=name)
    for level, expected in ((0, black), (255, white)):
        tensor = prepare(np.full((4, 4, 3), level, np.uint8), format)
        assert float(tensor[0, 0].mean()) == pytest.approx(expected, abs=1e-3)


def test_what_is_given_wins_over_a_preset() -> None:
    """Colour order differs between exports of one family."""
    format = mquans.guess_format("x", [1, 3, 4, 4], preset="yolo", color="bgr")
    assert (format.color, format.resize) == ("bgr", "letterbox")
    with pytest.raises(SourceError, match=r"no preset 'yolo9'.*yolox"):
        mquans.guess_format("x", [1, 3, 4, 4], preset="yolo9")


def test_detectors_of_ultralytics_say_how_they_are_fed() -> None:
    """Without, they are fed 0 to 255 and find nothing."""
    assert preset_of({"author": "Ultralytics", "task": "classify"}) is None
    model = network(author="Ultralytics", task="detect")
    with warnings.catch_warnings():
        warnings.simplefilter("error", SourceWarning)
        plan = mquans.calibrate(model, pictures(), bits=8)
    assert plan.input is not None
    assert (plan.input.scale, plan.input.resize) == (1 / 255, "letterbox")


@pytest.mark.parametrize(
    ("given", "warned"),
    [({}, True), ({"color": "bgr"}, True), ({"preset": "pixels"}, False), ({"scale": 1.0}, False)],
)
def test_values_that_nobody_spoke_of_are_warned_about(given: Any, warned: bool) -> None:
    """Most networks take 0 to 1; a plan for 0 to 255 is useless and looks like any other."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mquans.calibrate(network(), pictures(), bits=8, input=given)
    assert any("0 to 255" in str(warning.message) for warning in caught) == warned
