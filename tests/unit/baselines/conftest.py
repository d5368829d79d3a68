"""A small network as an old exporter writes it, and a cache folder of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mquans.onnx.model_file import ModelFile, read_model

Array = npt.NDArray[np.float32]
SHAPES = {"x": (1, 3, 8, 8), "gain": (1, 4, 1, 1)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mquans"


@pytest.fixture
def model() -> ModelFile:
    """Conv, batch norm, ReLU, and a product with a second input, in opset 9: weights are listed as
    inputs, and the declared shapes are those of a batch of 10 pictures of 32 x 32."""
    rng = np.random.default_rng(0)
    weights: dict[str, Array] = {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "scale": rng.uniform(0.5, 2, 4).astype(np.float32),
        "shift": rng.standard_normal(4).astype(np.float32),
        "mean": rng.standard_normal(4).astype(np.float32),
        "variance": rng.uniform(0.5, 2, 4).astype(np.float32),
    }
    declared = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [10, 3, 32, 32]),
        helper.make_tensor_value_info("gain", TensorProto.FLOAT, [10, 4, 1, 1]),
    ]
    declared += [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
        for name, array in weights.items()
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["a", "scale", "shift", "mean", "variance"],
                             ["b"]),
            helper.make_node("Relu", ["b"], ["features"]),
            helper.make_node("Mul", ["features", "gain"], ["y"]),
        ],
        "small",
        declared,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [10, 4, 32, 32]),
         helper.make_tensor_value_info("features", TensorProto.FLOAT, [10, 4, 32, 32])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
        value_info=[helper.make_tensor_value_info("a", TensorProto.FLOAT, [10, 4, 32, 32])],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=3)
    onnx.checker.check_model(proto)
    return read_model(proto)


@pytest.fixture
def feeds() -> list[dict[str, Array]]:
    rng = np.random.default_rng(1)
    return [
        {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
        for _ in range(6)
    ]


@pytest.fixture
def expected(model: ModelFile, feeds: list[dict[str, Array]]) -> list[dict[str, Array]]:
    """Outputs computed with numpy."""
    w = {t.name: numpy_helper.to_array(t) for t in model.proto().graph.initializer}
    outputs = []
    for feed in feeds:
        padded = np.pad(feed["x"][0].astype(np.float64), ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        conv = np.einsum("chwij,ocij->ohw", windows, w["w"])
        factor = w["scale"] / np.sqrt(w["variance"] + 1e-5)
        normed = (conv - w["mean"][:, None, None]) * factor[:, None, None]
        features = np.maximum(normed + w["shift"][:, None, None], 0)[None]
        outputs.append({"y": features * feed["gain"], "features": features})
    return outputs
