"""Layers with activity that tests choose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from mquans.graph import Conv, Graph, Linear, Node, ValueType, infer_node
from mquans_studies.traces.layer_shape import Geometry, layer_geometry
from mquans_studies.traces.trace import Activity, LayerTrace, Trace
from mquans_studies.traces.weight_repetition import WeightRepetition


def conv_geometry(
    channels: int, outputs: int, size: int, kernel: int, stride: int, pad: int, groups: int = 1
) -> Geometry:
    """A convolution [1, channels, size, size] -> [1, outputs, ...]."""
    op = Conv((kernel,) * 2, (stride,) * 2, (pad,) * 4, (1, 1), groups)
    weight = (outputs, channels // groups, kernel, kernel)
    return _geometry(op, (1, channels, size, size), weight)


def linear_geometry(inputs: int, outputs: int) -> Geometry:
    """A dense layer [1, inputs] -> [1, outputs]."""
    return _geometry(Linear(), (1, inputs), (inputs, outputs))


def _geometry(op: Conv | Linear, x: tuple[int, ...], weight: tuple[int, ...]) -> Geometry:
    node = Node("layer", op, ("x", "w"), ("y",))
    types = {"x": ValueType(x), "w": ValueType(weight)}
    (shape,) = infer_node(node, [x, weight])
    types["y"] = ValueType(shape)
    graph = Graph("net", ("x",), ("y",), [node], {"w": np.zeros(weight, np.float32)}, types)
    return layer_geometry(graph, node)


def traced(
    geometry: Geometry,
    masks: list[np.ndarray],
    *,
    computed: int | None = None,
    given: int = 0,
    by_sites: bool = False,
) -> LayerTrace:
    """A layer in which these inputs change, frame by frame: [rows, width, channels] each; all are
    made anew, or `computed` of them, `given` by no layer. By sites all channels of a site
    change."""
    if by_sites:
        masks = [np.broadcast_to(mask.any(2, keepdims=True), mask.shape) for mask in masks]
    shape = geometry.shape
    ones = np.ones(len(masks), np.int64)
    reached = [geometry.reached(mask) for mask in masks]
    activity = Activity(
        changed=np.stack([geometry.by_class(mask, geometry.one_kind) for mask in masks]),
        blocks=np.stack([geometry.blocks(mask) for mask in masks]),
        row_passes=np.array([geometry.row_passes(mask) for mask in masks]),
        channels=np.array([mask.any(axis=(0, 1)).sum() for mask in masks]),
        touched=np.array([geometry.touched(*each) for each in zip(masks, reached, strict=True)]),
        touched_rows=np.array([each.any(axis=(1, 2)).sum() for each in reached]),
        needed=np.array([geometry.needed(each) for each in reached]),
        computed=ones * (shape.inputs if computed is None else computed),
        repeated=0 * ones,
    )
    weights = shape.weights
    repetition = WeightRepetition(8, weights - weights // 8, -(-weights // 4), -(-weights // 5))
    return LayerTrace(
        shape, "x", (), given, by_sites, (6,), (shape.channels,), 16, repetition, activity
    )


def trace_of(*layers: LayerTrace, shared: bool = False) -> Trace:
    """A trace of these layers, one behind the other or all of one input, without first frames."""
    frames = len(layers[0].activity.channels)
    named = tuple(
        replace(
            layer,
            shape=replace(layer.shape, name=f"layer{index}"),
            input="x" if shared else f"x{index}",
            producers=("",) if shared or not index else (f"layer{index - 1}",),
        )
        for index, layer in enumerate(layers)
    )
    return Trace("net", "0" * 64, "0" * 64, "hold", 1, np.zeros(frames, np.int64), named)


def masks(geometry: Geometry, share: float, frames: int = 1, seed: int = 0) -> list[np.ndarray]:
    """Random changes."""
    shape = geometry.shape
    rng = np.random.default_rng(seed)
    size = (shape.rows, shape.width, shape.channels)
    return [rng.random(size) < share for _ in range(frames)]


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Convolutions and dense layers of many shapes."""
    if draw(st.booleans()):
        return linear_geometry(draw(st.integers(1, 70)), draw(st.integers(1, 70)))
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    channels = groups * draw(st.integers(1, 20))
    kernel = draw(st.integers(1, 4))
    return conv_geometry(
        channels,
        groups * draw(st.integers(1, 20)),
        draw(st.integers(kernel, 9)),
        kernel,
        draw(st.integers(1, 3)),
        draw(st.integers(0, kernel - 1)),
        groups,
    )
