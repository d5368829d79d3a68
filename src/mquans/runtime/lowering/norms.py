"""Normalizations over space, where channels lie last: rows of an image's channels are not made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mquans import _native
from mquans.graph import Graph, LayerNorm, Node, Reshape
from mquans.runtime.lowering import layout

if TYPE_CHECKING:
    from mquans.runtime.lowering.program import Lowering

MOST_GROUPED = 64
"""Channels that are normalized together, as the native step has it."""


@dataclass(frozen=True, slots=True)
class PixelNorm:
    """A normalization of a value [B, C, space...] over space.

    Attributes:
        source: the value.
        group: channels that are normalized together.
        skipped: values that are not made: rows of channels, and their normalization.
    """

    source: str
    group: int
    epsilon: float
    skipped: tuple[str, ...] = ()


def pixel_norms(graph: Graph) -> dict[str, PixelNorm]:
    """Normalizations by the value that they end in."""
    producers, readers = graph.producers(), graph.consumers()
    found: dict[str, PixelNorm] = {}
    for node in graph.nodes:
        if not isinstance(node.op, LayerNorm) or not _is_plain(graph, node, node.op):
            continue
        rows, normal = node.inputs[0], node.outputs[0]
        maker = producers.get(rows)
        match maker, readers.get(normal, []):
            case Node(op=Reshape(), inputs=(source,)), [Node(op=Reshape(), outputs=(back,))] if len(
                readers[rows]
            ) == 1 and not {rows, normal} & set(graph.outputs):
                group = _group(graph, source, rows)
                if group and graph.shape(back) == graph.shape(source):
                    found[back] = PixelNorm(source, group, node.op.epsilon, (rows, normal))
                    continue
        found[normal] = PixelNorm(rows, 1, node.op.epsilon)
    return found


def _is_plain(graph: Graph, node: Node, op: LayerNorm) -> bool:
    """Over all axes behind the second, without a scale or bias of places."""
    constants = [graph.constants[name] for name in node.inputs[1:] if name]
    plain = (constants[0] == 1).all() and not any(bias.any() for bias in constants[1:])
    return op.axis == 2 and len(graph.shape(node.inputs[0])) > 2 and bool(plain)


def _group(graph: Graph, source: str, rows: str) -> int:
    """Channels of each row that a value is cut into; 0 where rows are something else."""
    shape, cut = graph.shape(source), graph.shape(rows)
    if len(shape) < 3 or len(cut) != 3 or shape[0] != cut[0] or shape[1] % cut[1]:
        return 0
    group = shape[1] // cut[1]
    return group if group <= MOST_GROUPED else 0


def add_pixel_norm(low: Lowering, value: str, norm: PixelNorm) -> bool:
    """Adds the step that makes a value; False where values lie by channels, so that rows are there
    already."""
    order = layout.channels_last(len(low.graph.shape(norm.source)))
    if not norm.skipped and low.order_of(norm.source) != order:
        return False
    x, y = low.in_order(norm.source, order), low.new(value, order)
    _native.add_pixel_norm(low.program, value, x.tensor, x.dims, norm.group, norm.epsilon, y.tensor)
    return True
