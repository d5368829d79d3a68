"""A tiny detector with the outputs of CenterFace, and clips for it: it finds bright squares of 8
pixels on dark ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import mquans

WIDTH, HEIGHT, STRIDE = 96, 64, 4
Picture = npt.NDArray[np.uint8]


def write_model(path: Path, *, sharp: float = 1.0) -> Path:
    """x [1, 3, 64, 96] from 0 to 255 -> heat, log size, offset of cells of 4 pixels.

    Args:
        sharp: factor of the heat: models that differ.
    """
    cells = [1, 1, HEIGHT // STRIDE, WIDTH // STRIDE]
    weights = {
        "w": np.full((1, 3, STRIDE, STRIDE), sharp / (3 * STRIDE**2 * 255)),
        "none": np.zeros((2, 3, STRIDE, STRIDE)),
        "two": np.full(2, np.log(2)),
        "half": np.full(2, 0.0),
    }
    stride = {"strides": [STRIDE, STRIDE]}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["heat"], "heat", **stride),
            helper.make_node("Conv", ["x", "none", "two"], ["size"], "size", **stride),
            helper.make_node("Conv", ["x", "none", "half"], ["offset"], "offset", **stride),
        ],
        "spots",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info("heat", TensorProto.FLOAT, cells),
            helper.make_tensor_value_info("size", TensorProto.FLOAT, [1, 2, *cells[2:]]),
            helper.make_tensor_value_info("offset", TensorProto.FLOAT, [1, 2, *cells[2:]]),
        ],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def picture(column: int | None, row: int = 24) -> Picture:
    """A bright square with its left edge at a column, on dark ground with some texture."""
    found = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    found[::7, ::5] += 15
    if column is not None:
        found[row : row + 8, column : column + 8] = 250
    return found


def pictures(count: int) -> list[Picture]:
    """The square moves to the right by 4 pixels a frame, and begins again."""
    return [picture(4 * (number % 20)) for number in range(count)]


def write_plan(model: Path, path: Path, *, bits: int = 8) -> Path:
    plan = mquans.calibrate(
        model, pictures(24), bits=bits, input={"width": WIDTH, "height": HEIGHT, "preset": "pixels"}
    )
    plan.save(path)
    return path
