"""How the inputs of a network come: in which order of axes, and whether codes are made of them at
once."""

from __future__ import annotations

from math import prod

from mquans.graph import Conv, ConvTranspose, Graph, Transpose, Unary
from mquans.runtime.lowering import layout
from mquans.runtime.lowering.layout import Dims
from mquans.runtime.lowering.sites.analysis import Analysis, is_site_layer, order_read, turned_axes
from mquans.runtime.lowering.sites.whole_steps import Encoded

MOST_CHANNELS = 4
"""Of pictures."""


def input_order(graph: Graph, value: str) -> Dims:
    """Channels last, unless the network itself begins by transposing."""
    readers = graph.consumers().get(value, [])
    rank = len(graph.shape(value))
    convolves = any(isinstance(node.op, Conv | ConvTranspose) for node in graph.nodes)
    if not convolves or any(isinstance(node.op, Transpose) for node in readers):
        return layout.identity(rank)
    return layout.channels_last(rank)


def input_coding(graph: Graph, analysis: Analysis, value: str) -> Dims:
    """Order of the axes of a graph input that only codes are made of."""
    made = analysis.pictures.get(value, value)
    order = analysis.codings[made].order
    axes = turned_axes(graph, graph.producers()[made]) if made != value else None
    return tuple(axes[axis] for axis in order) if axes else order


def only_coded(graph: Graph, analysis: Analysis, value: str) -> bool:
    """True when all that reads a graph input reads its codes as they lie."""
    if value in analysis.pictures:
        return True
    if value not in analysis.codings or value in graph.outputs:
        return False
    if any(isinstance(step, Encoded) and step.source == value for step in analysis.steps.values()):
        return False  # A quantization beside other codes reads floats.
    order = analysis.codings[value].order
    return all(
        node.name in analysis.integer_nodes
        and (not is_site_layer(graph, node) or order_read(graph, node) == order)
        for node in graph.consumers().get(value, [])
        if node.name not in analysis.idle
    )


def is_picture(graph: Graph, analysis: Analysis, value: str) -> bool:
    """True for graph inputs that are pictures of few channels, as planes or with their channels
    side by side. They are compared as a whole before any of it is taken, by blocks of pixels that
    lie in one picture."""
    given, made = graph.shape(value), analysis.pictures.get(value, value)
    if len(given) != 4 or not only_coded(graph, analysis, value):
        return False
    order = input_coding(graph, analysis, value)
    shape = layout.apply(order, given)
    x_step, c_step = (prod(given[axis + 1 :]) for axis in order[-2:])
    return (
        analysis.codings[made].order == layout.channels_last(4)
        and (x_step == 1 or (x_step == shape[-1] and c_step == 1))
        and shape[-1] <= MOST_CHANNELS
        and (shape[0] == 1 or shape[1] % 2 == 0)
    )


def takes_pictures(graph: Graph, analysis: Analysis) -> bool:
    """Whether some input is a picture, see `is_picture`: a motion gate has something to look at."""
    return any(is_picture(graph, analysis, value) for value in graph.inputs)


def input_quantization(graph: Graph, analysis: Analysis, value: str) -> tuple[float, Unary | None]:
    """(factor, rounding and bounds) of what reads a graph input alone."""
    made = analysis.pictures.get(value, value)
    if made not in analysis.steps:
        return 1.0, None
    step, op = analysis.steps[made], graph.producers()[made].op
    assert isinstance(step, Encoded)
    assert isinstance(op, Unary)
    return step.factor, op
