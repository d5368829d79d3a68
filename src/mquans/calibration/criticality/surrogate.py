"""The linear network along which squared errors travel.

If errors at different values are independent, an error of variance `u` becomes one of variance
`sum W^2 u` behind a layer of weights `W`, and `E f'(x)^2 u` behind a function `f`. The surrogate
has these as its operators, so its gradients say how the squared error of the outputs grows, and no
data is needed to know them:

- functions have the mean squared slope that they have over a unit normal, not above 1;
- what is multiplied by a computed value is taken to be multiplied by +-1;
- of a maximum, each candidate is the largest equally often.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mquans.calibration.gradients import Tape
from mquans.calibration.gradients.rules import stops
from mquans.calibration.gradients.rules.movement import resize_matrix
from mquans.graph import (
    Binary,
    Conv,
    ConvTranspose,
    Graph,
    LayerNorm,
    Linear,
    MatMul,
    Node,
    Pad,
    Pool,
    Reduce,
    Resize,
    Softmax,
    Unary,
)
from mquans.runtime.reference.functions import unary


@dataclass(frozen=True, slots=True)
class Surrogate:
    """See the module.

    Attributes:
        graph: inputs are those of the network and what fallback subgraphs make.
        values: value of the network to that of the surrogate.
        layers: reuse layer to the name of its node in the surrogate.
    """

    graph: Graph
    values: dict[str, str]
    layers: dict[str, str]


def surrogate(graph: Graph, outputs: tuple[str, ...]) -> Surrogate:
    """The surrogate of a network.

    Args:
        outputs: values of the network whose squared error is asked for.
    """
    made = [value for node in graph.nodes if stops(node) for value in node.outputs]
    inputs = (*graph.inputs, *made)
    types = {name: graph.types[name] for name in inputs}
    tape = Tape(Graph(graph.name, inputs, (), [], {}, types))
    writer = _Writer(graph, tape)
    for node in graph.nodes:
        if not stops(node):
            writer.write(node)
    tape.graph.outputs = tuple(writer.values[value] for value in outputs)
    return Surrogate(tape.graph, writer.values, writer.layers)


class _Writer:
    """Writes the nodes of a surrogate, in order."""

    def __init__(self, graph: Graph, tape: Tape) -> None:
        self.graph, self.tape = graph, tape
        self.values = {name: name for name in tape.graph.inputs}
        self.layers: dict[str, str] = {}

    def write(self, node: Node) -> None:
        """The surrogate of a node."""
        result = self._layer(node) if node.is_reuse else self._other(node)
        self.values[node.outputs[0]] = result

    def _layer(self, node: Node) -> str:
        op = node.op
        assert isinstance(op, Conv | ConvTranspose | Linear)
        weight = self.tape.constant(np.square(self.graph.constants[node.inputs[1]]))
        linear = replace(op, activation=None)
        y = self.tape.apply(linear, self._value(node.inputs[0]), weight, name=node.name)
        self.layers[node.name] = y
        return y if op.activation is None else self._scaled(y, slope_square(op.activation))

    def _other(self, node: Node) -> str:
        op, tape = node.op, self.tape
        if isinstance(op, Binary):
            return self._binary(op, node)
        if isinstance(op, MatMul):
            return self._matmul(node)
        inputs = [self._value(value) for value in node.inputs]
        x = inputs[0]
        match op:
            case Unary():
                return self._scaled(x, slope_square(op))
            case Pool(kind):
                count = math.prod(op.kernel) if kind == "average" else 1
                return self._scaled(tape.apply(replace(op, kind="average"), x), 1 / count)
            case Reduce():
                return self._reduce(op, x)
            case Resize():
                for axis, size in enumerate(tape.shape(x)):
                    if op.sizes[axis] != size or op.scales[axis] != 1.0:
                        x = tape.along(x, axis, np.square(resize_matrix(op, axis, size)))
                return x
            case Pad():
                return tape.apply(replace(op, value=0.0), x)
            case Softmax(axis):
                return self._scaled(x, 1 / tape.shape(x)[axis] ** 2)
            case LayerNorm():
                return tape.mul(x, self._square(node.inputs[1]))
        return tape.apply(op, *inputs)

    def _reduce(self, op: Reduce, x: str) -> str:
        """Sums add up; a mean divides by the count, and so does whatever one of many decides."""
        count = math.prod(self.tape.shape(x)[axis] for axis in op.axes)
        total = self.tape.apply(Reduce("sum", op.axes, op.keepdims), x)
        match op.kind:
            case "sum" | "l1" | "prod":
                return total
            case "mean":
                return self._scaled(total, 1 / count**2)
            case "sum_square":
                return self._scaled(total, 4.0)
            case _:
                return self._scaled(total, 1 / count)

    def _binary(self, op: Binary, node: Node) -> str:
        a, b = node.inputs
        constant = self.graph.constants.get(b if a not in self.graph.constants else a)
        computed = [self.values[value] for value in node.inputs if value in self.values]
        if len(computed) == 2:
            total = self.tape.add(*computed)
            return self._scaled(total, 0.5) if op.kind in ("max", "min") else total
        if not computed:
            return self.tape.constant(np.zeros(self.graph.shape(node.outputs[0])))
        [x] = computed
        assert constant is not None
        gain = CONSTANT_GAINS.get(op.kind, np.ones_like)
        return self.tape.mul(x, self.tape.constant(gain(constant.astype(np.float64))))

    def _matmul(self, node: Node) -> str:
        """Errors of either operand, the other one taken as +-1 where it is computed."""
        a, b = (self._gain(value) for value in node.inputs)
        parts = []
        if node.inputs[0] in self.values:
            parts.append(self.tape.apply(MatMul(), self.values[node.inputs[0]], b))
        if node.inputs[1] in self.values:
            parts.append(self.tape.apply(MatMul(), a, self.values[node.inputs[1]]))
        return parts[0] if len(parts) == 1 else self.tape.add(*parts)

    def _gain(self, value: str) -> str:
        """Squares of a constant; ones for a computed operand."""
        if value in self.values:
            return self.tape.constant(np.ones(self.graph.shape(value)))
        return self._square(value)

    def _square(self, constant: str) -> str:
        return self.tape.constant(np.square(self.graph.constants[constant].astype(np.float64)))

    def _value(self, value: str) -> str:
        """Constants carry no error; those that are concatenated and the like are 0 here."""
        if value in self.values:
            return self.values[value]
        return self.tape.constant(np.zeros(self.graph.shape(value)))

    def _scaled(self, x: str, gain: float) -> str:
        return x if gain == 1 else self.tape.mul(x, gain)


CONSTANT_GAINS: dict[str, Callable[[npt.NDArray[np.float64]], npt.ArrayLike]] = {
    "mul": np.square,
    "div": lambda c: 1 / np.square(c),
    "max": lambda c: np.full_like(c, 0.5),
    "min": lambda c: np.full_like(c, 0.5),
    "pow": np.square,
    "prelu": lambda c: (1 + np.square(c)) / 2,
    "mask": lambda c: c != 0,
}
"""Squared slope at the computed operand, from the constant one; 1 for the others. A division is
taken to be by the constant."""


def slope_square(op: Unary) -> float:
    """Mean squared slope of a function over a unit normal, at most 1 at every point; 1 for
    functions that round."""
    if op.kind in ("floor", "ceil", "round", "quantize"):
        return 1.0
    step = 1e-4
    # Midpoints of equally likely intervals, none of them at a kink at 0.
    z = np.random.default_rng(0).standard_normal(4000)
    with np.errstate(all="ignore"):
        slope = (unary(op, z + step) - unary(op, z - step)) / (2 * step)
    squares = np.minimum(np.square(slope), 1.0)
    return float(squares[np.isfinite(squares)].mean())
