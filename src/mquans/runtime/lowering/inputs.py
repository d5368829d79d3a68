"""How the inputs of a network come: in which order of axes, and whether codes are made of them at
once."""

from __future__ import annotations

from mquans.graph import Conv, ConvTranspose, Graph, Transpose, Unary
from mquans.runtime.lowering import layout
from mquans.runtime.lowering.layout import Dims
from mquans.runtime.lowering.sites.analysis import Analysis, is_site_layer, order_read
from mquans.runtime.lowering.sites.placing import comes_as_planes
from mquans.runtime.lowering.sites.whole_steps import Encoded


def input_order(graph: Graph, value: str) -> Dims:
    """Channels last, unless the network itself begins by transposing."""
    readers = graph.consumers().get(value, [])
    rank = len(graph.shape(value))
    convolves = any(isinstance(node.op, Conv | ConvTranspose) for node in graph.nodes)
    if not convolves or any(isinstance(node.op, Transpose) for node in readers):
        return layout.identity(rank)
    return layout.channels_last(rank)


def only_coded(graph: Graph, analysis: Analysis, value: str) -> bool:
    """True when all that reads a graph input reads its codes as they lie."""
    if value in analysis.pictures:
        return True
    if value not in analysis.codings or value in graph.outputs:
        return False
    order = analysis.codings[value].order
    return all(
        node.name in analysis.integer_nodes
        and (not is_site_layer(graph, node) or order_read(graph, node) == order)
        for node in graph.consumers().get(value, [])
        if node.name not in analysis.idle
    )


def compared_pictures(graph: Graph, analysis: Analysis) -> list[str]:
    """Graph inputs that are pictures as planes: all of them is compared before any is taken."""
    coded = [value for value in graph.inputs if only_coded(graph, analysis, value)]
    made = {value: analysis.pictures.get(value, value) for value in coded}
    return [
        value
        for value in coded
        if comes_as_planes(graph.shape(made[value]), analysis.codings[made[value]].order)
    ]


def input_quantization(graph: Graph, analysis: Analysis, value: str) -> tuple[float, Unary | None]:
    """(factor, rounding and bounds) of what reads a graph input alone."""
    made = analysis.pictures.get(value)
    if made is None:
        return 1.0, None
    step, op = analysis.steps[made], graph.producers()[made].op
    assert isinstance(step, Encoded)
    assert isinstance(op, Unary)
    return step.factor, op
