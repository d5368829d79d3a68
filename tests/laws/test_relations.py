"""Logarithms, quotients and roots between and behind layers, as losses, normalisations and old
exporters write them: beside onnxruntime they are what they stand for."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import mquans

SHAPE = (1, 3, 12, 12)
NODES = {
    "log of a sigmoid": "Sigmoid a s; Log s k",
    "inverse sigmoid": "Sigmoid a s; Sub one s d; Div s d q; Log q k",
    "entropy": "Sigmoid a s; Log s l; Mul s l k",
    "by the reciprocal of a root": "Mul a a q; ReduceMean q m; Add m eps v; Sqrt v r; "
    "Reciprocal r t; Mul a t k",
    "by a power": "Mul a a q; ReduceMean q m; Add m eps v; Pow v minus t; Mul a t k",
    "moments": "ReduceMean a m; Sub a m d; Mul d d q; ReduceMean q v; Add v eps e; Sqrt e r; "
    "Div one r t; Mul t gain u; Mul a u au; Mul m u mu; Sub gain mu b; Add au b k",
}


@pytest.mark.parametrize("reader", ["a layer", "nobody"])
@pytest.mark.parametrize("name", NODES)
def test_relations_are_kept(name: str, reader: str) -> None:
    """A third of the picture is black, where norms vanish and their reciprocals do not."""
    rng = np.random.default_rng(0)
    mask = np.ones((1, 1, 12, 12))
    mask[..., :4, :] = 0
    arrays = {
        "mask": mask, "one": 1.0, "eps": 1e-6, "minus": -0.5,
        "gain": rng.uniform(0.5, 1.5, (1, 16, 1, 1)),
        "w": 0.6 * rng.normal(size=(16, 3, 3, 3)), "w2": rng.normal(size=(4, 16, 3, 3)) / 8,
    }  # fmt: skip
    rows = ["Mul x mask p", "Conv p w c", "Relu c a" if "Sqrt" in NODES[name] else "Identity c a"]
    rows += NODES[name].split("; ")
    rows.append("Conv k w2 y" if reader == "a layer" else "Identity k y")
    nodes = []
    for row in rows:
        kind, *names = row.split()
        if kind == "ReduceMean":
            names.insert(1, "axes")
        nodes.append(helper.make_node(kind, names[:-1], names[-1:]))
    x, y = (helper.make_tensor_value_info(*value) for value in (("x", 1, SHAPE), ("y", 1, None)))
    graph = helper.make_graph(
        nodes, "relations", [x], [y],
        [
            *(numpy_helper.from_array(np.asarray(array, np.float32), key)
              for key, array in arrays.items()),
            numpy_helper.from_array(np.array([1]), "axes"),
        ],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    data = model.SerializeToString()
    frames = [{"x": rng.normal(size=SHAPE).astype(np.float32)} for _ in range(8)]
    stream = mquans.Session(data, mquans.calibrate(data, frames, bits=12, stress=False)).stream()
    reference = onnxruntime.InferenceSession(data)
    for frame in frames:
        (expected,) = reference.run(None, frame)
        assert np.isfinite(expected).all()
        off = np.square(stream.step(frame)["y"] - expected).sum()
        assert off < 2e-4 * np.square(expected).sum()
        assert stream.check() is None
