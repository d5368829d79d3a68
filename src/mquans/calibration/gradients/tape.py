"""Writing new nodes behind those of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mquans.graph import (
    Binary,
    BinaryKind,
    Concat,
    ConvTranspose,
    Expand,
    Gather,
    Graph,
    MatMul,
    Node,
    Operator,
    Pad,
    Reduce,
    ReduceKind,
    Reshape,
    Slice,
    Unary,
    UnaryKind,
    ValueType,
    free_name,
    infer_node,
    window_span,
)

Operand = str | float
Shape = tuple[int, ...]
Array = npt.NDArray[np.generic]


class Tape:
    """A copy of a graph that grows by arithmetic on its values.

    Values are names, as everywhere in a `Graph`; a float stands for a constant scalar. Shapes are
    inferred and checked node by node.

    Args:
        prefix: of the names of new values.
    """

    def __init__(self, graph: Graph, *, prefix: str = "gradient") -> None:
        self.graph = Graph(
            name=graph.name,
            inputs=graph.inputs,
            outputs=graph.outputs,
            nodes=[],
            constants=dict(graph.constants),
            types=dict(graph.types),
        )
        self._prefix = prefix
        self._scalars: dict[float, str] = {}
        self._derived: dict[tuple[str, str], str] = {}
        self._count = 0

    def shape(self, value: str) -> Shape:
        """Static shape of a value."""
        return self.graph.shape(value)

    def input(self, name: str, shape: Shape) -> str:
        """A further float32 input of the graph, under a free name like the given one."""
        name = self._declare(name, shape)
        self.graph.inputs = (*self.graph.inputs, name)
        return name

    def constant(self, array: npt.ArrayLike) -> str:
        """A constant array."""
        values = np.array(array, np.float32, order="C")
        name = self._declare(self._next("constant"), values.shape)
        self.graph.constants[name] = values
        return name

    def derived(self, constant: str, label: str, make: Callable[[Array], Array]) -> str:
        """A constant made from another one; the same one whenever the label is the same."""
        key = (constant, label)
        if key not in self._derived:
            self._derived[key] = self.constant(make(self.graph.constants[constant]))
        return self._derived[key]

    def copy(self, node: Node) -> None:
        """A node of the original graph; its types are known."""
        self.graph.nodes.append(node)

    def apply(self, op: Operator, *inputs: str, name: str | None = None) -> str:
        """The value of an operator that is not a fallback subgraph, under a free name."""
        label = name or self._next(type(op).__name__.lower())
        node = Node(label, op, inputs, (label,))
        (shape,) = infer_node(node, [self.shape(value) for value in inputs])
        output = self._declare(label, shape)
        self.graph.nodes.append(Node(output, op, inputs, (output,)))
        return output

    def unary(self, kind: UnaryKind, x: str, *params: float) -> str:
        """`f(x)`"""
        return self.apply(Unary(kind, params), x)

    def binary(self, kind: BinaryKind, a: Operand, b: Operand) -> str:
        """`f(a, b)` with broadcasting."""
        return self.apply(Binary(kind), self._operand(a), self._operand(b))

    def add(self, a: Operand, b: Operand) -> str:
        """`a + b`"""
        return self.binary("add", a, b)

    def sub(self, a: Operand, b: Operand) -> str:
        """`a - b`"""
        return self.binary("sub", a, b)

    def mul(self, a: Operand, b: Operand) -> str:
        """`a * b`"""
        return self.binary("mul", a, b)

    def div(self, a: Operand, b: Operand) -> str:
        """`a / b`"""
        return self.binary("div", a, b)

    def positive(self, x: str) -> str:
        """1 where `x > 0`, else 0."""
        return self.unary("relu", self.unary("sign", x))

    def is_zero(self, x: str) -> str:
        """1 where `x == 0`, else 0."""
        return self.sub(1.0, self.unary("abs", self.unary("sign", x)))

    def select(self, mask: str, a: Operand, b: Operand) -> str:
        """`a` where a mask of zeros and ones is 1, else `b`; both must be finite."""
        return self.add(self.mul(mask, a), self.mul(self.sub(1.0, mask), b))

    def reduce(
        self, kind: ReduceKind, x: str, axes: Sequence[int], *, keepdims: bool = True
    ) -> str:
        """A reduction; `x` itself when there is nothing to reduce."""
        if not axes:
            return x
        return self.apply(Reduce(kind, tuple(axes), keepdims), x)

    def reshape(self, x: str, shape: Shape) -> str:
        """`x` in another shape; itself if it has that one."""
        return x if self.shape(x) == shape else self.apply(Reshape(shape), x)

    def concat(self, axis: int, *values: str) -> str:
        """Values one behind the other."""
        return self.apply(Concat(axis), *values)

    def expand(self, x: str, shape: Shape) -> str:
        """`x` broadcast to a shape; itself if it has that one."""
        return x if self.shape(x) == shape else self.apply(Expand(shape), x)

    def sum_to(self, x: str, shape: Shape) -> str:
        """Sums over the axes that broadcasting would have added or stretched: the transpose of
        `expand`."""
        extra = len(self.shape(x)) - len(shape)
        axes = [
            axis
            for axis, size in enumerate(self.shape(x))
            if axis < extra or (shape[axis - extra] == 1 and size != 1)
        ]
        return self.reshape(self.reduce("sum", x, axes), shape)

    def crop(self, x: str, starts: Shape, shape: Shape) -> str:
        """A box of `x`; itself if the box is all of it."""
        if self.shape(x) == shape:
            return x
        stops = tuple(start + size for start, size in zip(starts, shape, strict=True))
        return self.apply(Slice(starts, stops, (1,) * len(shape)), x)

    def pad(self, x: str, begins: Shape, ends: Shape, value: float = 0.0) -> str:
        """`x` with a border; itself if there is none."""
        if not any((*begins, *ends)):
            return x
        return self.apply(Pad((*begins, *ends), "constant", value), x)

    def along(self, x: str, axis: int, matrix: npt.NDArray[np.floating]) -> str:
        """A linear map of one axis: `y[.., o, ..] = sum_i matrix[o, i] x[.., i, ..]`."""
        shape = self.shape(x)
        before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        flat = self.reshape(x, (before, shape[axis], after))
        product = self.apply(MatMul(), self.constant(matrix), flat)
        return self.reshape(product, (*shape[:axis], matrix.shape[0], *shape[axis + 1 :]))

    def scatter(self, x: str, axis: int, indices: Sequence[int], size: int) -> str:
        """`y[.., indices[i], ..] += x[.., i, ..]`, 0 elsewhere, with `size` entries on the axis."""
        shape = self.shape(x)
        if len(set(indices)) < len(indices):
            matrix = np.zeros((size, len(indices)))
            matrix[list(indices), range(len(indices))] = 1.0
            return self.along(x, axis, matrix)
        # Entries that nothing goes to are taken from one zero behind the last.
        source = [len(indices)] * size
        for position, index in enumerate(indices):
            source[index] = position
        none = (0,) * len(shape)
        end = tuple(int(i == axis) for i in range(len(shape)))
        padded = self.pad(x, none, end if len(indices) in source else none)
        return self.apply(Gather(axis, tuple(source)), padded)

    def fold(
        self,
        columns: str,
        weight: str,
        op: ConvTranspose,
        space: Shape,
    ) -> str:
        """A transposed convolution whose output has exactly the given space: cropped, or filled up
        with zeros where windows did not reach.

        Args:
            columns: input [B, C, windows...].
            op: kernel, strides, dilations, groups, and the begins of pads; its ends and the output
                padding are replaced.
        """
        axes = range(len(space))
        windows = self.shape(columns)[2:]
        reach = [
            (windows[i] - 1) * op.strides[i] + window_span(op.kernel[i], op.dilations[i])
            for i in axes
        ]
        over = [reach[i] - op.pads[i] - space[i] for i in axes]
        made = ConvTranspose(
            kernel=op.kernel,
            strides=op.strides,
            pads=(*op.pads[: len(space)], *(max(n, 0) for n in over)),
            dilations=op.dilations,
            output_padding=tuple(max(-n, 0) for n in over),
            groups=op.groups,
        )
        return self.apply(made, columns, weight)

    def _operand(self, value: Operand) -> str:
        if isinstance(value, str):
            return value
        if value not in self._scalars:
            self._scalars[value] = self.constant(value)
        return self._scalars[value]

    def _next(self, kind: str) -> str:
        self._count += 1
        return f"{self._prefix}/{self._count}/{kind}"

    def _declare(self, name: str, shape: Shape) -> str:
        name = free_name(name, self.graph.types)
        self.graph.types[name] = ValueType(shape)
        return name
