"""Which axis of an output its channels lie along."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mquans.graph import Graph
from mquans.metrics.agreement import AgreementMeter
from mquans.metrics.scored import scored_axes
from mquans.onnx import import_model, read_model


def test_classes_of_a_step_are_channels_whatever_comes_behind_their_layer() -> None:
    """Of [1, steps, classes] the steps counted as channels where they were fewer; the distance
    between classes, which never changes, then made every error small."""
    rng = np.random.default_rng(0)

    def graph(*behind: str) -> Graph:
        make, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
        attributes = {"Transpose": {"perm": [0, 2, 1]}, "LogSoftmax": {"axis": -1}}
        nodes = [make("MatMul", ["x", "w"], ["v0"]), make("Add", ["v0", "b"], ["v1"])]
        for index, kind in enumerate(behind, 1):
            nodes.append(make(kind, [f"v{index}"], [f"v{index + 1}"], **attributes.get(kind, {})))
        proto = onnx.helper.make_graph(
            nodes,
            "head",
            [value("x", onnx.TensorProto.FLOAT, [1, 2, 4])],
            [value(f"v{len(behind) + 1}", onnx.TensorProto.FLOAT, None)],
            [
                onnx.numpy_helper.from_array(rng.normal(size=size).astype("f"), name)
                for name, size in {"w": (4, 9), "b": (9,)}.items()
            ],
        )
        imports = [onnx.helper.make_opsetid("", 17)]
        return import_model(
            read_model(onnx.helper.make_model(proto, opset_imports=imports, ir_version=8))
        )

    for behind, axis in {
        (): 2, ("LogSoftmax",): 2, ("Tanh", "Transpose"): 1, ("Transpose", "Tanh", "Transpose"): 2,
    }.items():  # fmt: skip
        assert list(scored_axes(graph(*behind), {}).values()) == [axis]


def test_errors_count_against_what_a_class_varies_by() -> None:
    rng = np.random.default_rng(0)
    level = np.array([0.0, 100.0, -100.0])
    meter = AgreementMeter({"y": 2})
    for _ in range(400):
        y = rng.normal(size=(1, 1, 3)) + level
        meter.add({"y": y}, {"y": np.broadcast_to(level, y.shape)})
    assert meter.result().loss_mean == pytest.approx(1, rel=0.02)
