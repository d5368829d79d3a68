"""Gradients of linear operators are their transposes, whatever their geometry.

For a linear `f`, `v . f(e) == f'(v) . e` for all `v` and `e`. Strides that leave rows over, windows
wider than their input, pads wider than the kernel: whatever a network may declare, no value of a
gradient may get lost or be counted twice.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mquans.baselines.ort_engine import open_session
from mquans.calibration.gradients import gradient_graph
from mquans.errors import ModelError, MquansError
from mquans.graph import (
    Conv,
    ConvTranspose,
    Graph,
    Node,
    Operator,
    Pad,
    Pool,
    Resize,
    Slice,
    ValueType,
    infer,
)
from mquans.onnx import to_onnx
from mquans.runtime.reference.interpreter import ReferenceNetwork

Shape = tuple[int, ...]


def network(op: Operator, x: Shape, weight: Shape | None) -> Graph:
    """One operator, if it is possible at all."""
    constants: dict[str, np.ndarray] = {}
    if weight is not None:
        constants["w"] = np.random.default_rng(1).normal(size=weight).astype(np.float32)
    graph = Graph(
        "one", ("x",), ("y",), [Node("n", op, ("x", *constants), ("y",))], dict(constants)
    )
    graph.types = {"x": ValueType(x)}
    try:
        graph.types = infer(graph)
    except ModelError:
        assume(False)
    assume(math.prod(graph.shape("y")) > 0)
    return graph


def check(graph: Graph) -> None:
    """The identity in float64, and onnxruntime's gradient against the oracle's."""
    rng = np.random.default_rng(2)
    made = gradient_graph(graph, layers=(), values=("x",))
    e, v = rng.normal(size=graph.shape("x")), rng.normal(size=graph.shape("y"))
    name, cotangent = made.values["x"], made.cotangents["y"]
    forward = ReferenceNetwork(graph).run({"x": e})["y"]
    backward = ReferenceNetwork(made.tape.graph).run({"x": e, cotangent: v}, [name])[name]
    assert float((backward * e).sum()) == pytest.approx(float((v * forward).sum()), abs=1e-4)
    feeds = {"x": e.astype(np.float32), cotangent: v.astype(np.float32)}
    data = to_onnx(made.tape.graph, outputs=[name]).SerializeToString()
    try:
        [found] = open_session(data, model_name="adjoint").run([name], feeds)
    except MquansError:
        pytest.fail("onnxruntime refuses the gradient")
    np.testing.assert_allclose(found, backward, atol=1e-3)


def sizes(axes: int, low: int, high: int) -> st.SearchStrategy[Shape]:
    return st.tuples(*[st.integers(low, high)] * axes)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Operator, Shape, Shape]:
    """A Conv or ConvTranspose with its input and weight shapes."""
    axes = draw(st.integers(1, 2))
    groups, inputs, outputs = (draw(st.integers(1, 2)) for _ in range(3))
    kernel = draw(sizes(axes, 1, 4))
    strides, dilations = draw(sizes(axes, 1, 3)), draw(sizes(axes, 1, 2))
    pads = draw(sizes(2 * axes, 0, 3))
    x = (draw(st.integers(1, 2)), groups * inputs, *draw(sizes(axes, 1, 7)))
    if draw(st.booleans()):
        conv = Conv(kernel, strides, pads, dilations, groups)
        return conv, x, (groups * outputs, inputs, *kernel)
    more = tuple(draw(st.integers(0, stride - 1)) for stride in strides)
    transposed = ConvTranspose(kernel, strides, pads, dilations, more, groups)
    return transposed, x, (groups * inputs, outputs, *kernel)


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_convolutions(case: tuple[Operator, Shape, Shape]) -> None:
    check(network(*case))


@settings(max_examples=40, deadline=None)
@given(
    kernel=sizes(2, 1, 3),
    strides=sizes(2, 1, 3),
    size=sizes(2, 1, 7),
    ceil_mode=st.booleans(),
    count_include_pad=st.booleans(),
    data=st.data(),
)
def test_average_pools(
    kernel: Shape,
    strides: Shape,
    size: Shape,
    ceil_mode: bool,
    count_include_pad: bool,
    data: st.DataObject,
) -> None:
    pads = tuple(data.draw(st.integers(0, kernel[i % 2] - 1)) for i in range(4))
    op = Pool("average", kernel, strides, pads, (1, 1), ceil_mode, count_include_pad)
    check(network(op, (1, 2, *size), None))


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 6), data=st.data())
def test_slices(size: int, data: st.DataObject) -> None:
    step = data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3]))
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(-1, start - 1) if step < 0 else st.integers(start + 1, size))
    check(network(Slice((0, start), (2, stop), (1, step)), (2, size), None))


@settings(max_examples=30, deadline=None)
@given(size=sizes(2, 2, 5), mode=st.sampled_from(["constant", "reflect", "edge"]), data=st.data())
def test_pads(size: Shape, mode: str, data: st.DataObject) -> None:
    pads = tuple(data.draw(st.integers(0, size[i % 2] - 1)) for i in range(4))
    check(network(Pad(pads, mode), size, None))  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(
    size=sizes(2, 1, 5),
    out=sizes(2, 1, 9),
    mode=st.sampled_from(["nearest", "linear", "cubic"]),
    coordinates=st.sampled_from(["half_pixel", "align_corners", "asymmetric"]),
)
def test_resizes(size: Shape, out: Shape, mode: str, coordinates: str) -> None:
    scales = (1.0, 1.0, *(o / n for o, n in zip(out, size, strict=True)))
    op = Resize(mode, coordinates, "round_prefer_floor", scales, (1, 1, *out))  # type: ignore[arg-type]
    check(network(op, (1, 1, *size), None))
