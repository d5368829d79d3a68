"""A small sound plan, and the network it fits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mquans.graph.graph import Graph, Node, ValueType
from mquans.graph.operators import Conv, Linear, Reshape, Unary
from mquans.plan import InputFormat, LayerPlan, Plan, Provenance

MODEL_SHA256 = "ab" * 32


@pytest.fixture
def plan() -> Plan:
    return make_plan()


@pytest.fixture(scope="session")
def plan_factory() -> Callable[[], Plan]:
    """The same plan for hypothesis, which makes many examples within one test."""
    return make_plan


def make_plan() -> Plan:
    return Plan(
        model="faces.onnx",
        model_sha256=MODEL_SHA256,
        input_shapes={"image": (1, 3, 4, 6)},
        input=InputFormat(
            name="image", width=6, height=4, resize="letterbox", color="bgr", scale=1 / 255,
            mean=(0.5, 0.25, 0.125), std=(0.5,),
        ),
        rule="hold",
        grid_bits=12,
        layers=(
            LayerPlan(name="conv", delta=0.0078125, bits=(8, 7, 6), weight_bits=16),
            LayerPlan(name="dense", delta=0.1, bits=8),
        ),
        provenance=Provenance(
            mquans="0.1.0", sources=("clip.mp4",), frames=64, created="2024-01-02T03:04:05Z"
        ),
    )  # fmt: skip


@pytest.fixture
def graph() -> Graph:
    """A network of two layers that the plan fits."""
    shapes = {
        "image": (1, 3, 4, 6), "w": (2, 3, 1, 1), "c": (1, 2, 4, 6), "f": (1, 48),
        "v": (48, 5), "y": (1, 5),
    }  # fmt: skip
    return Graph(
        name="faces",
        inputs=("image",),
        outputs=("y",),
        nodes=[
            Node("conv", Conv((1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1, Unary("relu")),
                 ("image", "w", ""), ("c",)),
            Node("flat", Reshape((1, 48)), ("c",), ("f",)),
            Node("dense", Linear(), ("f", "v", ""), ("y",)),
        ],
        constants={"w": np.zeros((2, 3, 1, 1), np.float32), "v": np.zeros((48, 5), np.float32)},
        types={name: ValueType(shape) for name, shape in shapes.items()},
    )  # fmt: skip
