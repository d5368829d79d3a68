"""How the inputs of a network come: in which order of axes, and whether codes are made of them at
once."""

from __future__ import annotations

from mquans.graph import Conv, ConvTranspose, Graph, Transpose, Unary
from mquans.runtime.lowering import layout
from mquans.runtime.lowering.layout import Dims
from mquans.runtime.lowering.sites.analysis import Analysis, is_site_layer, order_read
from mquans.runtime.lowering.sites.pictures import lies_as_picture
from mquans.runtime.lowering.sites.whole_steps import Encoded


def input_order(graph: Graph, value: str) -> Dims:
    """Channels last, unless the network itself begins by transposing."""
    readers = graph.consumers().get(value, [])
    rank = len(graph.shape(value))
    convolves = any(isinstance(node.op, Conv | ConvTranspose) for node in graph.nodes)
    if not convolves or any(isinstance(node.op, Transpose) for node in readers):
        return layout.identity(rank)
    return layout.channels_last(rank)


def input_coding(analysis: Analysis, value: str) -> Dims:
    """Order of the axes of a graph input that only codes are made of."""
    order = analysis.codings[analysis.pictures.get(value, value)].order
    prepared = analysis.prepared.get(value)
    return tuple(prepared.axes[axis] for axis in order) if prepared else order


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
    """True for graph inputs that are pictures (`lies_as_picture`) of which only codes are made.
    They are compared as a whole before any of it is taken."""
    shape = graph.shape(value)
    if not only_coded(graph, analysis, value):
        return False
    prepared = analysis.prepared.get(value)
    axes = prepared.axes if prepared else layout.identity(len(shape))
    order = analysis.codings[analysis.pictures.get(value, value)].order
    return lies_as_picture(shape, axes, order)


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
