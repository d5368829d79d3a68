"""What a network is: named values, nodes of a closed operator set, and rewrites that keep it equal.

Nothing here knows a file format.
"""

from __future__ import annotations

from mquans.graph.edits import Editor, free_name
from mquans.graph.float_layers import (
    can_be_in_floats,
    in_floats,
    is_over_time,
    layers_before_logarithms,
)
from mquans.graph.graph import LARGEST_INTEGER, Graph, Node, ValueType
from mquans.graph.operators import (
    GATES,
    Array,
    Binary,
    BinaryKind,
    Concat,
    Conv,
    ConvTranspose,
    Expand,
    Fallback,
    Gather,
    LayerNorm,
    Linear,
    MatMul,
    Operator,
    Pad,
    Pool,
    Recurrence,
    RecurrenceKind,
    Reduce,
    ReduceKind,
    Reshape,
    Resize,
    ReuseOperator,
    Slice,
    Softmax,
    Transpose,
    Unary,
    UnaryKind,
)
from mquans.graph.relations import functions_before_quotients, products_with_quotients
from mquans.graph.resampling import axis_taps
from mquans.graph.rewrites import rewrite
from mquans.graph.rewrites.channel_selection import slices
from mquans.graph.shapes import broadcast, infer, infer_node, window_span, windows_left_out
from mquans.graph.whole_values import bounds_of

__all__ = [
    "GATES",
    "LARGEST_INTEGER",
    "Array",
    "Binary",
    "BinaryKind",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Editor",
    "Expand",
    "Fallback",
    "Gather",
    "Graph",
    "LayerNorm",
    "Linear",
    "MatMul",
    "Node",
    "Operator",
    "Pad",
    "Pool",
    "Recurrence",
    "RecurrenceKind",
    "Reduce",
    "ReduceKind",
    "Reshape",
    "Resize",
    "ReuseOperator",
    "Slice",
    "Softmax",
    "Transpose",
    "Unary",
    "UnaryKind",
    "ValueType",
    "axis_taps",
    "bounds_of",
    "broadcast",
    "can_be_in_floats",
    "free_name",
    "functions_before_quotients",
    "in_floats",
    "infer",
    "infer_node",
    "is_over_time",
    "layers_before_logarithms",
    "products_with_quotients",
    "rewrite",
    "slices",
    "window_span",
    "windows_left_out",
]
