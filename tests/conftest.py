"""Fixtures for all tests."""

from __future__ import annotations

import os

# Read when numpy is loaded, here and in the commands that tests start. Products are small, and
# threads that wait for the next one spin.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mquans.calibration.allocation import uniform_layers
from mquans.calibration.context import observe, open_context
from mquans.plan import Plan, Rule


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips and networks beside the repository; tests that need it are skipped
    where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the folder of real clips and networks is not here")
    return folder


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file: x [1, 3, 16, 16] -> conv `first` with ReLU -> depthwise conv `second` with ReLU
    -> conv `third` -> y [1, 4, 16, 16]."""
    rng = np.random.default_rng(1)
    weights = {
        "w1": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "w2": rng.normal(0, 0.3, (8, 1, 3, 3)),
        "w3": rng.normal(0, 0.3, (4, 8, 1, 1)),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w1"], ["a"], "first", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["a"], ["b"], "relu1"),
            helper.make_node("Conv", ["b", "w2"], ["c"], "second", pads=[1, 1, 1, 1], group=8),
            helper.make_node("Relu", ["c"], ["d"], "relu2"),
            helper.make_node("Conv", ["d", "w3"], ["y"], "third"),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 16, 16])],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def small_frames() -> npt.NDArray[np.float32]:
    """Twenty frames [20, 3, 16, 16] for `small_model`: a fixed scene in which a bright square
    moves."""
    rng = np.random.default_rng(2)
    frames = np.repeat(rng.normal(0, 1, (1, 3, 16, 16)), 20, axis=0).astype(np.float32)
    for index, frame in enumerate(frames):
        column = index % 12
        frame[:, 4:8, column : column + 4] += 2
    return frames


ValuePlan = Callable[..., Plan]


@pytest.fixture(scope="session")
def value_plan() -> ValuePlan:
    """Makes plans of one width under which all layers are updated value by value."""

    def make(model: Any, frames: Any, *, bits: int = 8, rule: Rule = "hold") -> Plan:
        context = open_context(model, frames)
        seen = observe(context, late=0.25, least=4, rules=())
        return context.plan(uniform_layers(context.graph, seen.ranges, bits=bits), rule)

    return make
