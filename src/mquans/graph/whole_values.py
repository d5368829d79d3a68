"""Values that are whole steps: what a quantization makes, wherever it moves."""

from __future__ import annotations

from collections.abc import Mapping

from mquans.graph.graph import Node
from mquans.graph.operators import (
    Concat,
    Conv,
    ConvTranspose,
    Gather,
    Linear,
    Pool,
    Reshape,
    Resize,
    Slice,
    Transpose,
    Unary,
)

Bounds = tuple[float, float]
"""Least and largest step."""


def bounds_of(producers: Mapping[str, Node], value: str) -> Bounds | None:
    """Between which whole steps a value lies; None where it may be anything else."""
    node = producers.get(value)
    if node is None:
        return None
    match node.op:
        case Unary(kind="quantize", params=(low, high)):
            return low, high
        case Conv() | ConvTranspose() | Linear():
            match node.op.activation:
                case Unary(kind="quantize", params=(low, high)):
                    return low, high
        case (
            Pool(kind="max") | Resize(mode="nearest") | Gather() | Slice() | Reshape() | Transpose()
        ):
            return bounds_of(producers, node.inputs[0])
        case Concat():
            parts = [bounds_of(producers, part) for part in node.inputs]
            known = [part for part in parts if part is not None]
            if len(known) < len(parts):
                return None
            return min(low for low, _ in known), max(high for _, high in known)
    return None
