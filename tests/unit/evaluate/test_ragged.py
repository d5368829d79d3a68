"""Networks that find another number of things in every frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mquans
from mquans.errors import MquansError
from mquans.metrics.agreement import AgreementMeter
from mquans.onnx import read_model
from mquans.plan import Plan


def network(*outputs: str) -> bytes:
    """A convolution, of whose result NonZero lists the places above a threshold."""
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(0, 0.3, (2, 3, 3, 3)).astype(np.float32), "t": np.float32(0.3)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["y"], "conv"),
            helper.make_node("Greater", ["y", "t"], ["above"]),
            helper.make_node("NonZero", ["above"], ["places"]),
        ],
        "ragged",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 10])],
        [
            helper.make_tensor_value_info(
                name, TensorProto.INT64 if name == "places" else TensorProto.FLOAT, None
            )
            for name in outputs
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def frames() -> list[Any]:
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(0, 0.1, (24, 1, 3, 8, 10)), axis=0)
    return list(np.sin(walk).astype(np.float32))


def test_outputs_of_one_shape_speak_for_the_network() -> None:
    """The number of places says nothing that their values do not."""
    model = read_model(network("y", "places"))
    plan = mquans.calibrate(model, frames(), bits=10)
    result = mquans.compare(model, plan, frames())
    assert 0 < result.agreement["mquans"].loss_p95 < 0.01
    counts = {done.outputs["places"].shape[1] for done in mquans.replay(session(plan), frames())
              if done.outputs is not None}  # fmt: skip
    assert len(counts) > 3


def session(plan: Plan) -> mquans.Session:
    return mquans.Session(read_model(network("y", "places")), plan)


def test_nothing_to_compare_is_said() -> None:
    """Not a broadcast error from the depths of numpy, and no proof over nothing."""
    with pytest.raises(MquansError, match="no output has one shape in all frames"):
        mquans.calibrate(network("places"), frames(), bits=8)
    with pytest.raises(MquansError, match="no output has one shape"):
        mquans.inspect(network("places"), frames())
    meter = AgreementMeter(())
    meter.add({"places": np.zeros((4, 3))}, {"places": np.zeros((4, 2))})
    with pytest.raises(MquansError, match="no output has one shape"):
        meter.result()
