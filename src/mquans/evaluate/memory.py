"""What the dense network would need for its activations, to judge a stream's memory by."""

from __future__ import annotations

from mquans.graph import Concat, Gather, Graph, Reshape, Slice, Transpose

FLOAT_BYTES = 4
MOVES = Concat | Gather | Reshape | Slice | Transpose
"""Operators that only move values; an engine may do without a copy of them."""


def activation_bytes(graph: Graph) -> int:
    """Bytes of the float32 activations of the dense network: its inputs, and every value that a
    node computes.

    Activation functions and batch norms that are fused into layers do not count on their own, nor
    do copies. Values whose size depends on the data count as nothing.
    """
    values = set(graph.inputs)
    values |= {
        value for node in graph.nodes if not isinstance(node.op, MOVES) for value in node.outputs
    }
    return FLOAT_BYTES * sum(max(graph.types[value].size, 0) for value in values if value)
